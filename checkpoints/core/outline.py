"""Which checkpoints of a thread are still needed, and which are not. No I/O.

Namespaces: `""` is the graph itself, `agent:1f3a…` one call of a subgraph, and `agent` a subgraph with a memory of its
own (`checkpointer=True`), which outlives each call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from holdfast.checkpoints.backends.base import BASE, Row
from holdfast.checkpoints.config import run_text
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS, NS_END


class Outline(NamedTuple):
    """What can be said of a checkpoint without its values."""

    ns: str
    checkpoint_id: str
    parent_id: str | None
    metadata: Mapping[str, Any]
    is_written: bool
    """Whether a task has written something on it."""

    @property
    def is_base(self) -> bool:
        """See `BASE`."""
        return self.metadata == BASE

    @property
    def run_id(self) -> str | None:
        return run_text(self.metadata.get("run_id"))


Namespace: TypeAlias = Mapping[str, Outline]
"""The checkpoints of a namespace, by id."""


def outlines(checkpoints: Iterable[Row], written: Iterable[Row]) -> dict[str, dict[str, Outline]]:
    """The checkpoints of a thread by namespace and id, from rows of the statements `outline` and `written`."""
    with_writes = {tuple(row) for row in written}
    found: dict[str, dict[str, Outline]] = {}
    for ns, checkpoint_id, parent_id, metadata in checkpoints:
        found.setdefault(ns, {})[checkpoint_id] = Outline(
            ns, checkpoint_id, parent_id or None, json.loads(metadata or "{}"), (ns, checkpoint_id) in with_writes
        )
    return found


def latest(thread: Mapping[str, Namespace], is_unfinished: Callable[[Outline], bool]) -> dict[str, set[str]]:
    """Which checkpoints are still needed to go on with a thread, by namespace; one without any can go.

    - Of the graph itself its newest checkpoint. If a run has begun on it and no step of that is through, then also what
      its input has cut off: results of calls that were waited for are there, and nowhere else yet.
    - Of a call of a subgraph its newest checkpoint, as long as that of the graph from which it was made is needed. One
      that is not there yet is newer: a call may be saved before the checkpoint from which it was made.
    - Of a subgraph with a memory of its own the newest one; and where several calls at once share it, the last of each.

    Args:
        thread: the thread's checkpoints.
        is_unfinished: whether a checkpoint has tasks that are still to be done.
    """
    root = _with_what_was_cut_off(thread.get("", {}), is_unfinished)
    newest_root = max(root, default="")
    kept = {"": root} if root else {}
    for ns, there in thread.items():
        states = {id_: outline for id_, outline in there.items() if not outline.is_base}
        if ns == "" or not states:
            continue
        newest = states[max(states)]
        if NS_END in ns and (made := made_from(newest)) and made not in root and made < newest_root:
            continue
        parents = {outline.parent_id for outline in states.values()}
        kept[ns] = {newest.checkpoint_id} | {
            outline.checkpoint_id
            for outline in states.values()
            if outline.checkpoint_id not in parents and made_from(outline) in root
        }
    return kept


def _with_what_was_cut_off(root: Namespace, is_unfinished: Callable[[Outline], bool]) -> set[str]:
    newest = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    kept: set[str] = set()
    while newest is not None:
        kept.add(newest)
        head, newest = root[newest], None
        parent = root.get(head.parent_id or "")
        given = head if _is_input(head) else parent if parent and _has_only_taken(head, parent) else None
        before = root.get(given.parent_id or "") if given else None
        if given and before and not before.is_base and (given is head or is_unfinished(head)):
            kept.add(given.checkpoint_id)
            newest = before.checkpoint_id
    return kept


def _is_input(outline: Outline) -> bool:
    return outline.metadata.get("source") == "input"


def _has_only_taken(head: Outline, parent: Outline) -> bool:
    """Whether a run has taken its input and done nothing with it yet."""
    return _is_input(parent) and head.metadata.get("source") == "loop" and not head.is_written


def made_from(outline: Outline) -> Any:
    """The checkpoint of the graph itself from which a subgraph was called."""
    return (outline.metadata.get("parents") or {}).get("")


def delta_channels(there: Namespace) -> set[str]:
    """The channels of a namespace whose value may lie in ancestors."""
    return {channel for outline in there.values() for channel in outline.metadata.get(DELTA_COUNTERS) or ()}


def leans(metadata: Mapping[str, Any]) -> bool:
    """Whether a checkpoint with these metadata has channels whose value lies in ancestors."""
    return bool(metadata.get(DELTA_COUNTERS))


def surviving_ancestor(there: Namespace, outline: Outline, gone: Collection[str]) -> str | None:
    """The nearest ancestor of a checkpoint that is not among those that go."""
    parent_id = outline.parent_id
    while parent_id in gone:
        assert parent_id is not None  # noqa: S101 - it is among the ids that go
        parent_id = there[parent_id].parent_id if parent_id in there else None
    return parent_id
