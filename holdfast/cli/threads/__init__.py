"""`holdfast threads`: conversations, and what was said in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.db import transfer
from holdfast.cli.db.open import Allow, locate_database, open_database, open_existing
from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    ActingUser,
    CommonOptions,
    Database,
    Debug,
    Format,
    ThreadId,
    make_group,
    no_default,
    with_database_options,
)
from holdfast.cli.output.text import counted
from holdfast.cli.threads import delete, histories, manage, redact, search, share, verify

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase

app = make_group(
    "List, read, search, export, copy, share, reset, redact and delete conversations.",
    "holdfast threads list --user ada",
)

Last = Annotated[
    int | None,
    typer.Option("--last", min=1, metavar="N", help="Only the last N messages.", show_default=False),
]

app.command("list", epilog="Example: holdfast threads list --user ada --status paused")(manage.list_threads)


@app.command("show", epilog="Example: holdfast threads show ada-1 --last 20")
@with_database_options
def show(
    options: CommonOptions,
    thread: ThreadId,
    last: Last = None,
    user: ActingUser = None,
    allow: Allow = None,
) -> None:
    """Show a conversation's transcript.

    It has every message, also those that have left the agent's context, with the approvals and what else happened. With
    --json, each message, approval or event is one JSON object on a line.
    """
    with open_existing(options, allow) as saver:
        from holdfast.cli.threads.export import print_transcript

        transcript = saver.transcript(thread, user_id=user)
        print_transcript(transcript if last is None else transcript.last(last), as_json=options.as_json)


app.command("search", epilog=search.EXAMPLE)(search.search)


@app.command("export", epilog="Example: holdfast threads export ada-1 --format html --output ada-1.html")
def export(
    context: typer.Context,
    threads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[THREAD]...",
            help="Id of the conversation. With --format holdfast: several ids, or none for all conversations.",
        ),
    ] = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="A transcript: jsonl for programs, markdown or html for people. holdfast: whole conversations, for "
            "threads import.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path | None,
        no_default("--output", "FILE", "File to write. Default: standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    last: Last = None,
    user: ActingUser = None,
    allow: Allow = None,
    database: Database = None,
    debug: Debug = False,
) -> None:
    """Write a conversation to a file.

    By default writes the transcript. With --format holdfast writes conversations whole, with their checkpoints and the
    calls that wait; threads import reads them into another database. The file is complete, or is not written at all.
    """
    options = CommonOptions(context, database)
    _check_export(threads, format_, output, last)
    locate_database(options)
    from holdfast.cli.threads.export import ExportFile, print_written, write_transcript

    file = None if output is None else ExportFile(output, force=force)
    with open_database(options, allow) as saver:
        if format_ is Format.HOLDFAST and file is not None:
            if user is not None and not threads:
                manage.report_unlisted(saver, options)
            ids = _ids_to_export(saver, threads, user)
            count = transfer.export_threads(saver, ids, file.path, gone_ok=not threads)
            print_written(file, counted(count, "conversation"))
            return
        [thread] = threads or []
        transcript = saver.transcript(thread, user_id=user)
        write_transcript(transcript if last is None else transcript.last(last), format_, file)


app.command("verify", epilog=verify.EXAMPLE)(verify.verify)
app.command("import", epilog=histories.EXAMPLE)(histories.import_threads)
app.command("rename", epilog='Example: holdfast threads rename ada-1 "A broken calculator"')(manage.rename)
app.command("undo", epilog="Example: holdfast threads undo ada-1")(manage.undo)
app.command("restart", epilog="Example: holdfast threads restart ada-1")(manage.restart)
app.command("fork", epilog="Example: holdfast threads fork ada-1 --to ada-2")(manage.fork)
app.command("copy", epilog="Example: holdfast threads copy ada-1 --to ada-2")(manage.copy)
app.command("share", epilog=share.SHARE_EXAMPLE)(share.share)
app.command("unshare", epilog=share.UNSHARE_EXAMPLE)(share.unshare)
app.command("redact", epilog=redact.EXAMPLE)(redact.redact)
app.command("delete", epilog=delete.EXAMPLE)(delete.delete)


def _ids_to_export(saver: HoldfastDatabase, threads: list[str] | None, user: str | None) -> list[str] | None:
    """Return the threads to export whole; `None` for all."""
    if threads:
        return [saver.threads.get(thread, user_id=user).thread_id for thread in threads]
    return None if user is None else [thread.thread_id for thread in saver.threads.all(user_id=user)]


def _check_export(threads: list[str] | None, format_: Format, output: Path | None, last: int | None) -> None:
    """Refuse options that do not go together.

    Raises:
        Mistake: they do not.
    """
    if format_ is Format.HOLDFAST:
        if output is None:
            raise Mistake("--format holdfast writes to a file, and none was given. Needed: --output FILE")
        if last is not None:
            raise Mistake("--format holdfast writes whole conversations, so --last cannot be used. Leave it out.")
    elif len(threads or ()) != 1:
        found = f"{len(threads)} were given" if threads else "none was given"
        raise Mistake(f"--format {format_} writes one conversation, and {found}. Needed: threads export THREAD")
