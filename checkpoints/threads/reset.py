"""A thread that does not simply go on: it is begun anew, or its last turn is taken back.

Nothing is deleted: what was said stays in the transcript, and every checkpoint in the history. The state that the
thread goes on with is saved once more as its newest.

The graph itself comes first, and is guarded: if somebody else has written meanwhile, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, outlines
from holdfast.checkpoints.errors import NothingToUndo, UnknownThread
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS, OF_THE_RUN
from holdfast.checkpoints.threads import index


class ResettableSaver(Protocol):
    """What saves checkpoints; see `HoldfastSaver`."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None: ...

    def put_with(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        also: Sequence[Call],
        *,
        beside: bool,
    ) -> RunnableConfig: ...


def restart_thread(database: Database, saver: ResettableSaver, thread_id: str, actor: str | None) -> None:
    """Let a thread begin anew: its next run finds an empty state, also in subgraphs that have a memory of their own.

    Raises:
        UnknownThread: it is not there.
        ThreadConflict: somebody else has written to it, or deleted it, meanwhile.
    """
    newest = _newest(saver, thread_id, "")
    if newest is None:
        raise UnknownThread(thread_id)
    event = index.add_event(database.backend.sql, thread_id, "restart", {}, actor)
    _put(saver, newest, None, (event, (database.backend.sql["set_live_from"], {"thread_id": thread_id})))
    for ns in _remembering(_outlines(database, thread_id)):
        _put(saver, _newest(saver, thread_id, ns), None, ())


def undo_turn(database: Database, saver: ResettableSaver, thread_id: str, actor: str | None) -> None:
    """Take back the last turn: what a person said last, and all that came of it. What its tools have done in the world
    is not undone.

    Raises:
        NothingToUndo: no turn is left, or what was before it was pruned.
        UnknownThread, ThreadConflict: as `restart_thread`.
    """
    # In this order: what is written after the head was loaded is refused below, and never taken for the last turn.
    newest = _newest(saver, thread_id, "")
    thread = _outlines(database, thread_id)
    if newest is None:
        raise UnknownThread(thread_id)
    turn = _last_turn(thread_id, thread.get("", {}))
    event = index.add_event(database.backend.sql, thread_id, "undo", {"checkpoint_id": turn.parent_id}, actor)
    _put(saver, newest, turn.parent_id, (event,))
    for ns in _remembering(thread):
        older = [id_ for id_, outline in thread[ns].items() if id_ < turn.checkpoint_id and not outline.is_base]
        _put(saver, _newest(saver, thread_id, ns), max(older, default=None), ())


def _newest(saver: ResettableSaver, thread_id: str, ns: str) -> CheckpointTuple | None:
    return saver.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ns}})


def _outlines(database: Database, thread_id: str) -> dict[str, dict[str, Outline]]:
    [found] = database.read((database.backend.sql["outline"], {"thread_id": thread_id}))
    return outlines(found, ())


def _remembering(thread: Mapping[str, Namespace]) -> list[str]:
    """The subgraphs that have a memory of their own."""
    return [ns for ns in thread if ns and ":" not in ns]


def _last_turn(thread_id: str, root: Namespace) -> Outline:
    """The checkpoint that the last turn has begun with: its input."""
    at = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    while at is not None and at in root and not root[at].is_base:
        outline = root[at]
        if outline.metadata.get("source") == "input":
            before = root.get(outline.parent_id or "")
            if outline.parent_id is not None and (before is None or before.is_base):
                raise NothingToUndo(f"What was before the last turn of thread {thread_id!r} was pruned.")
            return outline
        at = outline.parent_id
    raise NothingToUndo(
        f"Thread {thread_id!r} has no turn that can be undone: nothing was said in it since it began, or what came "
        "before was pruned."
    )


def _put(saver: ResettableSaver, newest: CheckpointTuple | None, source_id: str | None, also: Sequence[Call]) -> None:
    """Save a checkpoint that has the state of an older one, or none, as the newest of its namespace.

    Args:
        saver: saves it.
        newest: the one that is the newest; `None`: the namespace was deleted in this moment.
        source_id: the older one.
        also: more statements in the transaction.
    """
    if newest is None:
        return
    place = newest.config["configurable"]
    checkpoint, counters, parent_id = empty_checkpoint(), None, None
    if source_id is not None:
        source = saver.get_tuple({"configurable": {**place, "checkpoint_id": source_id}})
        if source is None:
            raise NothingToUndo(f"Checkpoint {source_id} of thread {place['thread_id']!r} is gone.")
        checkpoint = copy_checkpoint(source.checkpoint)
        counters = source.metadata.get(DELTA_COUNTERS)
        # It stands beside the older one and not after it, as LangGraph has it for copies: a `DeltaChannel` is made of
        # what was written on the way.
        parent_id = ((source.parent_config or {}).get("configurable") or {}).get("checkpoint_id")
    checkpoint["id"], checkpoint["ts"] = str(uuid6()), datetime.now(UTC).isoformat()
    own = {name: value for name, value in newest.metadata.items() if name not in OF_THE_RUN}
    step = int(newest.metadata.get("step", -1)) + 1
    metadata = {**own, "source": "fork" if source_id else "update", "step": step, "parents": {}}
    if counters is not None:
        metadata[DELTA_COUNTERS] = counters
    config: RunnableConfig = {
        "configurable": {
            "thread_id": place["thread_id"],
            "checkpoint_ns": place["checkpoint_ns"],
            **({"checkpoint_id": parent_id} if parent_id is not None else {}),
        }
    }
    # With all its values: those of the older one may be pruned in this moment.
    versions = checkpoint["channel_versions"]
    saver.put_with(config, checkpoint, cast("CheckpointMetadata", metadata), versions, also, beside=True)
