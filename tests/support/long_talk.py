"""A talk that gets long: what is said in it, and a model that can take notes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from pydantic import Field

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Context, Conversation, Reply, build_graph
from holdfast.graph.context.summary import SUMMARISE
from tests.support.graph_kit import THREAD, StrictModel, says

SMALL = Context(budget=200)
"""Some four turns of `filled` messages."""


class Listener(StrictModel):
    """Answers every message, and takes notes when it is asked to."""

    seen: list[list[BaseMessage]] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    noting: Callable[[int], str] = "notes {}".format
    """Returns its notes, given how often it was asked."""
    wants: list[AIMessage] = Field(default_factory=list)
    """Its answers to the next messages."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        if messages[0].text == SUMMARISE:
            assert len(messages) == 2
            self.notes.append(messages[1].text)
            return says(self.noting(len(self.notes)))
        self.seen.append(messages)
        return self.wants.pop(0).model_copy() if self.wants else says(f"answer to {messages[-1].text}")


def talk_of(saver: HoldfastSaver, model: Listener, context: Context | None = SMALL, tools: Any = ()) -> Conversation:
    return Conversation(build_graph(model=model, tools=tools, checkpointer=saver, context=context), "ada-1")


def say(talk: Conversation, text: str, *, asynchronous: bool = False) -> Reply:
    return asyncio.run(talk.asend(text)) if asynchronous else talk.send(text)


def filled(number: int) -> str:
    return f"message {number} " + "so " * 20


def summary(saver: HoldfastSaver) -> Any:
    found = saver.get_tuple(THREAD)
    assert found is not None
    return found.checkpoint["channel_values"].get("summary")


def texts(messages: list[AnyMessage] | list[BaseMessage]) -> list[str]:
    return [message.text for message in messages]
