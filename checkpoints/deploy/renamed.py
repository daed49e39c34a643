"""Nodes under their former names, so that threads that stopped before a node was renamed go on in it.

The ids of a task, of its pause and of a subgraph's namespace are made of the node's name. A graph that has the node
under the former name as well makes the same ids, so nothing in a database has to be rewritten: an answer is taken under
the id that the person was given, and replicas of the former version can go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langgraph.pregel import Pregel

from holdfast.checkpoints.langgraph_internals import BRANCH_TO, JOIN

# What a compiled graph has by the names of nodes: where it stops, and what handles the errors of which node.
_STOPS: Final = ("interrupt_before_nodes", "interrupt_after_nodes")
_HANDLERS: Final = "node_error_handler_map"


def with_renamed(graph: Any, renamed: Mapping[str, str]) -> Any:
    """Return a graph that also goes on with threads that stopped before some of its nodes were renamed.

    The former node runs what the new one runs, and goes on to where the new one goes. Nothing else leads to it, so it
    only runs where a thread has stopped in it, or in an edge to it. For a node of a subgraph, give the subgraph.

        agent = with_renamed(builder.compile(checkpointer=checkpointer), {"ask_person": "approve"})

    Args:
        graph: a compiled graph. It stays as it is.
        renamed: the names of the nodes: the new one by the former one.

    Raises:
        TypeError: it is no compiled graph.
        ValueError: a former name is the name of a node, or a new one is not.
    """
    if not isinstance(graph, Pregel):
        raise TypeError(f"Found a {type(graph).__name__}; needed is a compiled graph: builder.compile().")
    if not renamed:
        return graph
    nodes, channels, former = dict(graph.nodes), dict(graph.channels), {new: old for old, new in renamed.items()}
    for old, new in renamed.items():
        if old in graph.nodes or new not in graph.nodes:
            problem = f"has a node {old!r} still" if old in graph.nodes else f"has no node {new!r}"
            raise ValueError(
                f"renamed has {{{old!r}: {new!r}}}, but the graph {problem}. Needed is {{former name: new name}}; the "
                f"nodes are {', '.join(sorted(graph.nodes))}."
            )
        triggers = {trigger: _former_channel(trigger, {**former, new: old}) for trigger in graph.nodes[new].triggers}
        nodes[old] = graph.nodes[new].copy({"triggers": list(triggers.values())})
        for trigger, name in triggers.items():
            channels.setdefault(name, _former(graph.channels[trigger], former))
    named = {name: _with_former(getattr(graph, name), renamed) for name in _STOPS}
    if handlers := getattr(graph, _HANDLERS, None):
        named[_HANDLERS] = {**handlers, **{old: handlers[new] for old, new in renamed.items() if new in handlers}}
    return graph.copy({"nodes": nodes, "channels": channels, **named})


def _former_channel(channel: str, former: Mapping[str, str]) -> str:
    """Return the name that a channel had that triggers a node, before some nodes were renamed."""
    if channel.startswith(BRANCH_TO):
        name = channel.removeprefix(BRANCH_TO)
        return BRANCH_TO + former.get(name, name)
    if channel.startswith(JOIN):
        starts, _, end = channel.removeprefix(JOIN).rpartition(":")
        return f"{JOIN}{'+'.join(former.get(name, name) for name in starts.split('+'))}:{former.get(end, end)}"
    return channel


def _former(channel: Any, former: Mapping[str, str]) -> Any:
    """Return a channel as it was: one that waits for several nodes waits for them by their names."""
    if (names := getattr(channel, "names", None)) is None:
        return channel.copy()
    return type(channel)(channel.typ, {former.get(name, name) for name in names})


def _with_former(stops: Any, renamed: Mapping[str, str]) -> Any:
    """Return the nodes at which a graph stops, with their former names."""
    return stops if stops == "*" else [*stops, *(old for old, new in renamed.items() if new in stops)]
