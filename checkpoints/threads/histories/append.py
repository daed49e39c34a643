"""The messages in a thread's state, and their addition as an update, without a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, copy_checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from holdfast.checkpoints.backends.records import Row, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.conflicts import LoadedThread, move_clock_past, next_version
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import NotStorable, ThreadConflict
from holdfast.checkpoints.interrupts.decisions import KEPT_NOTE
from holdfast.checkpoints.langgraph_internals import enclosing_checkpoint
from holdfast.checkpoints.load import RawCheckpoint, find, to_tuple
from holdfast.checkpoints.threads.histories.records import MESSAGES
from holdfast.checkpoints.threads.reset import SaveCheckpoint

# Each is one more checkpoint that others have saved meanwhile.
_MOST_ATTEMPTS: Final = 100


def read_messages(database: Database, thread_id: str) -> list[BaseMessage]:
    """Return the messages in the state of a thread; none if the thread does not exist.

    Raises:
        NotStorable: the thread's messages are in a `DeltaChannel`.
    """
    _, head = _head(database, database, thread_id)
    return [] if head is None else _messages_in(head.checkpoint, thread_id)


def append_messages(
    database: Database, save: SaveCheckpoint, thread_id: str, messages: Sequence[BaseMessage], user_id: str | None
) -> None:
    """Add messages after those of a thread. A thread that does not exist begins with them.

    It is a compare-and-set: if another writer was first, the messages are added after those of that writer.

    Raises:
        NotStorable: the thread's messages are in a `DeltaChannel`, or a message holds a value that cannot be stored.
        ThreadConflict: other writers were first a hundred times.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        try:
            _append(database, save, *_head(database, database.keeping(), thread_id), messages, user_id)
        except ThreadConflict:
            if attempt == _MOST_ATTEMPTS:
                raise
        else:
            return


def _head(database: Database, values: Database, thread_id: str) -> tuple[LoadedThread, CheckpointTuple | None]:
    """Load the newest checkpoint of a thread; `None` if it has none.

    Args:
        database: the database.
        values: the same database, as the values are to be loaded.
        thread_id: the thread.
    """
    backend = database.backend
    database.queues.settle(thread_id, backend.patience.is_lost)

    def read() -> tuple[list[RawCheckpoint], list[Row]]:
        with backend.reading() as transaction:
            found = find(transaction, values, Wanted(limit=1, thread_id=thread_id, ns=""))
            [rows] = transaction.run([(backend.sql["thread"], {"thread_id": thread_id})])
            return found, rows

    found, rows = persist(backend, read)
    head = to_tuple(found[0], values) if found else None
    loaded = LoadedThread(
        thread_id,
        found[0].stored.checkpoint_id if found else None,
        rows[0].generation if rows else None,
        had_interrupt=True,  # it may have had one
        within=enclosing_checkpoint(thread_id),
    )
    if loaded.head is not None:
        move_clock_past(loaded.head)
    return loaded, head


def _append(
    database: Database,
    save: SaveCheckpoint,
    thread_id: LoadedThread,
    head: CheckpointTuple | None,
    messages: Sequence[BaseMessage],
    user_id: str | None,
) -> None:
    # Here, since it imports LangGraph's graphs.
    from langgraph.graph.message import add_messages

    checkpoint = empty_checkpoint() if head is None else copy_checkpoint(head.checkpoint)
    values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
    before = _messages_in(checkpoint, thread_id)
    _keep_requests(database, thread_id, before)
    new = {MESSAGES: next_version(max(versions.values(), default=None))}
    checkpoint["channel_values"] = {**values, MESSAGES: add_messages(before, list(messages))}  # type: ignore[arg-type]
    checkpoint["channel_versions"] = {**versions, **new}
    checkpoint["id"], checkpoint["ts"] = str(uuid6()), datetime.now(UTC).isoformat()
    checkpoint["updated_channels"] = [MESSAGES]
    own = {"thread_id": thread_id, "checkpoint_ns": ""}
    parent = {} if thread_id.head is None else {"checkpoint_id": thread_id.head}
    user = {} if user_id is None else {"user_id": user_id}
    step = -1 if head is None else int(head.metadata.get("step", -1)) + 1
    metadata: CheckpointMetadata = {"source": "update", "step": step, "parents": {}}
    save(database, {"configurable": {**own, **parent, **user}}, checkpoint, metadata, new)


def _keep_requests(database: Database, thread_id: str, messages: Sequence[BaseMessage]) -> None:
    """Let the requests stay open that an agent keeps while people talk: their calls have an answer that says so."""
    notes = [message.additional_kwargs.get(KEPT_NOTE) for message in messages if isinstance(message, ToolMessage)]
    kept = [note.get("interrupt_id") for note in notes if isinstance(note, Mapping) and note.get("decided") is False]
    if kept:
        statement, thread = database.backend.sql["keep_open_request"], {"thread_id": str(thread_id)}
        database.write(*((statement, {**thread, "interrupt_id": interrupt_id}) for interrupt_id in kept))


def _messages_in(checkpoint: Checkpoint, thread_id: str) -> list[BaseMessage]:
    values = checkpoint["channel_values"]
    found = values.get(MESSAGES, [])
    if not isinstance(found, list) or (MESSAGES in checkpoint["channel_versions"] and MESSAGES not in values):
        raise NotStorable(
            f"Thread {str(thread_id)!r} has no list of messages in its newest checkpoint. Use the get_state and the "
            "update_state of its graph."
        )
    return found
