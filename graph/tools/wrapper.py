"""What `build_graph` does with a tool call, for any `ToolNode`: LangGraph's own, `create_agent`'s, deepagents'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from holdfast.checkpoints.langgraph_internals import is_sent_task
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.approvals.policy import approval_policy, needs_approval
from holdfast.graph.messages import calls_of
from holdfast.graph.plans import BLOCKING, Io, OnLoop, run
from holdfast.graph.tools.execute import Work
from holdfast.graph.tools.guard import CallGuard
from holdfast.graph.tools.once import is_declared, key_names, run_policy
from holdfast.graph.tools.once import once as declare_once
from holdfast.graph.tools.results import Update

Result: TypeAlias = ToolMessage | Command[Any] | list[Any]
"""What a `ToolNode` takes as the result of a call."""

InterruptOn: TypeAlias = Mapping[str, bool | Mapping[str, Any]] | Iterable[str]
"""The tools whose calls need an approval, in the form of LangChain's `HumanInTheLoopMiddleware` or as names."""

# Tools that are kept with their declarations. A program that makes its tools anew for each call must not grow.
_MOST_TOOLS: Final = 1000

_OPTIONS: Final = {"allowed_decisions": "decisions", "description": "description", "expires_in": "expires_in"}


class ToolCallGuard:
    """Wraps the calls of a `ToolNode`: a person is asked where a tool wants it, and a call runs once or asks.

        guard = ToolCallGuard()
        node = ToolNode(tools, wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call)

    It acts on the tools that `needs_approval`, `once` or `repeatable` declare, and on those named here; a call of any
    other tool passes through. The checkpointer of the run must be a `HoldfastSaver`: with another one a person is asked
    all the same, but no record keeps a call from running twice, so a tool that is declared `once` is refused
    (`NeedsOwnDatabase`) if that checkpointer outlives the process.

    Args:
        interrupt_on: the tools that need an approval: names, or `{"refund": True}`, or `{"refund":
            {"allowed_decisions": ["approve", "reject"], "description": "Refund {order_id}"}}`. `expires_in` takes a
            `timedelta`.
        once: the names of tools that change the world, so that a call runs once, or a person is asked.

    Raises:
        ValueError: an option of `interrupt_on` is unknown, or a decision.
        TypeError: a name stands where a list of names was needed.
    """

    def __init__(self, *, interrupt_on: InterruptOn = (), once: Iterable[str] = ()) -> None:
        self._once = frozenset(_names("once", once))
        self._approvals = dict(_approvals(interrupt_on))
        self._kept: dict[int, tuple[BaseTool, CallGuard | None]] = {}

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Answer a call. `handler` runs the tool."""
        guard = self._guard_of(request.tool)
        if guard is None:
            return handler(request)
        work = Work(lambda call: _bare(lambda: handler(_with_proxy(request, call))))
        return _result(run(self._answer(BLOCKING, guard, request, work)))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Answer a call, without blocking the event loop. `handler` runs the tool."""
        guard = self._guard_of(request.tool)
        if guard is None:
            return await handler(request)
        work = Work(_no_blocking, lambda call: _abare(lambda: handler(_with_proxy(request, call))))
        io = OnLoop(running_saver(request.runtime.config))
        return _result(await self._answer(io, guard, request, work))

    def declared(self, tools: Iterable[Any]) -> dict[str, BaseTool]:
        """Return tools as they are declared, by name. What is no tool of LangChain's is left out."""
        guards = ((tool, self._guard_of(tool)) for tool in tools if isinstance(tool, BaseTool))
        return {tool.name: tool if guard is None else guard.forms.tools[tool.name] for tool, guard in guards}

    async def _answer(self, io: Io, guard: CallGuard, request: ToolCallRequest, work: Work) -> Update:
        config, call = request.runtime.config, ToolCall(**{**request.tool_call, "type": "tool_call"})
        message_id = _message_id(request.state, call, config)
        return await guard.answer_and_settle(io, call, message_id, config, work, alone=is_sent_task(config))

    def _guard_of(self, tool: BaseTool | None) -> CallGuard | None:
        """Return the guard for the calls of a tool; `None` if they need none."""
        if tool is None:
            return None
        kept = self._kept.get(id(tool))
        if kept is None or kept[0] is not tool:
            declared = self._declared(tool)
            guarded = is_declared(declared)
            kept = (tool, CallGuard(AnswerForms({tool.name: declared}), _now) if guarded else None)
            if len(self._kept) >= _MOST_TOOLS:
                self._kept.clear()
            self._kept[id(tool)] = kept
        return kept[1]

    def _declared(self, tool: BaseTool) -> BaseTool:
        if tool.name in self._approvals and approval_policy(tool) is None:
            tool = needs_approval(**self._approvals[tool.name])(tool)
        if tool.name in self._once and not run_policy(tool).once:
            tool = declare_once(tool)
        return tool


