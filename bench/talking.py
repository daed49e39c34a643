"""Conversations to measure with: one node that answers, and texts that no store can make smaller by much."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from itertools import count
from random import Random
from string import ascii_lowercase
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer

MESSAGE_CHARACTERS = 2000


class DeltaState(TypedDict):
    """As `MessagesState`, with upstream's beta channel."""

    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=50)]


class Texts:
    """Texts of one length, no two alike."""

    def __init__(self, characters: int = MESSAGE_CHARACTERS) -> None:
        self._random, self._numbers, self._characters = Random(0), count(), characters

    def __call__(self) -> str:
        words = "".join(self._random.choices(ascii_lowercase + " ", k=self._characters - 8))
        return f"{next(self._numbers):07} {words}"


def graph_of(saver: Any, say: Callable[[], str], *, delta: bool = False) -> Any:
    """One node that answers each message with a text."""
    builder = StateGraph(DeltaState if delta else MessagesState)
    builder.add_node("model", lambda _: {"messages": [AIMessage(say(), id=str(uuid.uuid4()))]})
    builder.add_edge(START, "model")
    return builder.compile(checkpointer=saver)


class Talk:
    """One thread, and how long each of its turns took, in milliseconds."""

    def __init__(self, saver: Any, *, delta: bool = False) -> None:
        self.say = Texts()
        self.graph = graph_of(saver, self.say, delta=delta)
        self.config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        self.times: list[float] = []

    def turn(self) -> None:
        # With an id, as every client of a server sends one; DeltaChannel needs it.
        message = {"role": "user", "content": self.say(), "id": str(uuid.uuid4())}
        begin = time.perf_counter()
        self.graph.invoke({"messages": [message]}, self.config)
        self.times.append((time.perf_counter() - begin) * 1000)

    @property
    def text_bytes(self) -> int:
        return 2 * len(self.times) * MESSAGE_CHARACTERS

    def check(self) -> None:
        """
        Raises:
            AssertionError: the state does not hold every message.
        """
        said = len(self.graph.get_state(self.config).values["messages"])
        if said != 2 * len(self.times):
            raise AssertionError(f"{said} messages in the state after {len(self.times)} turns")

    def median(self, first: int, last: int) -> float:
        """Of the turns from `first` to `last`, counted from 1."""
        return statistics.median(self.times[first - 1 : last])
