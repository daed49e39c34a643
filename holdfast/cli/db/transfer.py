"""Copy conversations from one database to another, directly or through a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from holdfast.cli.db.open import URL_FORMS, locate, open_database, require_conversations
from holdfast.cli.errors import BROKEN, Interrupted, Mistake
from holdfast.cli.options import CommonOptions, Debug, Json, hide_secrets
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase
    from holdfast.checkpoints.store.items import CopiedItems
    from holdfast.checkpoints.transfer import Transferred
    from holdfast.checkpoints.urls import Location

COPY_EXAMPLE = "Example: holdfast db copy sqlite:///chat.db postgresql://holdfast@localhost/holdfast"

SourceURL = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help=f"Database to copy from: {URL_FORMS}; redis://..., valkey://..., mongodb://..., "
        "dynamodb://... or mysql://...; or a checkpointer of your own, module:name.",
        show_default=False,
    ),
]
TargetURL = Annotated[
    str,
    typer.Argument(
        metavar="TARGET_URL", help="Database to copy to. It is created if it does not exist.", show_default=False
    ),
]
ThreadIds = Annotated[
    list[str] | None,
    typer.Option("--thread", metavar="ID", help="Copy only this conversation. May be repeated."),
]


@dataclass
class TransferTotals:
    """The totals of a transfer."""

    moved: int = 0
    there: int = 0
    """Threads that the target already had, identical."""
    records: int = 0
    """Records of the transferred threads."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why a thread was not transferred, by thread."""
    memory: CopiedItems | None = None
    """What was copied of the long-term memory; `None`: nothing was to be copied."""

    @property
    def failed(self) -> bool:
        """Whether something was not transferred."""
        return bool(self.problems or (self.memory is not None and self.memory.problems))

    def add(self, transferred: Transferred) -> None:
        """Add the outcome of one thread."""
        if transferred.problem is not None:
            self.problems[transferred.thread_id] = transferred.problem
        elif transferred.was_there:
            self.there += 1
        else:
            self.moved += 1
            self.records += transferred.records

    @property
    def done(self) -> int:
        return self.moved

    def line(self, verb: str, place: Location) -> str:
        """Return the totals for people."""
        line = f"{counted(self.moved, 'conversation')} {verb} {place}, {counted(self.records, 'record')}, verified."
        if self.there:
            line += f" {self.there:,} {'was' if self.there == 1 else 'were'} there already."
        if self.problems:
            line += f" Not {verb.partition(' ')[0]}: {counted(len(self.problems), 'conversation')}."
        return line


