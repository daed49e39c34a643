"""A desk whose refunds wait while people talk, with its effects in a file, for processes that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from holdfast import Conversation, build_graph, needs_approval
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph.messages import looks_closed
from tests.support.children import DieBeforeCommit
from tests.support.graph_kit import ScriptedModel, StrictModel, calls, says


def check_like_a_provider(messages: list[BaseMessage]) -> None:
    """Refuse a history with an open call, or one that ends with the model's own words."""
    told: Any = [message for message in messages if not isinstance(message, SystemMessage)]
    assert looks_closed(told)
    assert isinstance(told[-1], HumanMessage | ToolMessage)


class CheckedModel(ScriptedModel):
    """A model that says its lines, if its provider takes the history."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        check_like_a_provider(messages)
        return super().line(messages)


class Clerk(StrictModel):
    """A model whose words follow from what it is told."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        check_like_a_provider(messages)
        text = messages[-1].text
        if text == "Refund order 1":
            return calls(("refund", {"order": 1}))
        return says(
            f"I am told: {text}" if isinstance(messages[-1], ToolMessage) or "decided" in text else "I am fine."
        )


def in_file(saver: HoldfastSaver, effects: str, thread_id: str) -> Conversation:
    """Return a conversation whose refunds are lines in a file."""

    @needs_approval(on_message="keep")
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        with Path(effects).open("a") as file:
            file.write(f"refund {order}\n")
        return f"order {order} refunded"

    return Conversation(build_graph(model=Clerk(), tools=[refund], checkpointer=saver), thread_id)


def talk_or_die(url: str, thread_id: str, effects: str, commit: int) -> str:
    """Send a message while a call waits, and die before that commit. Return the answer, if there were not that many."""
    with open_checkpointer(url) as saver:
        ada = in_file(saver, effects, thread_id)
        saver._backend.on_statement = DieBeforeCommit(commit)
        text = ada.send("How are you?").text
        saver._backend.on_statement = None
        return text


def approve_or_die(url: str, thread_id: str, effects: str, commit: int) -> str:
    """Approve the call that was kept, and die before that commit."""
    with open_checkpointer(url) as saver:
        ada = in_file(saver, effects, thread_id)
        saver._backend.on_statement = DieBeforeCommit(commit)
        text = ada.approve(by="Grace").text
        saver._backend.on_statement = None
        return text
