"""Deploys: which threads can a new version of a graph not go on with?

    from holdfast.deploy import check, with_renamed

    agent = with_renamed(build(), {"ask_person": "approve"})
    for obstacle in check(agent, checkpointer).obstacles:
        print(obstacle.kind, obstacle.name, len(obstacle.thread_ids), obstacle.why)

`holdfast db check --agent module:name` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.deploy import Checked, Kind, Obstacle, check_threads, with_renamed
from holdfast.deploy.tools import GraphTools

__all__ = ["Checked", "Kind", "Obstacle", "check", "with_renamed"]


def check(
    graph: Any,
    checkpointer: HoldfastSaver,
    *,
    renamed: Mapping[str, str] | None = None,
    tools: Iterable[Any] = (),
    thread_ids: Iterable[str] | None = None,
    checked: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Find the threads of a database that a graph cannot go on with. Nothing is changed, and nothing runs.

    It reads the newest checkpoint of each thread, in pages, and looks deeper only into threads that have stopped in the
    middle of their work. Threads may go on meanwhile. If the threads of several graphs are in one database, name those
    of this graph: `thread_ids=[thread.thread_id for thread in checkpointer.threads.all() if …]`.

    Args:
        graph: the compiled graph that is to be deployed.
        checkpointer: the checkpointer whose threads are looked at.
        renamed: the names of nodes that were renamed, the new one by the former one. The graph that is deployed then
            needs `with_renamed` as well.
        tools: tools that the nodes of the graph call by themselves. Those of each `ToolNode`, of `create_agent` and of
            `build_graph` are found.
        thread_ids: the threads; by default all.
        checked: called with the number of threads of each page, to show the progress.

    Raises:
        TypeError, ValueError: as `with_renamed`.
        DatabaseUnavailable: the database is out of reach.
    """
    graph = with_renamed(graph, renamed or {})
    return check_threads(checkpointer, graph, GraphTools.of(graph, tools), thread_ids, checked)
