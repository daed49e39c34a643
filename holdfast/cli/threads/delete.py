"""`holdfast threads delete`: delete one conversation, or all of a user or of a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import (
    TIME_HELP,
    TIME_METAVAR,
    By,
    CommonOptions,
    complete_thread,
    no_default,
    parse_time,
    with_database_options,
)
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.question import confirm
from holdfast.cli.output.text import counted, one_line
from holdfast.cli.threads.erase import Copies, ErasureOptions, Reason, Receipt, RedactOthers, Vacuum
from holdfast.cli.threads.manage import add_unlisted, report_unlisted, thread_table

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase, Thread
    from holdfast.cli.db.memory import UserMemory

EXAMPLE: Final = "Example: holdfast threads delete ada-1; or: holdfast threads delete --user ada --until 90d --dry-run"

# Conversations that are shown before the question whether to delete them.
_SHOWN: Final = 20

_PAGE: Final = 1000


@dataclass
class Deletion:
    """The conversations that were deleted, and those that were not."""

    deleted: list[str] = field(default_factory=list)
    messages: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """By thread, why it was not deleted."""


@with_database_options
def delete(
    options: CommonOptions,
    thread: Annotated[
        str | None,
        typer.Argument(metavar="[THREAD]", help="Id of the conversation.", autocompletion=complete_thread),
    ] = None,
    user: Annotated[
        str | None,
        no_default(
            "--user", "NAME", "With THREAD: act as this user. Without it: all conversations of this user.", "-u"
        ),
    ] = None,
    until: Annotated[
        str | None, no_default("--until", TIME_METAVAR, f"All conversations last written before WHEN. {TIME_HELP}")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    receipt: Receipt = None,
    vacuum: Vacuum = False,
    copies: Copies = False,
    redact_others: RedactOthers = False,
    reason: Reason = None,
    by: By = None,
) -> None:
    """Delete conversations with their transcripts.

    Deletes the one that is named, or all of a user, all that were last written before a time, or both together.
    Conversations that are only shared with the user stay.

    All of a user, without --until, includes the user's long-term memory: the items of each namespace that begins with
    the user.

    With --receipt, --vacuum, --copies, --redact-others, --reason or --by, THREAD or --user is erased: what is left of
    it elsewhere in the database is named too, and there is a receipt. Run it again if it was cut off.
    """
    erasure = ErasureOptions(receipt, vacuum, copies, redact_others, reason, by)
    until_at = parse_time(until, "--until")
    if thread is None and user is None and until is None:
        raise Mistake("It was not said what to delete. Needed: THREAD, --user NAME, or --until WHEN.")
    if thread is not None and until is not None:
        raise Mistake("THREAD and --until were given together. Needed: one of them.")
    if erasure.is_wished:
        erasure.check(thread, until)
    from holdfast.cli.db.memory import UserMemory

    with open_existing(options) as database:
        if thread is not None:
            doomed = _named(database, thread, user, may_be_gone=erasure.is_wished and not dry_run)
        else:
            if dry_run:
                report_unlisted(database, options)
            else:
                add_unlisted(database, silent=options.as_json)
            doomed = list(_found(database, user, until_at))
        memory = UserMemory.of(database, user if thread is None and until is None else None)
        if dry_run:
            return _print_doomed(doomed, memory, as_json=options.as_json)
        if not yes and (doomed or memory.items):
            _confirm(doomed, memory, named=thread is not None)
        if erasure.is_wished:
            return erasure.report(erasure.erase(database, thread, user), as_json=options.as_json)
        if thread is None:
            done = _delete_all(database, doomed, until_at, silent=options.as_json)
            return _report(done, memory.erase(database), as_json=options.as_json)
        database.threads.delete(thread, user_id=user)
    if options.as_json:
        return print_json({"deleted": thread, "messages": doomed[0].messages})
    typer.echo(f"{one_line(thread)} was deleted.")
    return None


def _named(database: HoldfastDatabase, thread: str, user: str | None, *, may_be_gone: bool) -> list[Thread]:
    """Return the conversation; none if it may be gone and is, since its erasure can be finished."""
    from holdfast.checkpoints.errors import UnknownThread

    try:
        return [database.threads.get(thread, user_id=user)]
    except UnknownThread:
        if not may_be_gone:
            raise
        return []


def _found(database: HoldfastDatabase, user: str | None, until: float | None) -> Iterator[Thread]:
    """Yield the conversations of a user, of a time, or both."""
    cursor: str | None = None
    while True:
        page = database.threads.list(user_id=user, until=until, limit=_PAGE, cursor=cursor)
        yield from (thread for thread in page.threads if user is None or thread.user_id == user)
        if (cursor := page.cursor) is None:
            return


def _delete_all(database: HoldfastDatabase, doomed: list[Thread], until: float | None, *, silent: bool) -> Deletion:
    """Delete conversations one by one. One that was written meanwhile, and so is not of the time any more, stays."""
    from holdfast.checkpoints.errors import HoldfastError, UnknownThread
    from holdfast.cli.output.progress import progress_bar

    done = Deletion()
    limit = None if until is None else datetime.fromtimestamp(until, UTC)
    with progress_bar("Deleting", len(doomed), silent=silent) as bar:
        for thread in doomed:
            try:
                if limit is not None and database.threads.get(thread.thread_id).updated_at >= limit:
                    done.failed[thread.thread_id] = "it was written meanwhile"
                else:
                    database.threads.delete(thread.thread_id)
                    done.deleted.append(thread.thread_id)
                    done.messages += thread.messages
            except UnknownThread:
                pass  # another command has deleted it
            except HoldfastError as error:
                done.failed[thread.thread_id] = str(error)
            bar.advance()
    return done


def _report(done: Deletion, memory: UserMemory, *, as_json: bool) -> None:
    if as_json:
        facts = {"deleted": done.deleted, "messages": done.messages, "failed": done.failed}
        print_json({**facts, **memory.facts()})
    else:
        typer.echo(f"{_summary(len(done.deleted), done.messages, memory)} deleted.")
        _remark(memory)
        for thread_id, reason in done.failed.items():
            print_notice(f"Not deleted: {thread_id}: {reason}")
    if done.failed:
        raise typer.Exit(BROKEN)


def _remark(memory: UserMemory) -> None:
    if (remark := memory.remark()) is not None:
        print_notice(remark)


def _print_doomed(doomed: list[Thread], memory: UserMemory, *, as_json: bool) -> None:
    messages = sum(thread.messages for thread in doomed)
    if as_json:
        ids = [thread.thread_id for thread in doomed]
        return print_json({"would_delete": ids, "messages": messages, **memory.facts()})
    for line in thread_table(doomed) if doomed else []:
        typer.echo(line)
    typer.echo(f"{_summary(len(doomed), messages, memory)} would be deleted. Nothing was deleted.")
    _remark(memory)
    return None


def _summary(threads: int, messages: int, memory: UserMemory) -> str:
    conversations = f"{counted(threads, 'conversation')} with {counted(messages, 'message')}" if threads else ""
    items = f"{counted(memory.items, 'item')} of long-term memory" if memory.items else ""
    return " and ".join(filter(None, (conversations, items))) or "No conversations"


def _confirm(doomed: list[Thread], memory: UserMemory, *, named: bool) -> None:
    """Ask before conversations are deleted.

    Raises:
        Mistake: the user does not say yes.
    """
    # On standard error: standard output is for the result.
    if named:
        [thread] = doomed
        what = f"{one_line(thread.thread_id)} ({one_line(thread.title or 'no title')}, {thread.messages:,} messages)"
    else:
        for line in thread_table(doomed[:_SHOWN]):
            typer.echo(line, err=True)
        if len(doomed) > _SHOWN:
            typer.echo(f"... and {len(doomed) - _SHOWN:,} more", err=True)
        what = _summary(len(doomed), sum(thread.messages for thread in doomed), memory)
    confirm(f"Delete {what}", "deleted", "deletes")
