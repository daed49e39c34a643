"""`holdfast threads`: conversations, and what was said in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.db import Allow, location_of, opened
from app.cli.formats import Format
from app.cli.options import Database, Debug, Given, Json, help_if_bare

app = typer.Typer(
    help="Read what was said in a conversation, and write it to a file.",
    epilog="Example: holdfast threads show ada-1",
    rich_markup_mode=None,
    invoke_without_command=True,
)
app.callback()(help_if_bare)

ThreadId = Annotated[str, typer.Argument(metavar="THREAD", help="The conversation.")]
Owner = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Who asks: another user's is not found.", show_default=False),
]
Last = Annotated[
    int | None,
    typer.Option("--last", min=1, metavar="N", help="Only the last messages, so many.", show_default=False),
]


@app.command("show", epilog="Example: holdfast threads show ada-1 --last 20")
def show(
    context: typer.Context,
    thread: ThreadId,
    last: Last = None,
    user: Owner = None,
    allow: Allow = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what was said in a conversation, also what its state has no more, and what happened in it.

    With --json, one object a line for each message, event and approval.
    """
    given = Given(database)
    location_of(context, given)
    from app.cli import record

    with opened(context, given, allow) as saver:
        found = saver.transcript(thread, user_id=user)
        record.show(found if last is None else found.last(last), as_json=as_json)


@app.command("export", epilog="Example: holdfast threads export ada-1 --format html --output ada-1.html")
def export(
    context: typer.Context,
    thread: ThreadId,
    format_: Annotated[
        Format, typer.Option("--format", help="jsonl for programs; markdown or html for people.")
    ] = Format.JSONL,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where to. By default, standard output.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    last: Last = None,
    user: Owner = None,
    allow: Allow = None,
    database: Database = None,
    debug: Debug = False,
) -> None:
    """Write what was said in a conversation to a file: all of it, or nothing if something fails."""
    given = Given(database)
    location_of(context, given)
    from app.cli import record

    target = None if output is None else record.Target(output, force=force)
    with opened(context, given, allow) as saver:
        found = saver.transcript(thread, user_id=user)
        record.export(found if last is None else found.last(last), format_, target)
