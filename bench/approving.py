"""The time of an approval: a message, the pause, the answer, the effect and the reply."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.types import Command

from bench.peers import Pair
from bench.rounds import Meter, Step, compare
from bench.sizes import FULL, Sizes
from holdfast.graph import Conversation, build_graph, needs_approval


class Clerk(BaseChatModel):
    """A model that asks for a refund, and then reports it."""

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = {"name": "refund", "args": {"order_id": 1001}, "id": str(uuid.uuid4()), "type": "tool_call"}
        done = messages[-1].type == "tool"
        answer = AIMessage("It is refunded.") if done else AIMessage("I ask for it.", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


def approving(pair: Pair, meter: Meter, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare an approval with the same graph on the stock saver, which keeps no ledger of effects.

    `time` is that of the graph alone, and `conversation` that of the same through a `Conversation`.
    """
    rounds: dict[str, Any] = {"rounds": sizes.approval_rounds, "turns": 1, "meter": meter}
    with pair.opened() as (ours, stock):
        alone = compare(_approvals(ours, _with_graph), _approvals(stock, _with_graph), **rounds)
        through = compare(_approvals(ours, _with_conversation), _approvals(stock, _with_conversation), **rounds)
    return {"database": pair.database, **alone, "conversation": through}


def _approvals(saver: Any, approve: Callable[[Any, str], str]) -> Step:
    """Return the step that runs one approval in a new thread."""
    effects: list[int] = []

    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund an order."""
        effects.append(order_id)
        return f"Order {order_id} is refunded."

    agent = build_graph(model=Clerk(), tools=[refund], checkpointer=saver)

    def step() -> None:
        effects.clear()
        reply = approve(agent, str(uuid.uuid4()))
        if reply != "It is refunded." or effects != [1001]:
            raise AssertionError(f"The approval did not go through: {reply}, {effects}")

    return step


def _with_graph(agent: Any, thread_id: str) -> str:
    config = {"configurable": {"thread_id": thread_id}}
    paused = agent.invoke({"messages": [("user", "Refund order 1001.")]}, config)
    [interrupt] = paused["__interrupt__"]
    done = agent.invoke(Command(resume={interrupt.id: {"type": "approve"}}), config)
    return str(done["messages"][-1].text)


def _with_conversation(agent: Any, thread_id: str) -> str:
    talk = Conversation(agent, thread_id)
    talk.send("Refund order 1001.")
    return talk.approve().text
