"""What a saver makes of `stored_values`, in each place of a checkpoint that may hold one.

`python -m tests.support.oracle URL ...` loads what `save_all` saved, in a process of its own, and prints what it found.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Interrupt, Send

from holdfast import open_checkpointer
from tests.support.stored_values import VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig


class Kept(IntEnum):
    """How well a saver kept a value, the better the greater."""

    LOST = 0
    """It was saved, and the thread cannot be loaded."""
    REFUSED = 1
    OTHER = 2
    """It came back as something else."""
    EQUAL = 3
    EXACT = 4
    """It came back equal, and of the same type."""


# For each place: how a value gets there, and how it is read there.
_STATE: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "state": (lambda value: value, lambda stored: stored),
    "artifact": (
        lambda value: [ToolMessage("done", tool_call_id="c", artifact=value)],
        lambda stored: stored[0].artifact,
    ),
    "kwargs": (
        lambda value: [AIMessage("said", additional_kwargs={"parsed": value})],
        lambda stored: stored[0].additional_kwargs["parsed"],
    ),
}
_WRITES: dict[str, tuple[Callable[[Any], tuple[str, Any]], Callable[[Any], Any]]] = {
    "interrupt": (
        lambda value: ("__interrupt__", (Interrupt(value=value, id="i"),)),
        lambda stored: stored[0].value,
    ),
    "send": (lambda value: ("__pregel_tasks", Send("n", value)), lambda stored: stored.arg),
    "result": (lambda value: ("__return__", value), lambda stored: stored),
}
PLACES = [*_STATE, *_WRITES]


def same(left: Any, right: Any) -> Kept:
    """Return whether two values are equal, as exactly as can be told."""
    try:
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            equal = left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        else:
            equal = bool(left == right)
    except Exception:  # noqa: BLE001 - a list of arrays, for one
        equal = False
    alike = type(left) is type(right) and repr(left) == repr(right)  # nan differs from itself
    if equal or (alike and "object at" not in repr(left)):
        return Kept.EXACT if type(left) is type(right) else Kept.EQUAL
    return Kept.OTHER


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def _save(saver: BaseCheckpointSaver[Any], thread: str, value: Any, places: list[str]) -> None:
    values = {place: into(value) for place, (into, _) in _STATE.items() if place in places}
    checkpoint = empty_checkpoint()
    versions: dict[str, Any] = {place: saver.get_next_version(None, None) for place in values}
    checkpoint["channel_values"], checkpoint["channel_versions"] = values, versions
    written = [into(value) for place, (into, _) in _WRITES.items() if place in places]
    config = saver.put(_config(thread), checkpoint, {"source": "loop", "step": 1, "parents": {}}, versions)
    if written:
        saver.put_writes(config, written, "task")


def save_all(saver: BaseCheckpointSaver[Any], step: int = 1) -> set[tuple[str, str]]:
    """Save each value, or every second and so on, in all places of one thread; where one is refused, each in its own.

    Returns:
        The name and the place of each value that was refused.
    """
    refused = set()
    for name, make in [*VALUES.items()][::step]:
        try:
            _save(saver, name, make(), PLACES)
        except Exception:  # noqa: BLE001 - savers refuse in many ways
            saver.delete_thread(name)
            for place in PLACES:
                try:
                    _save(saver, f"{name}, {place}", make(), [place])
                except Exception:  # noqa: BLE001 - as above
                    saver.delete_thread(f"{name}, {place}")
                    refused.add((name, place))
    return refused


def load_all(saver: BaseCheckpointSaver[Any]) -> dict[str, dict[str, int]]:
    """Load what was saved, and return how well each value was kept, by name and place. What was refused is left out."""
    found: dict[str, dict[str, int]] = {}
    for name, make in VALUES.items():
        if (together := _loaded(saver, name)) is not None:
            found[name] = {place: _kept(together, place, make) for place in PLACES}
            continue
        for place in PLACES:
            if (loaded := _loaded(saver, f"{name}, {place}")) is not None:
                found.setdefault(name, {})[place] = _kept(loaded, place, make)
    return found


def _loaded(saver: BaseCheckpointSaver[Any], thread: str) -> CheckpointTuple | Exception | None:
    try:
        return saver.get_tuple(_config(thread))
    except Exception as error:  # noqa: BLE001 - savers fail in many ways
        return error


def _kept(loaded: CheckpointTuple | Exception, place: str, make: Callable[[], Any]) -> Kept:
    if isinstance(loaded, Exception):
        return Kept.LOST
    if place in _STATE:
        return same(make(), _STATE[place][1](loaded.checkpoint["channel_values"][place]))
    into, out = _WRITES[place]
    [stored] = [write[2] for write in loaded.pending_writes or () if write[1] == into(None)[0]]
    return same(make(), out(stored))


@contextmanager
def _stock(path: str) -> Iterator[SqliteSaver]:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield SqliteSaver(connection)


def opened(url: str) -> AbstractContextManager[BaseCheckpointSaver[Any]]:
    """Open LangGraph's own saver for `stock:PATH`, and ours for any other URL."""
    return _stock(url.removeprefix("stock:")) if url.startswith("stock:") else open_checkpointer(url)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for url in sys.argv[1:]:
        with opened(url) as saver:
            print(json.dumps(load_all(saver)))
