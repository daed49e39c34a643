"""The middleware for LangChain's `create_agent`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from inspect import Parameter, Signature
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from langsmith.utils import tracing_is_enabled

from holdfast.checkpoints.runtime import note_prompt, running_saver
from holdfast.graph.messages import looks_closed, unclosed_calls, with_unique_ids
from holdfast.graph.plans import BLOCKING, Io, OnLoop, run
from holdfast.graph.tools.wrapper import InterruptOn, ToolCallGuard
from holdfast.middleware.closing import close_open_calls, with_answers_of

_ANY_ARGUMENTS: Final = Signature([Parameter("args", Parameter.VAR_POSITIONAL)])
_HOOKS: Final = ("wrap_tool_call", "awrap_tool_call", "wrap_model_call", "awrap_model_call")


class HoldfastMiddleware(AgentMiddleware[Any, Any, Any]):
    """Gives the tool calls of an agent what `build_graph` gives its own.

    - A call that needs an approval waits for a person, one request a call. The answer is bound to this very call.
    - A call that changes the world runs once. If its process dies meanwhile, or its error does not tell what happened,
      a person is asked, and the call runs again only if they say so.
    - A call that has no answer is closed before the model is asked, with what is known about it.
    - The system prompt in force is on record.

    It acts on the tools that `needs_approval`, `once` or `repeatable` declare, and on those named here. Put it last in
    the list: what repeats or shortens a call belongs outside of it. The checkpointer must be a `HoldfastSaver`; with
    another one a person is asked all the same, but no record keeps a call from running twice, so a tool that is
    declared `once` is refused.

    Args:
        interrupt_on: the tools that need an approval, in the form of LangChain's `HumanInTheLoopMiddleware`
            (`{"refund": True}`, `{"refund": {"allowed_decisions": ["approve", "reject"]}}`), or their names.
        once: the names of tools that change the world.

    Raises:
        ValueError, TypeError: as `ToolCallGuard`.
    """

    def __init__(self, *, interrupt_on: InterruptOn = (), once: Iterable[str] = ()) -> None:
        super().__init__()
        self.tool_call_guard = ToolCallGuard(interrupt_on=interrupt_on, once=once)
        if not tracing_is_enabled():
            for hook in _HOOKS:
                setattr(self, hook, _untraced(getattr(self, hook)))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Answer a call. `handler` runs the tool."""
        return self.tool_call_guard.wrap_tool_call(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Answer a call, without blocking the event loop. `handler` runs the tool."""
        return await self.tool_call_guard.awrap_tool_call(request, handler)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Close the calls without an answer, and ask the model."""
        _note_prompt(request)
        if looks_closed(request.messages) or not unclosed_calls(request.messages):
            return _with_ids(handler(request))
        closed = run(self._close(BLOCKING, request, get_config()))
        return _with_closed(handler(_shown(request, closed)), closed)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Close the calls without an answer, and ask the model, without blocking the event loop."""
        _note_prompt(request)
        if looks_closed(request.messages) or not unclosed_calls(request.messages):
            return _with_ids(await handler(request))
        config = get_config()
        closed = await self._close(OnLoop(running_saver(config)), request, config)
        return _with_closed(await handler(_shown(request, closed)), closed)

    async def _close(self, io: Io, request: ModelRequest[Any], config: RunnableConfig) -> list[AnyMessage]:
        messages = request.state["messages"]
        return await close_open_calls(io, messages, self.tool_call_guard.declared(request.tools), config)


def _note_prompt(request: ModelRequest[Any]) -> None:
    if request.system_message is not None:
        note_prompt(get_config(), request.system_message.text)


def _untraced(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook in the form in which LangSmith's span round it costs least.

    LangChain puts a span round each hook, also when nothing is traced. For a coroutine function that is two threads a
    call, which took a tenth of a turn; and it reads the signature at each call.
    """

    def call(*args: Any) -> Any:
        return hook(*args)

    call.__signature__ = _ANY_ARGUMENTS  # type: ignore[attr-defined]
    return call


def _shown(request: ModelRequest[Any], closed: list[AnyMessage]) -> ModelRequest[Any]:
    """Return the request with the answers. Another middleware may have left some of the messages out of it."""
    return request.override(messages=with_answers_of(request.messages, closed))


def _with_ids(response: ModelResponse[Any]) -> ModelResponse[Any]:
    """Return the response with an id for each of its calls: the ledger knows a call by it."""
    match response.result:
        case [AIMessage() as message]:
            response.result = [with_unique_ids(message)]
    return response


def _with_closed(response: ModelResponse[Any], closed: list[AnyMessage]) -> ExtendedModelResponse[Any]:
    """Return the response with the update that puts the answers into the thread."""
    response = _with_ids(response)
    # A gap can be filled only by a new list. Ids and order stay, so it is the same thread.
    messages = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed, *response.result]
    return ExtendedModelResponse(response, Command(update={"messages": messages}))
