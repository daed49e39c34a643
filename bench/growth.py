"""What grows with a conversation: the bytes that a turn adds, those of an agent with tools, and memory."""

from __future__ import annotations

import gc
import resource
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.prebuilt import create_react_agent

from bench.peers import Peer
from bench.talking import Talk, Texts, graph_of


def growth(peer: Peer, near: int = 20, far: int = 2000, span: int = 40) -> float:
    """Return the bytes that a turn adds at turn `far`, divided by those at turn `near`.

    Both are taken over `span` turns, because a database grows by whole pages.
    """
    with peer.opened() as (saver, place):
        talk, at = Talk(saver), {}
        for number in range(1, far + span + 1):
            talk.turn()
            if number in (near, near + span, far, far + span):
                at[number] = place.size()
        talk.check()
    return (at[far + span] - at[far]) / (at[near + span] - at[near])


def with_tools(peer: Peer, turns: int = 100) -> int:
    """Return the bytes on disk of LangGraph's `create_react_agent` with one tool call in every turn."""
    with peer.opened() as (saver, place):
        agent = create_react_agent(Looker(say=Texts()), [look], checkpointer=saver)
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(turns):
            agent.invoke({"messages": [("user", "Is there an order 1001?")]}, config)
        said = len(agent.get_state(config).values["messages"])
        if said != 4 * turns:
            raise AssertionError(f"{said} messages in the state after {turns} turns")
        return place.size()


@tool
def look(order_id: int) -> str:
    """Look an order up."""
    return f"Order {order_id}: a brass calculator, 49.00 EUR, not refunded."


class Looker(BaseChatModel):
    """A model that calls the tool, and then answers with a text."""

    say: Callable[[], str]

    @property
    def _llm_type(self) -> str:
        return "looker"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = {"name": "look", "args": {"order_id": 1001}, "id": str(uuid.uuid4()), "type": "tool_call"}
        answer = AIMessage(self.say()) if messages[-1].type == "tool" else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


# --- memory


def memory_held(peer: Peer, *, few: int = 1000, many: int = 10_000, threads: int = 1000) -> float:
    """Return the memory of the process after `many` turns over `threads` threads, divided by that after `few` turns."""
    with peer.opened() as (saver, _):
        say = Texts(200)
        graph = graph_of(saver, say)
        names = [str(uuid.uuid4()) for _ in range(threads)]
        held = {}
        for number in range(1, many + 1):
            config = {"configurable": {"thread_id": names[number % threads]}}
            graph.invoke({"messages": [("user", say())]}, config)
            if number in (few, many):
                gc.collect()
                held[number] = _resident()
    return held[many] / held[few]


def _resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
