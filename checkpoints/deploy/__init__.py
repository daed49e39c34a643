"""The check of a database against a graph that is to be deployed: which threads could it not go on with?

Nothing is changed, and no message is loaded but in threads that have stopped in the middle of their work.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from langgraph.channels.delta import DeltaChannel

from holdfast.checkpoints.backends.records import StoredCheckpoint
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.deploy.fit import ChannelTypes
from holdfast.checkpoints.deploy.heads import Head, pages
from holdfast.checkpoints.deploy.renamed import with_renamed
from holdfast.checkpoints.deploy.work import OpenWork, Problem, Reads, by_checkpoint, pauses_of, without_warnings
from holdfast.checkpoints.effects import Effects
from holdfast.checkpoints.errors import DatabaseUnavailable, HoldfastError, NotOpen
from holdfast.checkpoints.langgraph_internals import RESERVED, decides_next

__all__ = ["Checked", "Kind", "Obstacle", "check_threads", "with_renamed"]

Kind: TypeAlias = Literal["node", "pause", "join", "tool", "doubt", "channel", "type", "damage"]
"""What stands in the way:

- `node`: threads stopped before a node, or in it, that the graph does not have.
- `pause`: threads paused in a node to which other edges lead now, so LangGraph would make another task of it.
- `join`: some of the nodes have ended that an edge of several nodes waits for, and the graph does not have that edge.
- `tool`: calls of a tool wait for a person, and the graph does not have the tool.
- `doubt`: calls of a tool are in doubt, and the graph does not have it, or it is not declared to change the world.
- `channel`: threads have a value in a channel that the graph does not have, or that is no `DeltaChannel` any more; it
  would be lost.
- `type`: the values of a channel do not fit its type.
- `damage`: threads cannot be read, or the graph refuses their state.
"""

_ALL: Final = 2**31


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that a graph lacks, and the threads that it therefore cannot go on with."""

    kind: Kind
    name: str
    """The node, tool or channel; empty for damage. A node of a subgraph stands behind the node that the subgraph is."""
    why: str
    thread_ids: builtins.list[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check."""

    threads: int
    """The number of threads that were looked at."""
    obstacles: builtins.list[Obstacle]

    @property
    def thread_ids(self) -> set[str]:
        """The threads that the graph cannot go on with."""
        return {thread_id for obstacle in self.obstacles for thread_id in obstacle.thread_ids}


class Tools(Protocol):
    """The tools of a graph."""

    def has(self, name: str) -> bool:
        """Return whether the graph has a tool of this name, or it cannot be known."""
        ...

    def changes_the_world(self, name: str) -> bool:
        """Return whether a tool of this name is in the ledger's care, or it cannot be known."""
        ...


class Checkpointer(Reads, Protocol):
    """The part of a `HoldfastSaver` that is needed."""

    @property
    def database(self) -> Database: ...

    @property
    def effects(self) -> Effects: ...

    def allow_types_of(self, graph: object) -> None: ...


def check_threads(
    saver: Checkpointer,
    graph: Any,
    tools: Tools,
    thread_ids: Iterable[str] | None = None,
    checked: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Find the threads that a graph cannot go on with.

    Args:
        saver: the checkpointer whose threads are looked at.
        graph: the compiled graph.
        tools: its tools.
        thread_ids: the threads to look at; by default all of the database.
        checked: called with the number of threads of each page.

    Raises:
        DatabaseUnavailable: the database is out of reach.
    """
    ids = saver.database.find_threads("threads_after") if thread_ids is None else list(thread_ids)
    saver.allow_types_of(graph)
    check = _Check(saver, graph.copy({"checkpointer": saver}), tools)
    for page, heads in pages(saver.database, ids):
        with without_warnings():
            for head in heads:
                check.look_at(head)
        check.threads += len(page)
        checked(len(page))
    check.look_at_doubts(None if thread_ids is None else set(cast("builtins.list[str]", ids)))
    return Checked(check.threads, check.obstacles())


class _Check:
    """The check of a database against a graph."""

    def __init__(self, saver: Checkpointer, graph: Any, tools: Tools) -> None:
        self.threads = 0
        self._saver, self._graph, self._tools = saver, graph, tools
        self._types = ChannelTypes(graph)
        self._stored_types = saver.database.types.quiet_copy()
        self._found: dict[Problem, builtins.list[str]] = {}

    def obstacles(self) -> builtins.list[Obstacle]:
        """Return what was found, in a stable order."""
        return [
            Obstacle(cast("Kind", problem.kind), problem.name, problem.why, sorted(thread_ids))
            for problem, thread_ids in sorted(self._found.items())
        ]

    def look_at(self, stored: StoredCheckpoint) -> None:
        """Look at the newest checkpoint of a thread."""
        try:
            for problem in self._problems(Head(self._saver.database, self._stored_types, stored)):
                self._note(problem, stored.thread_id)
        except (DatabaseUnavailable, NotOpen):
            raise
        except HoldfastError as error:
            self._note(Problem("damage", "", str(error)), stored.thread_id)

    def look_at_doubts(self, thread_ids: set[str] | None) -> None:
        """Look at the calls in doubt of some threads, or of all."""
        for entry in self._saver.effects.in_doubt(_ALL):
            if thread_ids is not None and entry.thread_id not in thread_ids:
                continue
            if not self._tools.has(entry.tool):
                why = "a call of it is in doubt, and the graph does not have it"
            elif not self._tools.changes_the_world(entry.tool):
                why = "a call of it is in doubt, and it is not declared with `once` or `needs_approval`"
            else:
                continue
            self._note(Problem("doubt", entry.tool, why), entry.thread_id)

    def _problems(self, head: Head) -> Iterator[Problem]:
        names = head.names()
        yield from self._problems_of_channels(head, names)
        if head.has_open_work(names):
            database = self._saver.database
            [rows] = database.read(pauses_of(database.backend.sql, head.thread_id))
            work = OpenWork(self._saver, by_checkpoint(rows), self._tools.has)
            yield from work.problems(self._graph, head.thread_id)

    def _problems_of_channels(self, head: Head, names: set[str]) -> Iterator[Problem]:
        channels: Mapping[str, Any] = self._graph.channels
        older = head.older_channels()
        for name in names | older:
            if name not in channels and not name.startswith(RESERVED) and not decides_next(name):
                yield Problem("channel", name, "threads have a value in it, and the graph does not have it")
            elif name in older and name in channels and not isinstance(channels[name], DeltaChannel):
                why = "parts of its value are in older checkpoints, and it is no DeltaChannel any more"
                yield Problem("channel", name, why)
        typed = self._types.channels & names
        for name, value in head.values(typed).items() if typed else ():
            if (misfit := self._types.misfit(name, value)) is not None:
                yield Problem("type", name, misfit)

    def _note(self, problem: Problem, thread_id: str) -> None:
        known = self._found.setdefault(problem, [])
        if not known or known[-1] != thread_id:
            known.append(thread_id)
