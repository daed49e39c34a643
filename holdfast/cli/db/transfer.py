"""Conversations on their way from one database to another, or through a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.errors import BROKEN, Interrupted, Mistake
from holdfast.cli.options import Database, Debug, Given, Json

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver
    from holdfast.checkpoints.transfer import Transferred
    from holdfast.checkpoints.urls import Location

COPY_EXAMPLE = "Example: holdfast db copy sqlite:///chat.db postgresql://holdfast@localhost/holdfast"
IMPORT_EXAMPLE = "Example: holdfast threads import threads.jsonl.gz --database sqlite:///chat.db"

_PLACES = "sqlite:///FILE or postgresql://..."

Source = Annotated[str, typer.Argument(metavar="SOURCE_URL", help=f"Where they live: {_PLACES}", show_default=False)]
Target = Annotated[str, typer.Argument(metavar="TARGET_URL", help="Where they are to live, too.", show_default=False)]
Threads = Annotated[
    list[str] | None,
    typer.Option("--thread", metavar="ID", help="Only this conversation. May be given several times."),
]
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="As threads export --format holdfast makes it.", show_default=False)
]


@dataclass
class Done:
    """What it came to."""

    moved: int = 0
    there: int = 0
    """How many were there already, the same."""
    records: int = 0
    """Of how many parts those consist that were moved."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why a thread was not moved, by thread."""

    def add(self, outcome: Transferred) -> None:
        if outcome.problem is not None:
            self.problems[outcome.thread_id] = outcome.problem
        elif outcome.was_there:
            self.there += 1
        else:
            self.moved += 1
            self.records += outcome.records

    def line(self, verb: str, where: object) -> str:
        from holdfast.cli.db.convert import counted

        said = f"{counted(self.moved, 'conversation')} {verb} to {where}, {counted(self.records, 'record')}, verified."
        there = f" {self.there:,} {'was' if self.there == 1 else 'were'} there already." if self.there else ""
        left = f" Left: {counted(len(self.problems), 'conversation')}." if self.problems else ""
        return said + there + left


