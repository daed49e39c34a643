"""Threads of any checkpointer are copied into a database of Holdfast, with what waits in them.

A thread is first saved into a database in memory, by the same methods by which LangGraph saves it, and compared with
its source. Then it is transferred like one of Holdfast's own: in one transaction, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from holdfast.checkpoints import HoldfastDatabase, HoldfastSaver, open_checkpointer, transfer
from holdfast.checkpoints.errors import NotMoved
from holdfast.checkpoints.transfer import Transferred

_SERDE: Final = JsonPlusSerializer()


def copy_threads(
    source: BaseCheckpointSaver[Any], target: HoldfastDatabase, thread_ids: Iterable[str] | None = None
) -> Iterator[Transferred]:
    """Copy threads from any checkpointer, and yield what became of each.

    Checkpoints, their metadata, the writes of tasks and what waits for a person are copied, and read back. The rows of
    the messages have the times of their checkpoints. A thread that the target has already, identical, is told; so a
    copy that was stopped is repeated as a whole. First stop the programs that write to the source.

    Args:
        source: the checkpointer, with `list` and `get_tuple`.
        target: what `open_checkpointer` returned.
        thread_ids: the threads; by default all that the source lists.

    Raises:
        DatabaseUnavailable, NotOpen: the target is out of reach.
        any error of the source.
    """
    with open_checkpointer("memory://") as memory:
        for thread_id in listed_threads(source) if thread_ids is None else thread_ids:
            yield transfer.attempt_transfer(thread_id, partial(_copy, source, memory, target, thread_id))


def listed_threads(source: BaseCheckpointSaver[Any]) -> list[str]:
    """Return the ids of the threads that a checkpointer lists, in the order in which it does."""
    return list(dict.fromkeys(str(item.config["configurable"]["thread_id"]) for item in source.list(None)))


def _copy(
    source: BaseCheckpointSaver[Any], memory: HoldfastSaver, target: HoldfastDatabase, thread_id: str
) -> Transferred:
    items = _items(source, thread_id)
    if not items:
        raise NotMoved(thread_id, "the source has no such thread.")
    try:
        for item in items:
            _save(memory, item)
        _compare(items, _items(memory, thread_id), thread_id)
        transfer.date_by_checkpoints(memory.database, thread_id)
        return transfer.transfer_thread(memory.database, target.database, thread_id)
    finally:
        memory.delete_thread(thread_id)


def _items(source: BaseCheckpointSaver[Any], thread_id: str) -> list[CheckpointTuple]:
    """Return all checkpoints of a thread, oldest first, those of subgraphs too."""
    found: dict[tuple[str, str], CheckpointTuple] = {}
    for listed in source.list({"configurable": {"thread_id": thread_id}}):
        own = listed.config["configurable"]
        place = str(own.get("checkpoint_ns") or ""), str(own["checkpoint_id"])
        found[place] = listed
    # Some list the writes of tasks only with a single checkpoint.
    items = [source.get_tuple(_config(thread_id, *place)) or listed for place, listed in found.items()]
    return sorted(items, key=lambda item: _place(item)[::-1])


def _config(thread_id: str, ns: str, checkpoint_id: str | None = None) -> RunnableConfig:
    at = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, **at}}


def _place(item: CheckpointTuple) -> tuple[str, str]:
    own = item.config["configurable"]
    return str(own.get("checkpoint_ns") or ""), str(own["checkpoint_id"])


def _save(memory: HoldfastSaver, item: CheckpointTuple) -> None:
    """Save a checkpoint with all its values, and the writes on it, task by task."""
    thread_id, (ns, checkpoint_id) = str(item.config["configurable"]["thread_id"]), _place(item)
    parent = (item.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    memory.put(_config(thread_id, ns, parent), item.checkpoint, item.metadata, item.checkpoint["channel_versions"])
    config = _config(thread_id, ns, checkpoint_id)
    # Some return the writes of several tasks in no order. Those of one task have to be saved at once.
    for task_id, writes in groupby(sorted(item.pending_writes or (), key=itemgetter(0)), itemgetter(0)):
        memory.put_writes(config, [(channel, value) for _, channel, value in writes], task_id)


def _compare(items: Sequence[CheckpointTuple], saved: Sequence[CheckpointTuple], thread_id: str) -> None:
    """Compare what was saved with its source.

    Raises:
        NotMoved: something differs.
    """
    for item, copied in zip(items, saved, strict=False):
        if _place(item) != _place(copied) or not _is_same(item, copied):
            raise NotMoved(thread_id, f"checkpoint {_place(item)[1]} would not be there as it was.")
    if len(items) != len(saved):
        raise NotMoved(thread_id, f"{len(saved)} of {len(items)} checkpoints would be there.")


def _is_same(item: CheckpointTuple, copied: CheckpointTuple) -> bool:
    """Return whether two checkpoints have the same values, metadata and writes."""
    parts, others = list(_parts(item)), list(_parts(copied))
    return len(parts) == len(others) and all(map(_are_equal, parts, others))


def _parts(item: CheckpointTuple) -> Iterator[Any]:
    parent = (item.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    values, metadata = item.checkpoint["channel_values"], {**item.metadata}
    yield parent, sorted(values), sorted(map(str, metadata)), json.dumps(metadata, sort_keys=True, default=str)
    yield from (values[channel] for channel in sorted(values))
    writes = sorted(item.pending_writes or (), key=itemgetter(0, 1))
    yield [(task_id, channel) for task_id, channel, _ in writes]
    yield from (value for _, _, value in writes)


def _are_equal(one: Any, other: Any) -> bool:
    with suppress(Exception):  # `==` of any type: an array has no truth
        if bool(one == other):
            return True
    return _SERDE.dumps_typed(one) == _SERDE.dumps_typed(other)
