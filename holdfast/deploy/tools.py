"""The tools of a compiled graph, and how they are declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.tools import BaseTool
from langgraph.pregel import Pregel

from holdfast.graph.tools.once import run_policy
from holdfast.graph.tools.wrapper import ToolCallGuard

# Functions within functions that are looked into.
_DEPTH: Final = 12

_PARTS: Final = ("__self__", "__wrapped__", "tool_call_guard", "func", "coroutine")


@dataclass(frozen=True)
class GraphTools:
    """The tools of a graph."""

    in_ledger: Mapping[str, bool]
    """By name: whether the ledger keeps the calls of the tool."""

    @classmethod
    def of(cls, graph: Any, more: Iterable[Any] = ()) -> GraphTools:
        """Find the tools of a graph, of its subgraphs, and of the graphs that its tools call, such as subagents.

        Args:
            graph: the compiled graph.
            more: further tools.
        """
        found: dict[str, bool] = {}
        for name, is_kept in (*_tools_in(graph, set()), *((tool.name, run_policy(tool).once) for tool in more)):
            found[name] = found.get(name, False) or is_kept
        return cls(found)

    def has(self, name: str) -> bool:
        """Return whether the graph has a tool of this name, or it cannot be known: no tool was found at all."""
        return not self.in_ledger or name in self.in_ledger

    def changes_the_world(self, name: str) -> bool:
        """Return whether the ledger keeps a tool of this name, or it cannot be known."""
        return not self.in_ledger or self.in_ledger.get(name, False)


def _tools_in(graph: Any, seen: set[int]) -> Iterator[tuple[str, bool]]:
    if id(graph) in seen:
        return
    seen.add(id(graph))
    for node in graph.nodes.values():
        tools, declared = _tools_of(node.bound)
        yield from ((name, name in declared and run_policy(declared[name]).once) for name in tools)
        inner = [part for tool in tools.values() for part in _within(tool, _DEPTH)]
        for each in (*node.subgraphs, *inner):
            if isinstance(each, Pregel):
                yield from _tools_in(each, seen)


def _tools_of(bound: Any) -> tuple[Mapping[str, BaseTool], Mapping[str, BaseTool]]:
    """Return the tools of what a node runs, and those among them that are guarded, as their guard declares them."""
    if (forms := getattr(bound, "forms", None)) is not None:  # the step of `build_graph`
        return forms.tools, forms.tools
    tools: Mapping[str, BaseTool] = getattr(bound, "tools_by_name", {})  # a `ToolNode`
    wrappers = (getattr(bound, "_wrap_tool_call", None), getattr(bound, "_awrap_tool_call", None))
    guards = [part for part in _within(wrappers, _DEPTH) if isinstance(part, ToolCallGuard)]
    return tools, {name: tool for guard in guards for name, tool in guard.declared(tools.values()).items()}


def _within(part: Any, depth: int) -> Iterator[Any]:
    """Yield the guards and the graphs that a function or a tool has in its closure, or in that of a function there."""
    if isinstance(part, ToolCallGuard | Pregel):
        yield part
        return
    if part is None or not depth:
        return
    if isinstance(part, Mapping | list | tuple):
        parts = [*(part.values() if isinstance(part, Mapping) else part)]
    elif callable(part) or isinstance(part, BaseTool) or hasattr(part, "tool_call_guard"):
        cells = [cell.cell_contents for cell in getattr(part, "__closure__", None) or () if _is_filled(cell)]
        parts = [*(getattr(part, name, None) for name in _PARTS), *cells]
    else:
        return
    for inner in parts:
        yield from _within(inner, depth - 1)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a function that was not made yet
        return False
