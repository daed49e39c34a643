"""One long conversation: what it costs in bytes, and in time a turn as it grows."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import count
from random import Random
from string import ascii_lowercase
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True)
class Talk:
    """How long the turns of a conversation took: medians in milliseconds."""

    text_bytes: int
    first_turns_ms: float
    """Of turns 1 to 10."""
    last_turns_ms: float
    """Of the last 20."""


def converse(checkpointer: Any, turns: int) -> Talk:
    """Talk for `turns` turns of two messages each with any LangGraph checkpointer.

    Raises:
        AssertionError: the state does not hold every message in the end.
    """
    text = Random(0)
    numbers = count()

    def say() -> str:
        # Text that does not compress, as the stores see it: none of them compresses what fits into a page.
        words = "".join(text.choices(ascii_lowercase + " ", k=MESSAGE_CHARACTERS - 8))
        return f"{next(numbers):07} {words}"

    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [AIMessage(say())]})
    builder.add_edge(START, "model")
    graph = builder.compile(checkpointer=checkpointer)
    config = {"configurable": {"thread_id": "3f0c8a5e-8a0e-4a57-9a55-0d6f6b3a1f7e"}}

    times = []
    for _ in range(turns):
        message = {"role": "user", "content": say()}
        begin = time.perf_counter()
        graph.invoke({"messages": [message]}, config)
        times.append((time.perf_counter() - begin) * 1000)
    said = len(graph.get_state(config).values["messages"])
    if said != 2 * turns:
        raise AssertionError(f"{said} messages in the state after {turns} turns")
    return Talk(
        text_bytes=2 * turns * MESSAGE_CHARACTERS,
        first_turns_ms=statistics.median(times[:10]),
        last_turns_ms=statistics.median(times[-20:]),
    )
