"""LangSmith's spans round the hooks of the middleware: cheap without tracing, and as they are with it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langsmith import tracing_context

from holdfast.checkpoints import HoldfastSaver
from holdfast.middleware import HoldfastMiddleware
from tests.support.graph_kit import says
from tests.support.kit import thread
from tests.support.middleware_kit import Shop

HOOKS = ("wrap_tool_call", "awrap_tool_call", "wrap_model_call", "awrap_model_call")


@pytest.mark.parametrize("hook", HOOKS)
def test_without_tracing_a_hook_is_no_coroutine_function_and_has_its_signature_at_hand(hook: str) -> None:
    with tracing_context(enabled=False):
        found = getattr(HoldfastMiddleware(), hook)
    assert not inspect.iscoroutinefunction(found)
    assert inspect.signature(found) is found.__signature__


@pytest.mark.parametrize("hook", HOOKS)
def test_with_tracing_a_hook_is_as_it_is_written(hook: str) -> None:
    with tracing_context(enabled=True):
        found = getattr(HoldfastMiddleware(), hook)
    assert inspect.iscoroutinefunction(found) == hook.startswith("a")
    assert set(inspect.signature(found).parameters) == {"request", "handler"}


@pytest.mark.parametrize("enabled", [False, True])
def test_the_hooks_of_a_subclass_are_called(saver: HoldfastSaver, enabled: bool) -> None:
    class Louder(HoldfastMiddleware):
        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            response: Any = super().wrap_model_call(request, handler)
            response.result = [AIMessage(message.text.upper()) for message in response.result]
            return response

        async def awrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            response: Any = await super().awrap_model_call(request, handler)
            response.result = [AIMessage(message.text.upper()) for message in response.result]
            return response

    with tracing_context(enabled=enabled):
        shop = Shop(saver, says("well"), says("well"), middleware=[Louder()])
    shop.say()
    asyncio.run(shop.agent.ainvoke({"messages": [("user", "go")]}, thread()))
    assert [message.text for message in shop.messages if isinstance(message, AIMessage)] == ["WELL", "WELL"]
