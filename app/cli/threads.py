"""`holdfast threads`: conversations, and what was said in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import managing, searching
from app.cli.db import Allow, location_of, opened
from app.cli.formats import Format
from app.cli.options import Database, Debug, Given, Json, Owner, ThreadId, help_if_bare

app = typer.Typer(
    help="List conversations, read what was said in them, begin them anew, branch off, delete.",
    epilog="Example: holdfast threads list --user ada",
    rich_markup_mode=None,
    invoke_without_command=True,
)
app.callback()(help_if_bare)
app.command("list", epilog="Example: holdfast threads list --user ada --status paused")(managing.list_)
app.command("search", epilog=searching.EXAMPLE)(searching.search)
app.command("rename", epilog='Example: holdfast threads rename ada-1 "A broken calculator"')(managing.rename)
app.command("restart", epilog="Example: holdfast threads restart ada-1")(managing.restart)
app.command("undo", epilog="Example: holdfast threads undo ada-1")(managing.undo)
app.command("fork", epilog="Example: holdfast threads fork ada-1 --to ada-2")(managing.fork)
app.command("copy", epilog="Example: holdfast threads copy ada-1 --to ada-2")(managing.copy)
app.command("delete", epilog="Example: holdfast threads delete ada-1 --yes")(managing.delete)

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
