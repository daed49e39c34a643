"""Conversations of other systems become threads, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from holdfast.checkpoints import HoldfastDatabase
from holdfast.checkpoints.errors import AlreadyAdded, InvalidThread, NotMoved, NotStorable, ThreadNotEmpty
from holdfast.checkpoints.threads.histories import add_conversation, new_conversation
from holdfast.histories.history import History

_LONGEST_TITLE: Final = 200


@dataclass(frozen=True)
class Imported:
    """The outcome of one conversation."""

    thread_id: str
    outcome: Literal["added", "there", "left"]
    """Whether it is a thread now, was one already, or was left out because of its `problem`."""
    messages: int = 0
    """The number of messages that were added."""
    problem: str | None = None


def import_histories(
    checkpointer: HoldfastDatabase,
    histories: Iterable[History],
    *,
    user_id: str | None = None,
    dry_run: bool = False,
) -> Iterator[Imported]:
    """Make a thread of each conversation, and yield what became of it.

    Each is one transaction. One that is there already is told and left as it is, so an import that was stopped is
    repeated as a whole. One that is not understood is named, and nothing of it is written.

    Args:
        checkpointer: what `open_checkpointer` returned.
        histories: the conversations, as `read_file` and `read_sql` yield them.
        user_id: the user whose threads they become; by default the first user that a conversation names.
        dry_run: whether to say only what would become of them.

    Raises:
        UnreadableHistory: the source cannot be read on.
        DatabaseUnavailable, NotOpen: as for every write.
    """
    for history in histories:
        yield _imported(checkpointer, history, user_id, dry_run=dry_run)


def _imported(checkpointer: HoldfastDatabase, history: History, user_id: str | None, *, dry_run: bool) -> Imported:
    if history.problem is not None:
        return Imported(history.thread_id, "left", problem=history.problem)
    owner = user_id or next((user for user in history.users if user), None)
    title = history.title and history.title[:_LONGEST_TITLE]
    try:
        new = new_conversation(
            history.thread_id, history.messages, user_id=owner, title=title, at=history.at, users=history.users
        )
        add_conversation(checkpointer.database, new, dry_run=dry_run)
    except AlreadyAdded:
        return Imported(history.thread_id, "there")
    except (ThreadNotEmpty, InvalidThread, NotMoved, NotStorable, ValueError, TypeError) as error:
        place = history.place or f"Conversation {history.thread_id!r}"
        return Imported(history.thread_id, "left", problem=f"{place}: {error}")
    return Imported(history.thread_id, "added", len(history.messages))
