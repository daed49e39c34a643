"""What is declared beside a tool about running it: whether it changes the world, for how long it may take, and where it
wants the key by which a service knows a call again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, overload

from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool, InjectedToolArg

from holdfast.graph.approvals.policy import approval_policy

# The key of a tool's metadata under which this is declared.
_ONCE: Final = "once"


class _Key:
    """Marks the argument that gets the key."""


IdempotencyKey = Annotated[str, InjectedToolArg, _Key()]
"""The type of a tool's argument that gets a key for the service that the tool asks:

    @once
    @tool
    def pay(order_id: int, key: IdempotencyKey) -> str: ...

The model does not see it. It is the same whenever this call is run again, also after a crash and by another process,
and another one if a person lets the call run with other arguments. A service that takes such keys does the same thing
once; nothing else can stop a process that was suspended in the middle of a call and wakes up after it was run again.
"""


@dataclass(frozen=True)
class Running:
    """What a tool's declaration says about running it."""

    once: bool
    """Whether it changes the world: a call of it runs once, or a person is asked."""
    timeout: float | None = None
    """Seconds after which nobody waits for it any more."""


@overload
def once(tool: BaseTool) -> BaseTool: ...
@overload
def once(*, timeout: float | None = ...) -> Callable[[BaseTool], BaseTool]: ...
def once(tool: BaseTool | None = None, *, timeout: float | None = None) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that a tool changes the world. Goes above `@tool`, and gives a copy.

    A call of it is put on record before it runs and after. A crash in between does not run it again: a person is asked
    what is known. Tools that need approval are taken for such without this. Let it raise `ToolException` where it knows
    that nothing was done; any other error is in doubt.

    Args:
        tool: the tool, where the decorator is used without arguments.
        timeout: seconds that it may take. Then it is in doubt, until it does end after all.

    Raises:
        TypeError: what is decorated is not a tool yet.
        ValueError: the timeout is not above 0.
    """
    return _declared(tool, once=True, timeout=timeout)


@overload
def repeatable(tool: BaseTool) -> BaseTool: ...
@overload
def repeatable(*, timeout: float | None = ...) -> Callable[[BaseTool], BaseTool]: ...
def repeatable(
    tool: BaseTool | None = None, *, timeout: float | None = None
) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that a tool is safe to repeat: after a crash it just runs again. The default of tools that need no
    approval. As `once` otherwise."""
    return _declared(tool, once=False, timeout=timeout)


def _declared(tool: BaseTool | None, **declared: Any) -> BaseTool | Callable[[BaseTool], BaseTool]:
    timeout = declared["timeout"]
    if timeout is not None and not timeout > 0:
        raise ValueError(f"A timeout is a number of seconds above 0; found {timeout!r}.")

    def declare(tool: BaseTool) -> BaseTool:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"This goes above @tool: found {tool!r}, needed a LangChain tool")
        # JSON types only: LangChain hands a tool's metadata to callbacks and tracers.
        return tool.model_copy(update={"metadata": {**(tool.metadata or {}), _ONCE: declared}})

    return declare if tool is None else declare(tool)


def running_of(tool: BaseTool) -> Running:
    """What was declared beside the tool."""
    declared = (tool.metadata or {}).get(_ONCE)
    return Running(once=approval_policy(tool) is not None) if declared is None else Running(**declared)


def with_key(tool: BaseTool, call: ToolCall, key: str) -> ToolCall:
    """The call with the key in the argument that is meant for it; as it is if the tool has none."""
    fields = getattr(tool.get_input_schema(), "model_fields", {})
    names = [name for name, field in fields.items() if any(isinstance(mark, _Key) for mark in field.metadata)]
    return ToolCall(**{**call, "args": {**call["args"], **dict.fromkeys(names, key)}}) if names else call
