"""What a thread has still to do, and whether a graph would do it: the nodes that are next, and the pauses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import StateSnapshot

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.interrupts.forms import tools_of_request
from holdfast.checkpoints.langgraph_internals import JOIN, NS_SEP, next_nodes, node_of_task


class Problem(NamedTuple):
    """Something that a graph cannot go on with."""

    kind: str
    name: str
    why: str


class Reads(Protocol):
    """The part of a `HoldfastSaver` that is read from."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None: ...


Pauses = Mapping[tuple[str, str], list[tuple[str, str]]]
"""By namespace and checkpoint: the id and the path of each task that has paused and not ended."""


def by_checkpoint(rows: list[Row]) -> Pauses:
    """Group the rows of the statement `open_pauses`."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        found.setdefault((row.ns, row.checkpoint_id), []).append((row.task_id, row.task_path or ""))
    return found


def pauses_of(sql: Mapping[str, Any], thread_id: str) -> Call:
    """Return the call that finds the pauses of a thread."""
    return sql["open_pauses"], {"thread_id": thread_id}


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep LangGraph from logging each Send to a node that is missing: these are what is looked for."""
    logger = logging.getLogger("langgraph")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class OpenWork:
    """The work that a thread has still to do.

    Args:
        saver: the checkpointer.
        pauses: the pauses of the thread.
        is_tool: returns whether the graph has a tool of this name.
    """

    def __init__(self, saver: Reads, pauses: Pauses, is_tool: Callable[[str], bool]) -> None:
        self._saver, self._pauses, self._is_tool = saver, pauses, is_tool

    def problems(self, graph: Any, thread_id: str) -> Iterator[Problem]:
        """Yield what a graph, which has the checkpointer, cannot go on with."""
        try:
            state: StateSnapshot = graph.get_state({"configurable": {"thread_id": thread_id}}, subgraphs=True)
        except HoldfastError:
            raise
        except Exception as error:  # noqa: BLE001 - such as a pydantic model that refuses the state
            yield Problem("damage", "", f"the graph cannot make the tasks that are next ({type(error).__name__})")
            return
        yield from self._in_graph(graph, state, "")
        for pause in state.interrupts:
            for tool in tools_of_request(pause.value):
                if not self._is_tool(tool):
                    yield Problem("tool", tool, "a call of it waits for a person, and the graph does not have it")

    def _in_graph(self, graph: Any, state: StateSnapshot, path: str) -> Iterator[Problem]:
        """Yield the problems of a graph, and of the subgraphs that run in it.

        Args:
            graph: the graph.
            state: its state, with those of the subgraphs.
            path: what stands before the names of its nodes.
        """
        place = state.config["configurable"]
        saved = self._saver.get_tuple({"configurable": {**place}}) if "checkpoint_id" in place else None
        if saved is None:  # it has not begun
            return
        values = saved.checkpoint["channel_values"]
        missing = next_nodes(values) - graph.nodes.keys()
        for node in sorted(missing):
            yield Problem("node", path + node, "a thread stopped before it or in it, and the graph does not have it")
        made = {task.id for task in state.tasks}
        for task_id, task_path in self._pauses.get((place.get("checkpoint_ns", ""), place["checkpoint_id"]), ()):
            node = node_of_task(task_path, values)
            if task_id not in made and node is not None and node not in missing:
                why = "it has paused, and other edges lead to it now, so it would ask again and lose the answer"
                yield Problem("pause", path + node, why)
        for channel in sorted(values):
            if channel.startswith(JOIN) and _has_waited_in_vain(graph, channel, values[channel]):
                why = "some of these nodes have ended, and the graph does not wait for these nodes any more"
                yield Problem("join", path + channel.removeprefix(JOIN), why)
        subgraphs = dict(graph.get_subgraphs())
        for task in state.tasks:
            if isinstance(task.state, StateSnapshot):
                yield from self._in_graph(subgraphs[task.name], task.state, f"{path}{task.name}{NS_SEP}")


def _has_waited_in_vain(graph: Any, channel: str, value: Any) -> bool:
    """Return whether nodes have ended that a graph waits for under other names, or not at all.

    A graph that has a node under its former name too has such a channel, and no node that ends writes to it. It is of
    use only if all have ended.
    """
    ended = value[0] if isinstance(value, tuple) else value  # a deferred node's says as well whether the run has ended
    if not ended or _is_written(graph, channel):
        return False
    names = getattr(graph.channels.get(channel), "names", None)
    return names is None or set(ended) != set(names)


def _is_written(graph: Any, channel: str) -> bool:
    writers = (writer for node in graph.nodes.values() for writer in node.writers)
    return any(
        getattr(entry, "channel", None) == channel for writer in writers for entry in getattr(writer, "writes", ())
    )
