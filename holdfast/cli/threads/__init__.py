"""`holdfast threads`: conversations, and what was said in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.db import transfer
from holdfast.cli.db.open import Allow, location_of, opened, there
from holdfast.cli.errors import Mistake
from holdfast.cli.formats import Format
from holdfast.cli.options import (
    Database,
    Debug,
    Given,
    Json,
    Owner,
    ThreadId,
    help_if_bare,
)
from holdfast.cli.threads import manage, search

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver

app = typer.Typer(
    help="List conversations, read what was said in them, begin them anew, branch off, delete.",
    epilog="Example: holdfast threads list --user ada",
    rich_markup_mode=None,
    invoke_without_command=True,
)
app.callback()(help_if_bare)
app.command("list", epilog="Example: holdfast threads list --user ada --status paused")(manage.list_)
app.command("search", epilog=search.EXAMPLE)(search.search)
app.command("rename", epilog='Example: holdfast threads rename ada-1 "A broken calculator"')(manage.rename)
app.command("restart", epilog="Example: holdfast threads restart ada-1")(manage.restart)
app.command("undo", epilog="Example: holdfast threads undo ada-1")(manage.undo)
app.command("fork", epilog="Example: holdfast threads fork ada-1 --to ada-2")(manage.fork)
app.command("copy", epilog="Example: holdfast threads copy ada-1 --to ada-2")(manage.copy)
app.command("import", epilog=transfer.IMPORT_EXAMPLE)(transfer.import_threads)
app.command("delete", epilog="Example: holdfast threads delete ada-1 --yes")(manage.delete)

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
    with there(context, given, allow) as saver:
        from holdfast.cli.threads.export import show as show_transcript

        found = saver.transcript(thread, user_id=user)
        show_transcript(found if last is None else found.last(last), as_json=as_json)


@app.command("export", epilog="Example: holdfast threads export ada-1 --format html --output ada-1.html")
def export(
    context: typer.Context,
    threads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[THREAD]...", help="The conversation. With --format holdfast several, or none for all."
        ),
    ] = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="What was said: jsonl for programs, markdown or html for people. holdfast: conversations whole, for "
            "threads import.",
        ),
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
    """Write what was said in a conversation to a file: all of it, or nothing if something fails.

    With --format holdfast, write conversations whole, with checkpoints and what waits for a person; threads import
    brings them into another database.
    """
    given = Given(database)
    _check(threads, format_, output, last)
    location_of(context, given)
    from holdfast.cli.threads.export import Target, write, wrote

    target = None if output is None else Target(output, force=force)
    with opened(context, given, allow) as saver:
        if format_ is Format.HOLDFAST and target is not None:
            if user is not None and not threads:
                manage.tell_of_unlisted(saver, given)
            count = transfer.write_file(saver, _whole(saver, threads, user), target.path, gone_ok=not threads)
            wrote(target, f"{count:,} conversation{'' if count == 1 else 's'}")
            return
        [thread] = threads or []
        found = saver.transcript(thread, user_id=user)
        write(found if last is None else found.last(last), format_, target)


def _whole(saver: HoldfastSaver, threads: list[str] | None, user: str | None) -> list[str] | None:
    """The conversations to write whole; `None` for all that there are."""
    if threads:
        return [saver.threads.get(thread, user_id=user).thread_id for thread in threads]
    return None if user is None else [thread.thread_id for thread in saver.threads.all(user_id=user)]


def _check(threads: list[str] | None, format_: Format, output: Path | None, last: int | None) -> None:
    """Refuse what does not go together.

    Raises:
        Mistake: it does not.
    """
    if format_ is Format.HOLDFAST:
        if output is None or last is not None:
            raise Mistake("--format holdfast writes conversations whole, to a file: give --output FILE, and no --last.")
    elif len(threads or ()) != 1:
        raise Mistake(f"--format {format_} writes one conversation. Name it: threads export THREAD.")
