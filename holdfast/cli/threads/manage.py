"""`holdfast threads`: list conversations, and rename, reset, fork or copy one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    TIME_HELP,
    TIME_METAVAR,
    ActingUser,
    By,
    CommonOptions,
    ThreadId,
    decider_name,
    no_default,
    parse_time,
    with_database_options,
)
from holdfast.cli.output import print_json
from holdfast.cli.output.text import columns, one_line, terminal_width

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase, Thread


class StatusFilter(StrEnum):
    """The states of a conversation; see `holdfast.checkpoints.Status`."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    IDLE = "idle"


NewId = Annotated[
    str | None,
    no_default("--to", "ID", "Id of the new conversation. Default: a random one."),
]


@with_database_options
def list_threads(
    options: CommonOptions,
    user: Annotated[
        str | None, no_default("--user", "NAME", "Only those of this user, or shared with this user.", "-u")
    ] = None,
    status: Annotated[
        StatusFilter | None, typer.Option("--status", help="Only those in this state.", show_default=False)
    ] = None,
    text: Annotated[str | None, no_default("--text", "TEXT", "Only those with TEXT in the title.")] = None,
    since: Annotated[
        str | None,
        no_default("--since", TIME_METAVAR, f"Only those written since WHEN. {TIME_HELP}"),
    ] = None,
    until: Annotated[str | None, no_default("--until", TIME_METAVAR, "Only those last written before WHEN.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Number at most.")] = 20,
    cursor: Annotated[
        str | None,
        no_default("--cursor", "CURSOR", "Continue a list, with the cursor that it ended with."),
    ] = None,
) -> None:
    """List conversations, last written first."""
    since_at, until_at = parse_time(since, "--since"), parse_time(until, "--until")
    with open_existing(options) as saver:
        page = saver.threads.list(
            user_id=user,
            status=None if status is None else status.value,
            text=text,
            since=since_at,
            until=until_at,
            limit=limit,
            cursor=cursor,
        )
        report_unlisted(saver, options)
    if options.as_json:
        return print_json({"threads": [_facts(thread) for thread in page.threads], "cursor": page.cursor})
    for line in thread_table(page.threads) if page.threads else ["No conversations were found."]:
        typer.echo(line)
    if page.cursor is not None:
        typer.echo(f"There are more. To continue: --cursor {page.cursor}")
    return None


@with_database_options
def rename(
    options: CommonOptions,
    thread: ThreadId,
    title: Annotated[
        str | None,
        typer.Argument(metavar="[TITLE]", help="The new title. Without it, the first message is the title again."),
    ] = None,
    user: ActingUser = None,
) -> None:
    """Give a conversation a title."""
    with open_existing(options) as saver:
        try:
            renamed = saver.threads.rename(thread, title, user_id=user)
        except ValueError as error:
            raise Mistake(str(error)) from None
    line = f"The title of {thread} is {renamed.title!r}." if renamed.title else f"{thread} has no title."
    _report(renamed, line, as_json=options.as_json)


@with_database_options
def undo(options: CommonOptions, thread: ThreadId, user: ActingUser = None, by: By = None) -> None:
    """Take the last turn back.

    The agent forgets the last message of the user and everything after it. The transcript keeps them, and effects of
    tools are not undone.
    """
    with open_existing(options) as saver:
        undone = saver.threads.undo(thread, user_id=user, by=decider_name(by, user))
    _report(undone, f"The last turn of {thread} was taken back. It stays in the transcript.", as_json=options.as_json)


@with_database_options
def restart(options: CommonOptions, thread: ThreadId, user: ActingUser = None, by: By = None) -> None:
    """Start a conversation over, without its messages.

    The agent forgets all messages. The transcript keeps them.
    """
    with open_existing(options) as saver:
        restarted = saver.threads.restart(thread, user_id=user, by=decider_name(by, user))
    _report(restarted, f"{thread} starts over. Its messages stay in the transcript.", as_json=options.as_json)


@with_database_options
def fork(
    options: CommonOptions,
    thread: ThreadId,
    to: NewId = None,
    checkpoint: Annotated[str | None, no_default("--checkpoint", "ID", "Fork at this checkpoint.")] = None,
    message: Annotated[str | None, no_default("--message", "ID", "Fork after this message.")] = None,
    user: ActingUser = None,
    by: By = None,
) -> None:
    """Start a new conversation from a point of another.

    Forks at its end, at a checkpoint, or after a message. The original does not change.
    """
    if checkpoint is not None and message is not None:
        raise Mistake("--checkpoint and --message were given together. Needed: one of them.")
    with open_existing(options) as saver:
        forked = saver.threads.fork(
            thread, to, checkpoint_id=checkpoint, message_id=message, user_id=user, by=decider_name(by, user)
        )
    _report(forked, _created(forked, options), as_json=options.as_json)


@with_database_options
def copy(options: CommonOptions, thread: ThreadId, to: NewId = None, user: ActingUser = None) -> None:
    """Copy a conversation with its whole history."""
    with open_existing(options) as saver:
        copied = saver.threads.copy(thread, to, user_id=user)
    _report(copied, _created(copied, options), as_json=options.as_json)


def report_unlisted(saver: HoldfastDatabase, options: CommonOptions) -> None:
    """Warn if some threads are not in the list, so that a list, or a search by user, leaves them out."""
    if next(saver.threads.unindexed(), None) is not None:
        command = options.command("db", "upgrade")
        typer.echo(
            "Some conversations were saved by an older version and are not in the list yet. To add them: " + command,
            err=True,
        )


def add_unlisted(
    saver: HoldfastDatabase, only: Collection[str] | None = None, *, silent: bool
) -> tuple[int, dict[str, str]]:
    """Add threads that are not in the list of threads to it.

    Args:
        saver: the database.
        only: the threads to consider; `None` for all.
        silent: show no progress bar.

    Returns:
        The number of threads that were added; and why others could not be, by thread.
    """
    from holdfast.checkpoints.errors import DamagedThread
    from holdfast.cli.output.progress import progress_bar

    added, damaged = 0, {}
    threads = [thread for thread in saver.threads.unindexed() if only is None or thread in only]
    with progress_bar("Listing", len(threads), silent=silent) as bar:
        for thread_id in threads:
            try:
                saver.threads.index(thread_id)
            except DamagedThread as error:
                damaged[thread_id] = str(error)
            else:
                added += 1
            bar.advance()
    return added, damaged


def _created(thread: Thread, options: CommonOptions) -> str:
    command = options.command("chat", "--thread", thread.thread_id)
    return f"Created {one_line(thread.thread_id)}. To continue it: {command}"


def _report(thread: Thread, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_facts(thread))
    else:
        typer.echo(one_line(line))


def _facts(thread: Thread) -> dict[str, Any]:
    return asdict(thread)


def thread_table(threads: list[Thread]) -> list[str]:
    """Return a list of threads as a table, as wide as the terminal."""
    from holdfast.checkpoints.transcript.export import when

    rows = [
        (
            when(thread.updated_at),
            thread.status if not thread.pending else f"{thread.status} ({thread.pending})",
            thread.thread_id,
            thread.user_id or "-",
            f"{thread.messages:,}",
            thread.title or "",
        )
        for thread in threads
    ]
    heads = ("written", "state", "id", "user", "messages", "title")
    return columns([heads, *(tuple(one_line(cell) for cell in row) for row in rows)], terminal_width())
