"""The checkpoints of a thread without their values, and which follows from which. No I/O.

Namespaces: `""` is the graph itself, `agent:1f3a…` one call of a subgraph, and `agent` a subgraph with a memory of its
own (`checkpointer=True`), which outlives each call.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from holdfast.checkpoints.backends.records import BASE, Row
from holdfast.checkpoints.config import run_text
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS


class Outline(NamedTuple):
    """A checkpoint without its values."""

    ns: str
    checkpoint_id: str
    parent_id: str | None
    metadata: Mapping[str, Any]
    is_written: bool
    """Whether it has pending writes."""

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
    """Return the checkpoints of a thread by namespace and id, from rows of the statements `outline` and `written`."""
    with_writes = {tuple(row) for row in written}
    found: dict[str, dict[str, Outline]] = {}
    for ns, checkpoint_id, parent_id, metadata in checkpoints:
        found.setdefault(ns, {})[checkpoint_id] = Outline(
            ns, checkpoint_id, parent_id or None, json.loads(metadata or "{}"), (ns, checkpoint_id) in with_writes
        )
    return found


def made_from(outline: Outline) -> Any:
    """Return the id of the root graph's checkpoint from which a subgraph was called."""
    return (outline.metadata.get("parents") or {}).get("")


def delta_channels(there: Namespace) -> set[str]:
    """Return the channels of a namespace whose values may be stored in ancestors."""
    return {channel for outline in there.values() for channel in outline.metadata.get(DELTA_COUNTERS) or ()}


def leans(metadata: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint with these metadata has channels whose values are stored in ancestors."""
    return bool(metadata.get(DELTA_COUNTERS))


def surviving_ancestor(there: Namespace, outline: Outline, gone: Collection[str]) -> str | None:
    """Return the nearest ancestor of a checkpoint that is not among the ids in `gone`."""
    parent_id = outline.parent_id
    while parent_id in gone:
        assert parent_id is not None  # noqa: S101 - it is in `gone`
        parent_id = there[parent_id].parent_id if parent_id in there else None
    return parent_id
