"""The question before something is done that cannot be taken back."""

from __future__ import annotations

import typer

from holdfast.cli.errors import Mistake


def confirm(question: str, done: str, doing: str) -> None:
    """Ask whether to do something for good, on standard error, and wait for a yes.

    Args:
        question: what would be done, such as "Delete 3 conversations".
        done: the same when it is done: "deleted".
        doing: what --yes does: "deletes".

    Raises:
        Mistake: the user does not say yes.
    """
    typer.echo(f"{question} for good? [y/N] ", err=True, nl=False)
    try:
        answer = input().strip().lower()
    except EOFError:
        typer.echo(err=True)
        raise Mistake(f"There was no answer, so nothing was {done}. --yes {doing} without asking.") from None
    if answer not in ("y", "yes"):
        raise Mistake(f"Nothing was {done}.")
