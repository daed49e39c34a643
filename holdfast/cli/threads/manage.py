"""`holdfast threads`: the conversations of a database, and what is done with one as a whole."""

from __future__ import annotations

import json
from collections.abc import Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db.open import there
from holdfast.cli.errors import Mistake
from holdfast.cli.moments import HELP as MOMENT
from holdfast.cli.moments import METAVAR, seconds
from holdfast.cli.options import (
    By,
    Database,
    Debug,
    Given,
    Json,
    Owner,
    ThreadId,
    decider,
)
from holdfast.cli.output.text import columns, one_line, shortened

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver, Thread

_SHOWN_TITLE = 60


class Status(StrEnum):
    """What a conversation is doing; see `checkpoints.Status`."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    IDLE = "idle"


Target = Annotated[
    str | None, typer.Option("--to", metavar="ID", help="The new conversation's id.", show_default=False)
]
Whose = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Only those of one user.", show_default=False)
]


def list_(
    context: typer.Context,
    user: Whose = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this state.")] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Only those with this in their title.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar=METAVAR, help=f"Written since. {MOMENT}", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar=METAVAR, help=f"Written before. {MOMENT}", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at the most.")] = 20,
    cursor: Annotated[
        str | None,
        typer.Option("--cursor", help="Go on where a list ended, as it said.", show_default=False),
    ] = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List conversations, the one that was written last first."""
    given, times = Given(database), (seconds(since, "--since"), seconds(until, "--until"))
    with there(context, given) as saver:
        page = saver.threads.list(
            user_id=user,
            status=None if status is None else status.value,
            text=text,
            since=times[0],
            until=times[1],
            limit=limit,
            cursor=cursor,
        )
        tell_of_unlisted(saver, given)
    if as_json:
        typer.echo(json.dumps({"threads": [_facts(thread) for thread in page.threads], "cursor": page.cursor}))
    else:
        for line in _table(page.threads) if page.threads else ["There are no such conversations."]:
            typer.echo(line)
        if page.cursor is not None:
            typer.echo(f"There are more. To go on: --cursor {page.cursor}")


def rename(
    context: typer.Context,
    thread: ThreadId,
    title: Annotated[
        str | None, typer.Argument(help="What it is called; without, by the first words that were said.")
    ] = None,
    user: Owner = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Give a conversation a title."""
    given = Given(database)
    with there(context, given) as saver:
        try:
            found = saver.threads.rename(thread, title, user_id=user)
        except ValueError as error:
            raise Mistake(str(error)) from None
    _say(found, f"{thread} is called {found.title!r}." if found.title else f"{thread} has no title.", as_json=as_json)


def restart(
    context: typer.Context,
    thread: ThreadId,
    user: Owner = None,
    by: By = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a conversation begin anew, with nothing said. What was said stays on record: threads show."""
    given = Given(database)
    with there(context, given) as saver:
        found = saver.threads.restart(thread, user_id=user, by=decider(by, user))
    _say(found, f"{thread} begins anew. What was said stays on record.", as_json=as_json)


def undo(
    context: typer.Context,
    thread: ThreadId,
    user: Owner = None,
    by: By = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take back the last turn: what was said last, and what came of it. What tools have done is not undone."""
    given = Given(database)
    with there(context, given) as saver:
        found = saver.threads.undo(thread, user_id=user, by=decider(by, user))
    _say(found, f"The last turn of {thread} is taken back. It stays on record.", as_json=as_json)


def fork(
    context: typer.Context,
    thread: ThreadId,
    to: Target = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="ID", help="Branch off at this checkpoint.", show_default=False),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="ID", help="Branch off after this message.", show_default=False),
    ] = None,
    user: Owner = None,
    by: By = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Branch a new conversation off one, as it stands or as it stood."""
    if checkpoint is not None and message is not None:
        raise Mistake("A fork begins at a checkpoint or at a message. Give one of --checkpoint and --message.")
    given = Given(database)
    with there(context, given) as saver:
        found = saver.threads.fork(
            thread, to, checkpoint_id=checkpoint, message_id=message, user_id=user, by=decider(by, user)
        )
    _say(found, _goes_on(given, found), as_json=as_json)


def copy(
    context: typer.Context,
    thread: ThreadId,
    to: Target = None,
    user: Owner = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a conversation, with its history."""
    given = Given(database)
    with there(context, given) as saver:
        found = saver.threads.copy(thread, to, user_id=user)
    _say(found, _goes_on(given, found), as_json=as_json)


def delete(
    context: typer.Context,
    thread: ThreadId,
    user: Owner = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete everything of a conversation, what was said in it too."""
    given = Given(database)
    with there(context, given) as saver:
        found = saver.threads.get(thread, user_id=user)
        if not yes:
            _ask(found)
        saver.threads.delete(thread, user_id=user)
    if as_json:
        typer.echo(json.dumps({"deleted": thread, "messages": found.messages}))
    else:
        typer.echo(f"{one_line(thread)} is deleted.")


def tell_of_unlisted(saver: HoldfastSaver, given: Given) -> None:
    """Say so if a list, or what goes by it, is not of all conversations."""
    if next(saver.threads.unindexed(), None) is not None:
        again = given.again("db", "upgrade")
        text = f"Some conversations are not in the list yet: saved by an older version. {again} adds them."
        typer.echo(text, err=True)


def index(saver: HoldfastSaver, only: Collection[str] | None = None, *, silent: bool) -> tuple[int, dict[str, str]]:
    """Bring into the list what is not in it, of all conversations or of some. Gives how many there were, and why some
    could not be, by thread."""
    from holdfast.checkpoints import DamagedThread
    from holdfast.cli.output.progress import bar

    listed, damaged = 0, {}
    threads = [thread for thread in saver.threads.unindexed() if only is None or thread in only]
    with bar("Listing", len(threads), silent=silent) as going:
        for thread_id in threads:
            try:
                saver.threads.index(thread_id)
            except DamagedThread as error:
                damaged[thread_id] = str(error)
            else:
                listed += 1
            going.advance()
    return listed, damaged


def _ask(found: Thread) -> None:
    what = f"{one_line(found.thread_id)} ({one_line(found.title or 'no title')}, {found.messages:,} messages)"
    # On standard error, as all that is not what was asked for.
    typer.echo(f"Delete {what} for good? [y/N] ", err=True, nl=False)
    try:
        answer = input().strip().lower()
    except EOFError:
        typer.echo(err=True)
        raise Mistake("Nobody answered, so nothing was deleted. --yes deletes without asking.") from None
    if answer not in ("y", "yes"):
        raise Mistake("Nothing was deleted.")


def _goes_on(given: Given, found: Thread) -> str:
    return f"Made {one_line(found.thread_id)}. To go on in it: {given.again('chat', '--thread', found.thread_id)}"


def _say(found: Thread, line: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(_facts(found)) if as_json else one_line(line))


def _facts(thread: Thread) -> dict[str, Any]:
    return thread._asdict()


def _table(threads: list[Thread]) -> list[str]:
    from holdfast.checkpoints.transcript.export.text import when

    rows = [
        (
            when(thread.updated_at),
            thread.status if not thread.pending else f"{thread.status} ({thread.pending})",
            thread.thread_id,
            thread.user_id or "-",
            f"{thread.messages:,}",
            shortened(thread.title or "", _SHOWN_TITLE),
        )
        for thread in threads
    ]
    heads = ("written", "state", "id", "user", "said", "title")
    return columns([heads, *(tuple(one_line(cell) for cell in row) for row in rows)])