def _approvals(interrupt_on: InterruptOn) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(interrupt_on, Mapping):
        interrupt_on = dict.fromkeys(_names("interrupt_on", interrupt_on), True)
    for name, wanted in interrupt_on.items():
        if wanted is False:
            continue
        options: Mapping[str, Any] = {} if wanted is True else wanted
        if unknown := [option for option in options if option not in _OPTIONS]:
            raise ValueError(
                f"interrupt_on: found {', '.join(map(repr, unknown))} for {name!r}; needed are True, False or a dict "
                f"with some of {', '.join(_OPTIONS)}. For what depends on the call, use LangChain's "
                "HumanInTheLoopMiddleware beside this one."
            )
        approval = {_OPTIONS[option]: value for option, value in options.items()}
        needs_approval(**approval)  # so that a mistake is an error here, and not at the first call
        yield name, approval


def _names(where: str, names: Iterable[str]) -> Sequence[str]:
    if isinstance(names, str):
        raise TypeError(f"{where}: found the text {names!r}; needed are names of tools, such as [{names!r}].")
    return [*names]


def _message_id(state: Any, call: ToolCall, config: RunnableConfig) -> str:
    """Return the id of the message that made a call. Without one, what names the task takes its place."""
    for message in reversed(_messages_in(state)):
        if isinstance(message, AIMessage) and any(made["id"] == call["id"] for made in calls_of(message)):
            return message.id or ""
    return str(config["configurable"].get("checkpoint_ns", ""))


def _messages_in(state: Any) -> Sequence[AnyMessage]:
    if isinstance(state, list):
        return state
    found = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    return found if isinstance(found, list) else []


def _result(update: Update) -> Any:
    """Return an update in the form in which a `ToolNode` takes the result of a call."""
    if isinstance(update, list):
        return [_result(part) for part in update]
    if isinstance(update, Command):
        return update
    [answer] = update["messages"]
    return answer


def _now() -> datetime:
    return datetime.now(UTC)


# --- the tool's own error, past the handlers of ToolNode


class _Raised(GraphBubbleUp):
    """The error of a tool. A `ToolNode` may make a message of any other error, and then nothing is known of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Proxy(BaseTool):
    """A tool that adds the arguments that are not from the model, and lets its errors through."""

    inner: BaseTool
    key_args: dict[str, Any]

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        try:
            return self.inner.invoke(self._full(input), config, **kwargs)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - raised again by `_bare`
            raise _Raised(error) from None

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        try:
            return await self.inner.ainvoke(self._full(input), config, **kwargs)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - raised again by `_bare`
            raise _Raised(error) from None

    def _full(self, call: Any) -> Any:
        return {**call, "args": {**call["args"], **self.key_args}} if self.key_args else call

    def _run(self, **arguments: Any) -> Any:
        raise NotImplementedError


def _with_proxy(request: ToolCallRequest, call: ToolCall) -> ToolCallRequest:
    """Return the request for a call with a person's arguments, and with the ledger's key where the tool wants one."""
    tool = request.tool
    assert tool is not None  # noqa: S101 - a call of an unknown tool passes through
    # The key goes in behind ToolNode, which removes such an argument, because a model could have forged it.
    names = key_names(tool)
    key_args = {name: value for name, value in call["args"].items() if name in names}
    args = {name: value for name, value in call["args"].items() if name not in names}
    proxy = _Proxy(
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema,
        return_direct=tool.return_direct,
        inner=tool,
        key_args=key_args,
    )
    return request.override(tool_call=ToolCall(**{**call, "args": args}), tool=proxy)


def _bare(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except _Raised as raised:
        raise raised.error from None


async def _abare(work: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await work()
    except _Raised as raised:
        raise raised.error from None


def _no_blocking(call: ToolCall) -> Any:
    raise RuntimeError("A handler for event loops was called without one.")
