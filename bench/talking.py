"""Conversations to measure with: a graph with one node that answers, and texts that hardly compress."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from functools import cache
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
    """The state of `MessagesState`, in LangGraph's beta channel."""

    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=50)]


@cache
def _letters() -> str:
    return "".join(Random(0).choices(ascii_lowercase + " ", k=2**20))


class Texts:
    """A source of texts of one length, each different. Making one takes no time beside a turn."""

    def __init__(self, characters: int = MESSAGE_CHARACTERS) -> None:
        self._random, self._numbers, self._characters = Random(0), count(), characters

    def __call__(self) -> str:
        size = self._characters - 8
        begin = self._random.randrange(2**20 - size)
        return f"{next(self._numbers):07} {_letters()[begin : begin + size]}"


def graph_of(saver: Any, say: Callable[[], str], *, delta: bool = False) -> Any:
    """Compile a graph with one node that answers each message with a text."""
    builder = StateGraph(DeltaState if delta else MessagesState)
    builder.add_node("model", lambda _: {"messages": [AIMessage(say(), id=str(uuid.uuid4()))]})
    builder.add_edge(START, "model")
    return builder.compile(checkpointer=saver)


class Talk:
    """One thread, with the time of each of its turns in milliseconds."""

    def __init__(self, saver: Any, *, delta: bool = False) -> None:
        self.say = Texts()
        self.graph = graph_of(saver, self.say, delta=delta)
        self.config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        self.times: list[float] = []
        self.cpu_times: list[float] = []
        self.filled = 0
        """The turns that were saved in one update, and have no time."""

    def fill(self, turns: int) -> None:
        """Save the messages of so many turns in one update."""
        said = [{"role": role, "content": self.say(), "id": str(uuid.uuid4())} for role in ("user", "ai") * turns]
        self.graph.update_state(self.config, {"messages": said}, as_node="model")
        self.filled = turns

    def turn(self) -> None:
        """Run one turn, and measure it."""
        # With an id, as every client of a server sends one; DeltaChannel needs it.
        message = {"role": "user", "content": self.say(), "id": str(uuid.uuid4())}
        cpu, begin = time.process_time(), time.perf_counter()
        self.graph.invoke({"messages": [message]}, self.config)
        self.times.append((time.perf_counter() - begin) * 1000)
        self.cpu_times.append((time.process_time() - cpu) * 1000)

    @property
    def turns(self) -> int:
        """The turns that the thread has."""
        return self.filled + len(self.times)

    @property
    def text_bytes(self) -> int:
        """The bytes of text that were said."""
        return 2 * self.turns * MESSAGE_CHARACTERS

    def check(self) -> None:
        """Check that the state holds every message.

        Raises:
            AssertionError: a message is missing.
        """
        said = len(self.graph.get_state(self.config).values["messages"])
        if said != 2 * self.turns:
            raise AssertionError(f"{said} messages in the state after {self.turns} turns")

    def median(self, first: int, last: int) -> float:
        """Return the median time of the turns from `first` to `last`, counted from 1."""
        return statistics.median(self.times[first - 1 : last])
