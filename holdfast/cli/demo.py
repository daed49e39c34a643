"""`holdfast demo`: show a conversation and an approval that survive a killed process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import Debug

EXAMPLE = "Example: holdfast demo --keep data"


def demo(
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Folder for the data. Default: a temporary one.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database", metavar="URL", help="Where to store the conversation. Default: a file in the folder."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show an approval that survives kill -9.

    A customer asks for a refund; the agent pauses; its process is killed; a person approves from another process; the
    conversation goes on in a third. Needs no API key and no server.
    """
    from holdfast import demo

    demo.run_demo_at(keep, database)
