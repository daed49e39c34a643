"""How a thread stands: whether it is there, whose it is, how far it goes, and what its state still has of it."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.checkpoints.backends.base import CheckpointKey, Transaction, Wanted
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained
from holdfast.checkpoints.core.outline import leans
from holdfast.checkpoints.errors import DamagedThread, NotStorable, UnknownThread
from holdfast.checkpoints.serde.values import Attachable


class Standing(NamedTuple):
    """What is known of a thread before its messages are read, all at one moment."""

    generation: int | None
    """`None`: it has no row of its own yet, and so no message rows."""
    user_id: str | None
    title: str | None
    last: int
    live: frozenset[int] | None
    """The rows that the newest checkpoint's state refers to; `None`: that is not known."""
    notice: str | None


def look(transaction: Transaction, database: Database, thread_id: str, owner: str | None) -> Standing:
    """How a thread stands.

    Args:
        transaction: in which to look.
        store: the database.
        thread_id: the thread.
        owner: whose it must be; `None` for anybody's.

    Raises:
        UnknownThread: there is no such thread, or it is not the owner's.
    """
    [[row]] = transaction.run([(database.backend.sql["transcript"], {"thread_id": thread_id})])
    if not row.has_checkpoints and (row.deleted or not (row.has_said or row.has_events)):
        raise UnknownThread(thread_id, owner)
    user_id = None if row.user_id is None else str(row.user_id)
    if owner is not None and user_id != asked_user(owner):
        raise UnknownThread(thread_id, owner)
    notice = None
    if not row.has_said:
        notice = (
            f"No message of thread {thread_id!r} has a row. If one of LangGraph's own savers has saved them, "
            "`holdfast db compact` gives them rows."
        )
    return Standing(row.generation, user_id, row.title, row.last_seq, _live(transaction, database, thread_id), notice)


def _live(transaction: Transaction, database: Database, thread_id: str) -> frozenset[int] | None:
    """The message rows that the newest checkpoint refers to, without reading them."""
    try:
        found = database.backend.find(transaction, Wanted(limit=1, thread_id=thread_id, ns=""))
        if not found:
            return frozenset()
        [head] = found
        if leans(head.metadata):
            return None
        key = CheckpointKey(thread_id, "", head.checkpoint_id)
        parts = []
        for value in head.values:
            with explained(thread_id, head.checkpoint_id, value.channel):
                place = database.backend.value_place(key, value.channel, head.document)
                opened = database.sealer.open_value(thread_id, place, value.type, value.blob or b"")
                parts.append(Attachable(value.channel, *opened))
    except (DamagedThread, NotStorable):
        return None
    return frozenset(abs(ref) for part in parts for refs in part.lists for ref in refs)
