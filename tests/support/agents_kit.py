"""Agents of every make, with one tool that makes refunds, for the tests of conversations with any agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph, add_messages
from langgraph.prebuilt import ToolNode, create_react_agent, tools_condition
from langgraph.types import Command, interrupt

from holdfast import Conversation, build_graph, needs_approval
from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.middleware import HoldfastMiddleware, ToolCallGuard
from tests.support.children import DieBeforeCommit, die
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread


class Chat(TypedDict):
    chat: Annotated[list[AnyMessage], add_messages]


def refund_tool(effects: Callable[[int], Any]) -> BaseTool:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        effects(order)
        return f"order {order} refunded"

    return refund


def asking(refund: BaseTool) -> BaseTool:
    """The same tool, which asks by itself."""

    @tool("refund")
    def asks(order: int) -> str:
        """Refund an order."""
        answer = interrupt({"question": f"Refund order {order}?"})
        return str(refund.invoke({"order": order})) if answer == "yes" else f"the person said {answer}"

    return asks


def own_graph(model: Any, tools: Sequence[BaseTool], saver: Any, **options: Any) -> Any:
    """A graph with node names and a state key of its own."""
    builder = StateGraph(Chat, **options)
    builder.add_node("think", lambda state: {"chat": [model.invoke(state["chat"])]})
    builder.add_node("act", ToolNode(tools, messages_key="chat"))
    builder.add_edge(START, "think")
    route: Any = lambda state: tools_condition(state, messages_key="chat")  # noqa: E731 - a route in one line
    builder.add_conditional_edges("think", route, {"tools": "act", "__end__": "__end__"})
    builder.add_edge("act", "think")
    return builder.compile(checkpointer=saver)


def build(kind: str, saver: Any, lines: Sequence[AIMessage], effects: Callable[[int], Any]) -> Any:
    """Make an agent.

    Args:
        kind: one of `KINDS`.
        saver: its checkpointer.
        lines: what its model says.
        effects: is called by each refund.
    """
    model, refund = ScriptedModel(lines=list(lines)), refund_tool(effects)
    match kind:
        case "build_graph":
            return build_graph(model=model, tools=[needs_approval(refund)], checkpointer=saver)
        case "middleware":
            ours = HoldfastMiddleware(interrupt_on=["refund"])
            return create_agent(model, [refund], middleware=[ours], checkpointer=saver)
        case "langchain":
            theirs = HumanInTheLoopMiddleware({"refund": True})
            return create_agent(model, [refund], middleware=[theirs], checkpointer=saver)
        case "react":
            guard = ToolCallGuard(interrupt_on=["refund"])
            node = ToolNode([refund], wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call)
            return create_react_agent(model, node, checkpointer=saver)
        case "asking":
            return create_agent(model, [asking(refund)], checkpointer=saver)
        case "own":
            return own_graph(model, [asking(refund)], saver)
    raise ValueError(kind)


KINDS: Final = ["langchain", "build_graph", "own", "middleware", "asking", "react"]
"""In this order, since the fast suite takes every other one."""

YES: Final[dict[str, Any]] = {kind: "yes" if kind in ("asking", "own") else {"type": "approve"} for kind in KINDS}
"""The answer with which a refund is made, by the kind of the agent."""


def each_kind(test: Any) -> Any:
    """Run a test with each kind of agent; the fast suite runs every other one."""
    return pytest.mark.sweep(every=2)(pytest.mark.parametrize("kind", KINDS)(test))


class Refunds:
    """A conversation with an agent that makes refunds, and how many it has made."""

    def __init__(self, kind: str, saver: Any, *lines: AIMessage, **options: Any) -> None:
        self.kind, self.made, self.saver = kind, list[int](), saver
        self.lines = lines or (calls(("refund", {"order": 1})), says("done"), says("later"))
        self.agent = build(kind, saver, self.lines, self.made.append)
        self.ada = Conversation(self.agent, "ada-1", **options)

    @property
    def yes(self) -> Any:
        return YES[self.kind]


# --- programs for processes of their own


def in_file(kind: str, saver: HoldfastSaver, effects: str, *, begun: bool, thread_id: str = "ada-1") -> Conversation:
    """Return a conversation whose refunds are lines in a file.

    Args:
        begun: whether the model has said its first line already.
    """

    def refund(order: int) -> None:
        with Path(effects).open("a") as file:
            file.write(f"refund {order}\n")

    lines = [calls(("refund", {"order": 1})), says("done"), says("later")]
    return Conversation(build(kind, saver, lines[1:] if begun else lines, refund), thread_id)


def ask_and_die(url: str, kind: str, effects: str) -> None:
    with open_checkpointer(url) as saver:
        in_file(kind, saver, effects, begun=False).send("go")
        die()


def answer_and_die(url: str, kind: str, effects: str) -> None:
    """Record the answer, and die before it is carried out."""
    with open_checkpointer(url) as saver:
        ada = in_file(kind, saver, effects, begun=True)
        [asked] = ada.pending()
        saver.lease = lambda *_, **__: die()  # type: ignore[method-assign,assignment,return-value]
        ada.answer(YES[kind], asked.interrupt_id, by="Grace")


def answer_or_die(url: str, kind: str, thread_id: str, effects: str, commit: int) -> str:
    """Answer, and die before that commit. Return what the agent says, if there were not that many."""
    with open_checkpointer(url) as saver:
        ada = in_file(kind, saver, effects, begun=True, thread_id=thread_id)
        saver._backend.on_statement = DieBeforeCommit(commit)
        text = ada.answer(YES[kind], by="Grace").text
        saver._backend.on_statement = None
        return text


def die_in_tool(url: str, kind: str) -> None:
    """Approve the refund, and die while it is made. Without a lease, for which the others would have to wait."""
    times.EFFECT_TTL, times.EFFECT_RENEWAL = 0.3, 0.1  # type: ignore[misc]
    with open_checkpointer(url) as saver:
        agent = build(kind, saver, [says("done")], lambda _: die())
        [asked] = saver.interrupts.waiting()
        agent.invoke(Command(resume={asked.interrupt_id: YES[kind]}), thread())


def go_on(url: str, kind: str, effects: str) -> str:
    times.EFFECT_TTL, times.EFFECT_RENEWAL = 0.3, 0.1  # type: ignore[misc]
    with open_checkpointer(url) as saver:
        return in_file(kind, saver, effects, begun=True).retry().text
