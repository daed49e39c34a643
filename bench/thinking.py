"""An agent whose model takes as long as its user says: the agent of the servers that are measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph
from holdfast.graph.conversation.agents import AnyAgent

_PIECES: Final = 10  # a second
_ANSWER: Final = "Here is what you have asked for."


class Thinker(BaseChatModel):
    """A model that thinks for as many seconds as the first word of the last message says, and writes meanwhile."""

    @property
    def _llm_type(self) -> str:
        return "thinker"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        time.sleep(_seconds(messages))  # as a model does
        return ChatResult(generations=[ChatGeneration(message=AIMessage(_ANSWER))])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(_seconds(messages))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(_ANSWER))])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        seconds = _seconds(messages)
        pieces = max(round(seconds * _PIECES), 1)
        for number in range(pieces):
            if seconds:
                await asyncio.sleep(seconds / pieces)
            text = _ANSWER if number == pieces - 1 else "… "
            yield ChatGenerationChunk(message=AIMessageChunk(text))


def _seconds(messages: list[BaseMessage]) -> float:
    return float(messages[-1].text.split()[0])


def make_agent(checkpointer: HoldfastSaver) -> AnyAgent:
    """Return the agent, for `holdfast serve --agent bench.thinking:make_agent`."""
    return build_graph(model=Thinker(), checkpointer=checkpointer)