def copy(
    context: typer.Context,
    source: Source,
    target: Target,
    thread: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy conversations from one database to another, whole: history, approvals that wait, what tools have done.

    Each is one transaction, and is compared with the original before it is committed. What is there already, the same,
    is passed over: so it may be stopped at any time, and the same command goes on. Stop the programs that write to the
    source first; a conversation that has gone on since is named, and stays as it is in the target. The original stays:
    let nobody go on with both. The exit code is 1 if something was not copied.
    """
    places = [_place(context, url) for url in (source, target)]
    from holdfast.checkpoints import maintenance, open_checkpointer, transfer

    if _address(places[0]) == _address(places[1]):
        raise Mistake(f"The source and the target are the same database, {places[0]}.")
    if not maintenance.read_schema(places[0]).is_there:
        raise Mistake(f"There are no conversations at {places[0]}: neither LangGraph's tables nor Holdfast's.")
    with open_checkpointer(source) as old, open_checkpointer(target) as new:
        wanted = _wanted(old, thread)
        _list(old, wanted, silent=as_json)

        def outcomes() -> Iterator[Transferred]:
            for thread_id in transfer.transferable_threads(old.database) if wanted is None else wanted:
                found = transfer.attempt_transfer(
                    thread_id, partial(transfer.transfer_thread, old.database, new.database, thread_id)
                )
                if (
                    found.problem is not None
                    and wanted is None
                    and not transfer.is_transferable(old.database, thread_id)
                ):
                    continue  # nobody asked for it by name, and it was deleted meanwhile
                yield found

        total = transfer.count_transferable(old.database) if wanted is None else len(wanted)
        done = _go(outcomes(), "Copying", total, as_json=as_json)
    _tell(done, "copied", places[1], as_json=as_json, source=str(places[0]))


def import_threads(
    context: typer.Context, file: File, database: Database = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Bring conversations from a file into a database, as they were exported.

    All of the file is looked at before anything is written; one that is cut off, altered or of a newer version changes
    nothing. A conversation that is there already, the same, is passed over; one that differs is named, stays as it is,
    and the exit code is 1. An approval that the file says was given counts here: import only what you trust.
    """
    given = Given(database)
    place = _place(context, given.settings(context).database)
    from holdfast.checkpoints import open_checkpointer
    from holdfast.checkpoints.transfer import archive

    found = archive.read_archive(file)
    with open_checkpointer(given.settings(context).database) as saver:
        outcomes = archive.import_archive(saver.database, file, found)
        done = _go(outcomes, "Importing", len(found), as_json=as_json)
    _tell(done, "brought", place, as_json=as_json, source=str(file))


def write_file(
    saver: HoldfastSaver, threads: list[str] | None, file: Path, *, gone_ok: bool = False, silent: bool = False
) -> int:
    """Write conversations into a file that `import_threads` reads, with a bar that shows how far it is.

    Args:
        saver: the database.
        threads: which; `None` for all of them.
        file: the file, gzipped if its name ends with `.gz`. It is there when all of it is written.
        gone_ok: whether those of the list may be deleted meanwhile, and are left out then. Of all, any may.
        silent: whether no bar is shown.

    Returns:
        How many there are in it.
    """
    from holdfast.checkpoints import transfer
    from holdfast.checkpoints.transfer import archive

    wanted = threads if gone_ok else _wanted(saver, threads)
    gone_ok = gone_ok or wanted is None
    _list(saver, wanted, silent=silent)
    ids = transfer.transferable_threads(saver.database) if wanted is None else iter(wanted)
    total = transfer.count_transferable(saver.database) if wanted is None else len(wanted)
    from holdfast.cli.output.progress import bar

    with bar("Exporting", total, silent=silent) as going:

        def one_by_one() -> Iterator[str]:
            for thread_id in ids:
                yield thread_id
                going.advance()

        return len(archive.write_archive(saver.database, one_by_one(), file, gone_ok=gone_ok))


def _place(context: typer.Context, url: str) -> Location:
    """Where a URL points. Its password is never shown."""
    from holdfast.checkpoints import urls
    from holdfast.cli.options import Run

    location = urls.parse(url)
    if isinstance(location, urls.PostgresURL) and (run := context.find_object(Run)) is not None:
        run.secrets |= location.secrets
    if isinstance(location, urls.MemoryURL):
        raise Mistake(f"memory:// is gone when a command ends. Needed: {_PLACES}")
    return location


def _address(location: Location) -> Any:
    """What tells a database from others. Where two addresses name one database, every thread is found to be there."""
    from holdfast.checkpoints import urls

    if not isinstance(location, urls.PostgresURL):
        return location.path.resolve() if isinstance(location, urls.SqliteURL) else str(location)
    _, _, rest = location.dsn.partition("://")
    return rest.rpartition("@")[2]


def _wanted(saver: HoldfastSaver, threads: Iterable[str] | None) -> list[str] | None:
    """The threads that were asked for, each once; `None` for all.

    Raises:
        Mistake: one of them is not there.
    """
    if threads is None:
        return None
    from holdfast.checkpoints import transfer

    wanted = list(dict.fromkeys(threads))
    for thread_id in wanted:
        if not transfer.is_transferable(saver.database, thread_id):
            raise Mistake(f"There is no conversation {thread_id!r} in this database.")
    return wanted


def _list(saver: HoldfastSaver, wanted: list[str] | None, *, silent: bool) -> None:
    """Bring into the list what an older version has saved. Elsewhere it would not be in the list either, and no longer
    be the same when it is on one side. What is damaged is told when it is to be moved."""
    from holdfast.cli.threads.manage import index

    index(saver, wanted, silent=silent)


def _go(outcomes: Iterator[Transferred], verb: str, total: int, *, as_json: bool) -> Done:
    """Go through them; what is to be said of some goes to standard error."""
    from holdfast.cli.db.convert import counted
    from holdfast.cli.output.screen import notice

    done = Done()
    from holdfast.cli.output.progress import bar

    try:
        with bar(verb, total, silent=as_json) as going:
            for outcome in outcomes:
                done.add(outcome)
                if outcome.problem is not None:
                    notice(outcome.problem)
                going.advance()
    except KeyboardInterrupt as stopped:
        are = "is there" if done.moved == 1 else "are there"
        text = f"Stopped. {counted(done.moved, 'conversation')} {are}; the same command goes on."
        raise Interrupted.after(stopped, text) from None
    return done


def _tell(done: Done, verb: str, place: Location, *, as_json: bool, source: str) -> None:
    if as_json:
        typer.echo(json.dumps({"source": source, "target": str(place), **done.__dict__}))
    else:
        typer.echo(done.line(verb, place))
    if done.problems:
        raise typer.Exit(BROKEN)
