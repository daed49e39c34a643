"""`holdfast demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Debug

EXAMPLE = "Example: holdfast demo --keep data"


def demo(
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Put the data here; a new temporary folder by default.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="Put the conversation there; a file by default.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Ask for a refund, pause for a person, kill -9, approve from another process, go on.

    Needs no key and no server. Each act is a process of its own.
    """
    from holdfast import demo

    demo.play_at(keep, database)