def copy_database(
    context: typer.Context,
    source: SourceURL,
    target: TargetURL,
    thread: ThreadIds = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Leave a new target unencrypted, although keys are set.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy conversations to another database.

    A conversation is copied whole: history, transcript, calls that wait and effects of tools. Each is one transaction,
    and is compared with the original before it commits. Conversations that the target already has are skipped, so the
    command can be stopped at any time; run it again to continue.

    Without --thread, long-term memory is copied too. An item that the target already has stays as it is there.

    First stop the programs that write to the source. A conversation that differs from the one in the target is
    reported, not copied, and makes the exit code 1. The originals stay, so continue only one of the two.

    The keys of the settings open whichever of the two is encrypted. With keys, a new target is encrypted.
    """
    from holdfast.checkpoints import urls

    if "://" not in source or isinstance(urls.parse_any(source), urls.OtherURL):
        _copy_from_saver(context, source, target, thread, plain=plain, as_json=as_json)
        return
    source_place, target_place = locate(context, source), locate(context, target)
    from holdfast.checkpoints import open_database, transfer
    from holdfast.cli.db.memory import copy_memory
    from holdfast.settings import load

    if _address(source_place) == _address(target_place):
        raise Mistake(f"The source and the target are the same database, {source_place}. Needed: two databases.")
    require_conversations(source_place)
    keys = load().master_keys()
    with (
        open_database(source, keys=keys, takes_plain=True) as source_saver,
        open_database(target, keys=keys, takes_plain=plain) as target_saver,
    ):
        old, new = source_saver.database, target_saver.database
        wanted = None if thread is None else list(dict.fromkeys(thread))
        for thread_id in wanted or ():
            if not transfer.is_transferable(old, thread_id):
                raise Mistake(f"There is no thread {thread_id!r} in {source_place}.")
        _add_unlisted(source_saver, wanted, silent=as_json)

        def transfers() -> Iterator[Transferred]:
            for thread_id in transfer.transferable_threads(old) if wanted is None else wanted:
                transferred = transfer.attempt_transfer(
                    thread_id, partial(transfer.transfer_thread, old, new, thread_id)
                )
                failed = transferred.problem is not None
                if failed and wanted is None and not transfer.is_transferable(old, thread_id):
                    continue  # another process has deleted it meanwhile
                yield transferred

        total = transfer.count_transferable(old) if wanted is None else len(wanted)
        totals = _transfer_all(transfers(), "Copying", total, as_json=as_json)
        if wanted is None:
            totals.memory = copy_memory(old, new, target, as_json=as_json)
        _notice_open_runs(source_saver, wanted)
    _report(totals, "copied to", target_place, as_json=as_json, source=str(source_place))


def _notice_open_runs(source: HoldfastDatabase, wanted: Collection[str] | None) -> None:
    """Say that accepted turns which have not ended are not copied: they are carried out where they were accepted."""
    there = [run for run in source.runs.open() if wanted is None or run.thread_id in wanted]
    if there:
        print_notice(
            f"Not copied: {counted(len(there), 'accepted turn')}, not ended yet. "
            "Let a worker of the source end what was accepted there, and copy into a new database."
        )


def _copy_from_saver(
    context: typer.Context, source: str, target: str, thread: list[str] | None, *, plain: bool, as_json: bool
) -> None:
    """Copy from a checkpointer of others, `module:name` or the URL of its database."""
    target_place = locate(context, target)
    from holdfast.checkpoints import open_database, urls
    from holdfast.savers import UnusableSaver, copy_threads, listed_threads, open_named, open_saver
    from holdfast.settings import load

    shown = source
    if is_url := "://" in source:
        place = urls.parse_any(source)
        hide_secrets(context, place)
        shown = str(place)
    try:
        with (
            open_saver(source) if is_url else open_named(source) as saver,
            open_database(target, keys=load().master_keys(), takes_plain=plain) as new,
        ):
            wanted = listed_threads(saver) if thread is None else list(dict.fromkeys(thread))
            totals = _transfer_all(copy_threads(saver, new, wanted), "Copying", len(wanted), as_json=as_json)
    except UnusableSaver as error:
        raise Mistake(str(error)) from error
    _report(totals, "copied to", target_place, as_json=as_json, source=shown)


def import_archive(options: CommonOptions, file: Path) -> None:
    """Import the conversations of a file that `export_threads` has written."""
    place = locate(options.context, options.settings().database)
    from holdfast.checkpoints.transfer import archive

    contents = archive.read_archive(file)
    with open_database(options) as saver:
        transfers = archive.import_archive(saver.database, file, contents)
        totals = _transfer_all(transfers, "Importing", len(contents), as_json=options.as_json)
    _report(totals, "imported into", place, as_json=options.as_json, source=str(file))


def export_threads(
    saver: HoldfastDatabase, threads: Collection[str] | None, file: Path, *, gone_ok: bool = False, silent: bool = False
) -> int:
    """Write conversations to a file that `import_archive` reads. Return their number.

    Args:
        saver: the database.
        threads: the threads' ids; `None` for all.
        file: the file, compressed with gzip if its name ends with `.gz`. It appears when it is complete.
        gone_ok: leave out a thread of `threads` that was deleted meanwhile. Of all threads, any may be.
        silent: show no progress bar.
    """
    from holdfast.checkpoints import transfer
    from holdfast.checkpoints.transfer import archive
    from holdfast.cli.output.progress import progress_bar

    wanted = None if threads is None else list(dict.fromkeys(threads))
    _add_unlisted(saver, wanted, silent=silent)
    ids = transfer.transferable_threads(saver.database) if wanted is None else iter(wanted)
    total = transfer.count_transferable(saver.database) if wanted is None else len(wanted)
    with progress_bar("Exporting", total, silent=silent) as bar:

        def one_by_one() -> Iterator[str]:
            for thread_id in ids:
                yield thread_id
                bar.advance()

        written = archive.write_archive(saver.database, one_by_one(), file, gone_ok=gone_ok or wanted is None)
    if saver.database.sealer.encrypts:
        print_notice(f"{file} is not encrypted: keep it as you keep the keys.")
    return len(written)


def _address(location: Location) -> Any:
    """Return what identifies a database. If two addresses name one database, the target already has every thread."""
    from holdfast.checkpoints import urls

    if not isinstance(location, urls.PostgresURL):
        return location.path.resolve() if isinstance(location, urls.SqliteURL) else str(location)
    _, _, rest = location.dsn.partition("://")
    return rest.rpartition("@")[2], location.schema


def _add_unlisted(saver: HoldfastDatabase, wanted: list[str] | None, *, silent: bool) -> None:
    """Add threads that an older version has saved to the list of threads.

    A thread that is listed on one side only would count as different. A damaged thread is reported when it is
    transferred.
    """
    from holdfast.cli.threads.manage import add_unlisted

    add_unlisted(saver, wanted, silent=silent)


class Outcome(Protocol):
    """What became of one conversation."""

    @property
    def problem(self) -> str | None: ...


_Outcome_contra = TypeVar("_Outcome_contra", bound=Outcome, contravariant=True)


class Totals(Protocol[_Outcome_contra]):
    """The totals of a command that takes one conversation after the other."""

    @property
    def done(self) -> int:
        """The number of conversations that it has written."""
        ...

    def add(self, outcome: _Outcome_contra, /) -> None: ...


def add_each(
    outcomes: Iterator[_Outcome_contra],
    totals: Totals[_Outcome_contra],
    verb: str,
    total: int | Callable[[], int],
    *,
    silent: bool,
) -> None:
    """Take one conversation after the other, with a progress bar. Problems are reported on standard error.

    Args:
        outcomes: what became of each.
        totals: what is reported at the end.
        verb: the text before the bar.
        total: how many there are; a function if that is found out on the way.
        silent: show no bar.

    Raises:
        Interrupted: Ctrl-C. The conversations before it stay.
    """
    from holdfast.cli.output.progress import progress_bar

    try:
        with progress_bar(verb, None if callable(total) else total, silent=silent) as bar:
            for number, outcome in enumerate(outcomes, 1):
                totals.add(outcome)
                if outcome.problem is not None:
                    print_notice(outcome.problem)
                bar.set(number, total() if callable(total) else total)
    except KeyboardInterrupt as interrupt:
        done = f"{counted(totals.done, 'conversation')} {'is' if totals.done == 1 else 'are'} done"
        raise Interrupted.after(interrupt, f"Stopped. {done}; run the command again to continue.") from None


def _transfer_all(transfers: Iterator[Transferred], verb: str, total: int, *, as_json: bool) -> TransferTotals:
    totals = TransferTotals()
    add_each(transfers, totals, verb, total, silent=as_json)
    return totals


def _report(totals: TransferTotals, verb: str, place: Location, *, as_json: bool, source: str) -> None:
    """Print the totals.

    Raises:
        typer.Exit: a thread was not transferred.
    """
    if as_json:
        memory = {} if totals.memory is None else {"memory": asdict(totals.memory)}
        print_json({"source": source, "target": str(place), **totals.__dict__, **memory})
    else:
        typer.echo(totals.line(verb, place))
        if totals.memory is not None:
            from holdfast.cli.db.memory import memory_line

            typer.echo(memory_line(totals.memory))
    if totals.failed:
        raise typer.Exit(BROKEN)
