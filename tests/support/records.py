"""All that can be read of a thread, in a form in which the same run on two savers can be compared."""

from __future__ import annotations

import re
from typing import Any

from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import StateSnapshot

from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import thread
from tests.support.shapes import exact

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b|'ts': '[^']+'")


def seen(snapshot: Any) -> Any:
    """All that a snapshot of a state says."""
    return {
        "values": exact(snapshot.values),
        "next": snapshot.next,
        "metadata": sorted(snapshot.metadata.items()),  # JSONB has an order of its own
        "id": snapshot.config["configurable"]["checkpoint_id"],
        "parent": snapshot.parent_config and snapshot.parent_config["configurable"]["checkpoint_id"],
        "tasks": [
            (
                t.id,
                t.name,
                t.path,
                t.error,
                t.interrupts,
                exact(t.result),
                seen(t.state) if isinstance(t.state, StateSnapshot) else t.state,
            )
            for t in snapshot.tasks
        ],
    }


def everything(saver: Any, graph: Any) -> list[Any]:
    """Return all that can be read of the thread: its state, its history, and every checkpoint of every namespace."""
    history = list(graph.get_state_history(thread()))
    stored = []
    for item in saver.list(thread()):
        # Savers show a snapshot of a DeltaChannel in different checkpoints; the states above say whether it works.
        values = {
            k: v for k, v in sorted(item.checkpoint["channel_values"].items()) if not isinstance(v, _DeltaSnapshot)
        }
        writes = sorted(repr((channel, exact(value))) for _, channel, value in item.pending_writes or [])
        stored.append(
            repr((item.config["configurable"]["checkpoint_ns"], sorted(item.metadata.items()), exact(values), writes))
        )
    return [
        seen(graph.get_state(thread(), subgraphs=True)),
        *(seen(snapshot) for snapshot in history),
        *(seen(graph.get_state(snapshot.config)) for snapshot in history),
        *sorted(ID.sub("#", entry) for entry in stored),
    ]


def steps_back(graph: Any, steps: int) -> Any:
    return list(graph.get_state_history(thread()))[steps].config


def numbered(record: list[Any]) -> list[str]:
    """The record as text, with a number in place of each id: ids differ from run to run, but not which are equal."""
    seen: dict[str, str] = {}
    return [ID.sub(lambda found: seen.setdefault(found[0], f"#{len(seen)}"), repr(entry)) for entry in record]


def listed(saver: HoldfastSaver, thread_id: str) -> list[Any]:
    """Everything that can be read of a thread, but for its name."""
    found = []
    for item in saver.list(thread(thread_id)):
        places = [{**c["configurable"], "thread_id": None} for c in (item.config, item.parent_config) if c]
        found.append((exact(item.checkpoint), item.metadata, places, exact(item.pending_writes)))
    return found
