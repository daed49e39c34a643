"""Restart of a thread, and undo of its last turn.

Nothing is deleted. The messages stay in the transcript, and all checkpoints in the history. The state from which the
thread is to continue is saved again as its newest checkpoint, with its values as they are stored. The values of other
checkpoints are not read, so they may be damaged.

The root namespace is reset first, under the conflict check: if another writer has changed the thread meanwhile, nothing
is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

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

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import NOTES, CheckpointKey, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.backends.sealing import open_metadata
from holdfast.checkpoints.config import thread_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, outlines
from holdfast.checkpoints.errors import NothingToUndo, NotStorable, UnknownThread
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS, INTERRUPT, OF_THE_RUN, START, enclosing_checkpoint
from holdfast.checkpoints.threads import index


class SaveCheckpoint(Protocol):
    """The function `save.save_checkpoint`, which lies in a room above this one."""

    def __call__(
        self,
        database: Database,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        also: Sequence[Call] = (),
        *,
        replaces_head: bool = False,
    ) -> RunnableConfig: ...


class _Newest(NamedTuple):
    """The newest checkpoint of a namespace, without its values."""

    thread_id: str
    """A `LoadedThread` if it is that of the root namespace."""
    ns: str
    metadata: Mapping[str, Any]


def restart_thread(database: Database, save: SaveCheckpoint, thread_id: str, actor: str | None) -> None:
    """Reset a thread to an empty state, also in subgraphs that have a memory of their own.

    Raises:
        UnknownThread: the thread does not exist.
        ThreadConflict: another writer has changed or deleted the thread meanwhile.
    """
    newest = _newest(database, thread_id, "")
    if newest is None:
        raise UnknownThread(thread_id)
    database.sealer.key_no(thread_id)
    event = index.add_event(database, thread_id, "restart", {}, actor)
    put = partial(_put, database, save)
    live_from = database.backend.sql["set_live_from"], {"thread_id": thread_id}
    put(newest, None, (event, live_from, _release(database, thread_id)))
    for ns in _namespaces_with_memory(_outlines(database, thread_id)):
        put(_newest(database, thread_id, ns), None, ())


def undo_turn(database: Database, save: SaveCheckpoint, thread_id: str, actor: str | None) -> None:
    """Reset a thread to its state before the last turn. What the turn's tools have done in the world is not undone.

    Raises:
        NothingToUndo: no turn is left, or the checkpoint before it was pruned.
        UnknownThread, ThreadConflict: as `restart_thread`.
    """
    # In this order: a turn that is saved after the head was loaded makes the save below fail. It is never taken for the
    # last turn.
    newest = _newest(database, thread_id, "")
    thread = _outlines(database, thread_id)
    if newest is None:
        raise UnknownThread(thread_id)
    root = thread.get("", {})
    turn = _last_turn(database, thread_id, root)
    # From where to where: what was said between these two is taken back.
    data = {"checkpoint_id": turn.parent_id, "head": max(root)}
    database.sealer.key_no(thread_id)
    event = index.add_event(database, thread_id, "undo", data, actor)
    put = partial(_put, database, save)
    put(newest, turn.parent_id, (event, _release(database, thread_id)))
    for ns in _namespaces_with_memory(thread):
        older = [id_ for id_, outline in thread[ns].items() if _is_before(outline, turn) and not outline.is_base]
        put(_newest(database, thread_id, ns), max(older, default=None), ())


def _release(database: Database, thread_id: str) -> Call:
    """Return the call that lets go of the requests that a turn has kept open."""
    return database.backend.sql["release_requests"], {"thread_id": thread_id}


def _newest(database: Database, thread_id: str, ns: str) -> _Newest | None:
    thread_id = thread_of({"configurable": {"thread_id": thread_id}})
    if ns == "":
        database.queues.settle(thread_id, database.backend.patience.is_lost)
    sql, params = database.backend.sql, {"thread_id": thread_id}
    rows, known = database.read((sql["outline"], params), (sql["thread"], params))
    there = outlines(rows, ()).get(ns)
    if not there:
        return None
    head = max(there)
    conflicts.move_clock_past(head)
    if ns == "":
        thread_id = conflicts.LoadedThread(
            thread_id,
            head,
            known[0].generation if known else None,
            had_interrupt=True,  # it may have had one
            within=enclosing_checkpoint(thread_id),
        )
    key = CheckpointKey(str(thread_id), ns, head)
    return _Newest(thread_id, ns, open_metadata(database.sealer, key, there[head].metadata))


def _state(database: Database, key: CheckpointKey) -> CheckpointTuple | None:
    """Return a checkpoint with its values as they are stored, and without its writes; `None` if it is not there."""
    kept = database.keeping()

    def read() -> list[load.RawCheckpoint]:
        with database.backend.reading() as transaction:
            found = database.backend.find(transaction, Wanted(1, key.thread_id, key.ns, key.checkpoint_id))
            return load.with_rows(transaction, kept, [stored._replace(writes=[]) for stored in found])

    found = persist(database.backend, read)
    return load.to_tuple(found[0], kept) if found else None


def _outlines(database: Database, thread_id: str) -> dict[str, dict[str, Outline]]:
    [rows] = database.read((database.backend.sql["outline"], {"thread_id": thread_id}))
    return outlines(rows, ())


def _namespaces_with_memory(thread: Mapping[str, Namespace]) -> list[str]:
    """Return the namespaces of the subgraphs that have a memory of their own."""
    return [ns for ns in thread if ns and ":" not in ns]


def _is_before(outline: Outline, turn: Outline) -> bool:
    """Return whether a checkpoint of a subgraph was saved before a turn began."""
    if _is_input(turn):
        return outline.checkpoint_id < turn.checkpoint_id
    # The one checkpoint of the turn is the last of all that it saved.
    is_update = outline.metadata.get("source") == "update"
    return outline.checkpoint_id < (turn.checkpoint_id if is_update else turn.parent_id or "")


def _is_input(outline: Outline) -> bool:
    return outline.metadata.get("source") == "input"


def _last_turn(database: Database, thread_id: str, root: Namespace) -> Outline:
    """Return the checkpoint with which the last turn began: its input, or its only one (`durability="exit"`).

    Raises:
        NothingToUndo: the thread has no such checkpoint, or the one before it was pruned.
    """
    at = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    while at is not None and at in root and not root[at].is_base:
        outline = root[at]
        if _is_input(outline) or _is_whole_turn(database, thread_id, outline, root):
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


def _is_whole_turn(database: Database, thread_id: str, outline: Outline, root: Namespace) -> bool:
    """Return whether a checkpoint took an input that no checkpoint before it has: then the turn saved nothing else.

    So it is for a turn with `durability="exit"`, and for a copy of its checkpoint, which an undo makes.
    """
    source, parent = outline.metadata.get("source"), root.get(outline.parent_id or "")
    if source not in {"loop", "fork"} or (parent is None and outline.parent_id is not None):
        return False
    if source == "loop" and parent is not None and outline.metadata.get("step") == parent.metadata.get("step", -2) + 1:
        return False  # the input of a turn is a step as well
    taken, _ = _inputs(database, thread_id, outline)
    if parent is None:
        # The first version of a thread: if other turns were before it, they were pruned.
        return taken is not None and str(taken).partition(".")[0].lstrip("0") == "1"
    return taken is not None and taken not in _inputs(database, thread_id, parent)


def _inputs(database: Database, thread_id: str, outline: Outline) -> tuple[Any, Any]:
    """Return the version of the input that was last taken by a node, and that of the newest input."""
    key = CheckpointKey(thread_id, outline.ns, outline.checkpoint_id)

    def read() -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
        with database.backend.reading() as transaction:
            return load.versions_of(transaction, database, key)

    try:
        versions, seen = persist(database.backend, read)
    except NotStorable:  # in the form of an old stock saver: its turns are known by their inputs
        return None, None
    taken = [of_node[START] for node, of_node in seen.items() if node != INTERRUPT and START in of_node]
    return max(taken, default=None), versions.get(START)


def _put(
    database: Database,
    save: SaveCheckpoint,
    newest: _Newest | None,
    source_id: str | None,
    also: Sequence[Call],
) -> None:
    """Save a checkpoint with the state of an older one, or an empty one, as the newest of its namespace.

    Args:
        database: the open database.
        save: saves the checkpoint.
        newest: the newest checkpoint until now; `None` if the namespace was deleted meanwhile, so nothing is saved.
        source_id: the older checkpoint; `None` for an empty state.
        also: more statements in the same transaction.
    """
    if newest is None:
        return
    checkpoint, counters, parent_id = empty_checkpoint(), None, None
    if source_id is not None:
        source = _state(database, CheckpointKey(str(newest.thread_id), newest.ns, source_id))
        if source is None:
            raise NothingToUndo(
                f"The last turn of thread {str(newest.thread_id)!r} cannot be undone: checkpoint {source_id}, which "
                "was before it, was deleted meanwhile."
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
            "thread_id": newest.thread_id,
            "checkpoint_ns": newest.ns,
            **({"checkpoint_id": parent_id} if parent_id is not None else {}),
        }
    }
    # With all its values, since the older checkpoint may be pruned at this moment.
    versions = checkpoint["channel_versions"]
    save(database, config, checkpoint, cast("CheckpointMetadata", metadata), versions, also, replaces_head=True)
