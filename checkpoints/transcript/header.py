"""The header of a transcript: the facts about a thread that are read before its messages."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Wanted
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import leans
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import DamagedThread, NotStorable, UnknownThread, row_explained
from holdfast.checkpoints.load import explained
from holdfast.checkpoints.serde.values import Attachable

MOST_ROWS: Final = 2**62
"""Above the number of every event and message."""


class Header(NamedTuple):
    """The facts about a thread, read in one transaction."""

    generation: int | None
    """`None` if the thread has no row of its own yet, and so no message rows."""
    user_id: str | None
    title: str | None
    last: int
    """The number of its last message row."""
    live: frozenset[int] | None
    """The rows that the newest checkpoint's state refers to; `None` if that is unknown."""
    notice: str | None
    """A note for readers, if messages are missing."""
    read_at: float
    """The time of this, by the database's clock."""


def read_header(transaction: Transaction, database: Database, thread_id: str, user: str | None) -> Header:
    """Read the header of a thread's transcript.

    Args:
        transaction: the transaction to read in.
        database: the database.
        thread_id: the thread.
        user: the user who must own the thread, or be one of its members; `None` for a caller that may read every one.

    Raises:
        UnknownThread: the thread does not exist, or is neither the user's nor shared with this user.
    """
    asked = asked_user(user)
    [[row]] = transaction.run([(database.backend.sql["transcript"], {"thread_id": thread_id, "user_id": asked})])
    if not row.has_checkpoints and (row.deleted or not (row.has_said or row.has_events)):
        raise UnknownThread(thread_id, user)
    user_id = None if row.user_id is None else str(row.user_id)
    if user is not None and user_id != asked and not row.is_member:
        raise UnknownThread(thread_id, user)
    notice = None
    if not row.has_said:
        notice = (
            f"No message of thread {thread_id!r} has a row. If one of LangGraph's own savers has saved them, "
            "`holdfast db compact` gives them rows."
        )
    live = _live_rows(transaction, database, thread_id)
    with row_explained(thread_id, "its row"):
        last = min(int(row.last_seq), MOST_ROWS)
        title = None if row.title is None else database.sealer.open_text(thread_id, places.TITLE, row.title)
    return Header(row.generation, user_id, title, last, live, notice, row.read_at)


def _live_rows(transaction: Transaction, database: Database, thread_id: str) -> frozenset[int] | None:
    """Return the numbers of the message rows that the newest checkpoint refers to, without reading the rows."""
    try:
        heads = database.backend.find(transaction, Wanted(limit=1, thread_id=thread_id, ns=""))
        if not heads:
            return frozenset()
        [head] = heads
        if leans(head.metadata):
            return None
        key = CheckpointKey(thread_id, "", head.checkpoint_id)
        parts = []
        for value in head.values:
            with explained(thread_id, head.checkpoint_id, value.channel):
                place = database.backend.value_place(key, value.channel, head.document)
                body = database.sealer.open_value(thread_id, place, value.type, value.blob or b"")
                parts.append(Attachable(value.channel, *body))
    except (DamagedThread, NotStorable):
        return None
    return frozenset(abs(ref) for part in parts for refs in part.lists for ref in refs)
