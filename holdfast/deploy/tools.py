"""The tools of a compiled graph, and how they are declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from langchain_core.tools import BaseTool
from langgraph.pregel import Pregel

from holdfast.graph.tools.once import run_policy
from holdfast.graph.tools.wrapper import ToolCallGuard


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
        for each in (*node.subgraphs, *_within(*tools.values())):
            if isinstance(each, Pregel):
                yield from _tools_in(each, seen)


def _tools_of(bound: Any) -> tuple[Mapping[str, BaseTool], Mapping[str, BaseTool]]:
    """Return the tools of what a node runs, and those among them that are guarded, as their guard declares them."""
    if (forms := getattr(bound, "forms", None)) is not None:  # the step of `build_graph`
        return forms.tools, forms.tools
    tools: Mapping[str, BaseTool] = getattr(bound, "tools_by_name", {})  # a `ToolNode`
    wrappers = (getattr(bound, "_wrap_tool_call", None), getattr(bound, "_awrap_tool_call", None))
    guards = [part for part in _within(*wrappers) if isinstance(part, ToolCallGuard)]
    return tools, {name: tool for guard in guards for name, tool in guard.declared(tools.values()).items()}


def _within(*roots: Any) -> Iterator[Any]:
    """Yield the guards and the graphs in the closures of functions and tools, and of the functions there."""
    todo, seen = [*roots], dict[int, Any]()  # keeps what was seen, whose ids must not be used again meanwhile
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, ToolCallGuard | Pregel):
            yield part
        else:
            todo += _parts(part)


def _parts(part: Any) -> Iterable[Any]:
    """Return what a function, a tool or a container consists of. Other objects are not asked: they may make attributes
    up."""
    match part:
        case FunctionType():
            cells = (cell for cell in part.__closure__ or () if _is_filled(cell))
            return [vars(part).get("__wrapped__"), *(cell.cell_contents for cell in cells)]
        case MethodType():
            return [part.__self__, part.__func__]
        case partial():
            return [part.func, *part.args, *part.keywords.values()]
        case BaseTool():
            return [getattr(part, "func", None), getattr(part, "coroutine", None)]
        case Mapping():
            return part.values()
        case list() | tuple():
            return part
    return [part.tool_call_guard] if "tool_call_guard" in getattr(part, "__dict__", ()) else []


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a function that was not made yet
        return False
