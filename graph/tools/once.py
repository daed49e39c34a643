"""Declarations about how a tool runs: whether it changes the world, its timeout, and its idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, overload

from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool, InjectedToolArg

from holdfast.graph.approvals.policy import approval_policy

_ONCE: Final = "once"
"""Key of a tool's metadata for its declaration."""


class _Key:
    """The mark of the argument that receives the key."""


IdempotencyKey = Annotated[str, InjectedToolArg, _Key()]
"""The type of a tool's argument that receives a key for the service that the tool calls:

    @once
    @tool
    def pay(order_id: int, key: IdempotencyKey) -> str: ...

The model does not see the argument. The key is the same each time this call runs, also after a crash and in another
process, and a different one if a person lets the call run with other arguments. A service that takes such keys does the
same thing once. Nothing else can stop a process that was suspended in the middle of a call and wakes up after the call
was run again.
"""


@dataclass(frozen=True)
class RunPolicy:
    """How a tool runs."""

    once: bool
    """Whether it changes the world, so that a call runs once, or a person is asked."""
    timeout: float | None = None
    """Seconds after which the run stops waiting for it."""


@overload
def once(tool: BaseTool) -> BaseTool: ...
@overload
def once(*, timeout: float | None = ...) -> Callable[[BaseTool], BaseTool]: ...
def once(tool: BaseTool | None = None, *, timeout: float | None = None) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that a tool changes the world. Goes above `@tool`, and returns a copy of the tool.

    A call is recorded before and after it runs. If a crash comes in between, the call is not run again, and a person is
    asked what happened. Tools that need approval are treated so without this decorator. The tool should raise
    `ToolException` if it knows that it did nothing; after any other error the call is in doubt.

    Args:
        tool: the tool, if the decorator is used without arguments.
        timeout: the seconds that a call may take. After that it is in doubt, unless it does end later.

    Raises:
        TypeError: the decorated object is not a tool.
        ValueError: the timeout is not above 0.
    """
    return _declare(tool, once=True, timeout=timeout)


@overload
def repeatable(tool: BaseTool) -> BaseTool: ...
@overload
def repeatable(*, timeout: float | None = ...) -> Callable[[BaseTool], BaseTool]: ...
def repeatable(
    tool: BaseTool | None = None, *, timeout: float | None = None
) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that a tool is safe to repeat: after a crash it just runs again.

    This is the default for tools that need no approval. Arguments and errors as with `once`.
    """
    return _declare(tool, once=False, timeout=timeout)


def _declare(tool: BaseTool | None, **declared: Any) -> BaseTool | Callable[[BaseTool], BaseTool]:
    timeout = declared["timeout"]
    if timeout is not None and not timeout > 0:
        raise ValueError(f"A timeout is a number of seconds above 0; found {timeout!r}.")

    def declare(tool: BaseTool) -> BaseTool:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"This goes above @tool: found {tool!r}, needed a LangChain tool")
        # JSON types only: LangChain hands a tool's metadata to callbacks and tracers.
        return tool.model_copy(update={"metadata": {**(tool.metadata or {}), _ONCE: declared}})

    return declare if tool is None else declare(tool)


def run_policy(tool: BaseTool) -> RunPolicy:
    """Return how a tool runs: as declared, or by default once if it needs an approval."""
    declared = (tool.metadata or {}).get(_ONCE)
    return RunPolicy(once=approval_policy(tool) is not None) if declared is None else RunPolicy(**declared)


def is_declared_once(tool: BaseTool) -> bool:
    """Return whether `once` is above a tool. A tool that only needs approval is not declared so."""
    return bool(((tool.metadata or {}).get(_ONCE) or {}).get("once"))


def is_declared(tool: BaseTool) -> bool:
    """Return whether anything is declared about a tool that its calls depend on."""
    return approval_policy(tool) is not None or _ONCE in (tool.metadata or {})


def key_names(tool: BaseTool) -> list[str]:
    """Return the names of a tool's arguments that receive the key: one, or none."""
    fields = getattr(tool.get_input_schema(), "model_fields", {})
    return [name for name, field in fields.items() if any(isinstance(mark, _Key) for mark in field.metadata)]


def with_key(tool: BaseTool, call: ToolCall, key: str) -> ToolCall:
    """Return the call with the key in the argument for it; unchanged if the tool has none."""
    names = key_names(tool)
    return ToolCall(**{**call, "args": {**call["args"], **dict.fromkeys(names, key)}}) if names else call
