"""Restart of a thread, and undo of its last turn.

Nothing is deleted. The messages stay in the transcript, and all checkpoints in the history. The state from which the
thread is to continue is saved again as its newest checkpoint.

The root namespace is reset first, under the conflict check: if another writer has changed the thread meanwhile, nothing
is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    copy_checkpoint,
    empty_checkpoint,
)
from langgraph.checkpoint.base.id import uuid6

from holdfast.checkpoints.backends.base import NOTES, Call
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, outlines
from holdfast.checkpoints.errors import NothingToUndo, UnknownThread
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS, OF_THE_RUN
from holdfast.checkpoints.threads import index


class LoadingSaver(Protocol):
    """The method of `HoldfastSaver` that loads a checkpoint."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None: ...


class SaveCheckpoint(Protocol):
    """The function `save.save_checkpoint`, which lies in a room above this one."""

    def __call__(
        self,
        database: Database,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        also: Sequence[Call],
        *,
        replaces_head: bool,
    ) -> RunnableConfig: ...


def restart_thread(
    database: Database, saver: LoadingSaver, save: SaveCheckpoint, thread_id: str, actor: str | None
) -> None:
    """Reset a thread to an empty state, also in subgraphs that have a memory of their own.

    Raises:
        UnknownThread: the thread does not exist.
        ThreadConflict: another writer has changed or deleted the thread meanwhile.
    """
    newest = _newest(saver, thread_id, "")
    if newest is None:
        raise UnknownThread(thread_id)
    event = index.add_event(database.backend.sql, thread_id, "restart", {}, actor)
    put = partial(_put, database, saver, save)
    put(newest, None, (event, (database.backend.sql["set_live_from"], {"thread_id": thread_id})))
    for ns in _namespaces_with_memory(_outlines(database, thread_id)):
        put(_newest(saver, thread_id, ns), None, ())


def undo_turn(database: Database, saver: LoadingSaver, save: SaveCheckpoint, thread_id: str, actor: str | None) -> None:
    """Reset a thread to its state before the last turn. What the turn's tools have done in the world is not undone.

    Raises:
        NothingToUndo: no turn is left, or the checkpoint before it was pruned.
        UnknownThread, ThreadConflict: as `restart_thread`.
    """
    # In this order: a turn that is saved after the head was loaded makes the save below fail. It is never taken for the
    # last turn.
    newest = _newest(saver, thread_id, "")
    thread = _outlines(database, thread_id)
    if newest is None:
        raise UnknownThread(thread_id)
    turn = _last_turn(thread_id, thread.get("", {}))
    event = index.add_event(database.backend.sql, thread_id, "undo", {"checkpoint_id": turn.parent_id}, actor)
    put = partial(_put, database, saver, save)
    put(newest, turn.parent_id, (event,))
    for ns in _namespaces_with_memory(thread):
        older = [id_ for id_, outline in thread[ns].items() if id_ < turn.checkpoint_id and not outline.is_base]
        put(_newest(saver, thread_id, ns), max(older, default=None), ())


def _newest(saver: LoadingSaver, thread_id: str, ns: str) -> CheckpointTuple | None:
    return saver.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ns}})


def _outlines(database: Database, thread_id: str) -> dict[str, dict[str, Outline]]:
    [rows] = database.read((database.backend.sql["outline"], {"thread_id": thread_id}))
    return outlines(rows, ())


def _namespaces_with_memory(thread: Mapping[str, Namespace]) -> list[str]:
    """Return the namespaces of the subgraphs that have a memory of their own."""
    return [ns for ns in thread if ns and ":" not in ns]


def _last_turn(thread_id: str, root: Namespace) -> Outline:
    """Return the input checkpoint with which the last turn began.

    Raises:
        NothingToUndo: the thread has no such checkpoint, or the one before it was pruned.
    """
    at = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    while at is not None and at in root and not root[at].is_base:
        outline = root[at]
        if outline.metadata.get("source") == "input":
            before = root.get(outline.parent_id or "")
            if outline.parent_id is not None and (before is None or before.is_base):
                raise NothingToUndo(
                    f"The last turn of thread {thread_id!r} cannot be undone: the checkpoint before it was pruned."
                )
            return outline
        at = outline.parent_id
    raise NothingToUndo(
        f"Thread {thread_id!r} has no turn that can be undone: nothing was said in it since it began, or what came "
        "before was pruned."
    )


def _put(
    database: Database,
    saver: LoadingSaver,
    save: SaveCheckpoint,
    newest: CheckpointTuple | None,
    source_id: str | None,
    also: Sequence[Call],
) -> None:
    """Save a checkpoint with the state of an older one, or an empty one, as the newest of its namespace.

    Args:
        database: the open database.
        saver: the saver.
        save: saves the checkpoint.
        newest: the newest checkpoint until now; `None` if the namespace was deleted meanwhile, so nothing is saved.
        source_id: the older checkpoint; `None` for an empty state.
        also: more statements in the same transaction.
    """
    if newest is None:
        return
    place = newest.config["configurable"]
    checkpoint, counters, parent_id = empty_checkpoint(), None, None
    if source_id is not None:
        source = saver.get_tuple({"configurable": {**place, "checkpoint_id": source_id}})
        if source is None:
            raise NothingToUndo(
                f"The last turn of thread {place['thread_id']!r} cannot be undone: checkpoint {source_id}, which was "
                "before it, was deleted meanwhile."
            )
        checkpoint = copy_checkpoint(source.checkpoint)
        counters = source.metadata.get(DELTA_COUNTERS)
        # The copy has the same parent as the older one, as LangGraph's own copies have: the value of a `DeltaChannel`
        # comes from the writes on the ancestors.
        parent_id = ((source.parent_config or {}).get("configurable") or {}).get("checkpoint_id")
    checkpoint["id"], checkpoint["ts"] = str(uuid6()), datetime.now(UTC).isoformat()
    own = {name: value for name, value in newest.metadata.items() if name not in OF_THE_RUN | NOTES}
    step = int(newest.metadata.get("step", -1)) + 1
    metadata = {**own, "source": "fork" if source_id else "update", "step": step, "parents": {}}
    if counters is not None:
        metadata[DELTA_COUNTERS] = counters
    config: RunnableConfig = {
        "configurable": {
            "thread_id": database.loads.thread_of(newest.config),
            "checkpoint_ns": place["checkpoint_ns"],
            **({"checkpoint_id": parent_id} if parent_id is not None else {}),
        }
    }
    # With all its values, since the older checkpoint may be pruned at this moment.
    versions = checkpoint["channel_versions"]
    save(database, config, checkpoint, cast("CheckpointMetadata", metadata), versions, also, replaces_head=True)
