"""A new message leaves no call without an answer, whichever agent it goes to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.errors import GraphBubbleUp
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

from holdfast import Conversation
from holdfast.checkpoints import HoldfastSaver
from tests.support.agents_kit import Refunds, each_kind
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread

pytestmark = pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")


@pytest.fixture
def refunds(saver: HoldfastSaver, kind: str) -> Refunds:
    return Refunds(kind, saver)


@each_kind
def test_a_message_closes_what_waits_and_the_model_sees_no_open_call(refunds: Refunds) -> None:
    refunds.ada.send("Refund order 1")
    assert refunds.ada.send("Never mind").text == "done"  # the model refuses a history with an open call
    [closed] = [message for message in refunds.ada.history() if isinstance(message, ToolMessage)]
    assert closed.tool_call_id == "call_0"
    assert "was waiting for a person's approval when the conversation went on" in closed.text
    assert (closed.status, refunds.made, refunds.ada.pending()) == ("error", [], [])


def test_a_new_message_keeps_the_results_that_came_and_tells_what_is_unknown(saver: HoldfastSaver) -> None:
    died = False

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    @tool
    def breaks() -> str:
        """Break."""
        nonlocal died
        if not died:
            died = True
            raise GraphBubbleUp  # the run ends here, as if its process had died
        return "too late"

    lines = [calls(("look", {}), ("breaks", {})), says("done")]
    ada = Conversation(create_agent(ScriptedModel(lines=lines), [look, breaks], checkpointer=saver), "ada-1")
    with suppress(GraphBubbleUp):
        ada.send("go")
    assert ada.send("And?").text == "done"
    seen, unknown = [message for message in ada.history() if isinstance(message, ToolMessage)]
    assert (seen.text, seen.status) == ("seen", "success")
    assert "it is not known whether it took effect" in unknown.text


def test_a_call_that_a_node_of_its_own_was_making_is_not_said_to_be_not_made(saver: HoldfastSaver) -> None:
    model = ScriptedModel(lines=[calls(("look", {})), says("done")])

    def act(state: MessagesState) -> dict[str, Any]:
        raise GraphBubbleUp  # the run ends here, as if its process had died

    builder = StateGraph(MessagesState).add_node("act", act)
    builder.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", tools_condition, {"tools": "act", "__end__": "__end__"})
    ada = Conversation(builder.compile(checkpointer=saver), "ada-1")
    with suppress(GraphBubbleUp):
        ada.send("go")
    assert ada.send("And?").text == "done"
    assert "it is not known whether it took effect" in ada.history()[2].text


def test_a_gap_that_another_caller_left_in_the_history_is_filled(saver: HoldfastSaver) -> None:
    refunds = Refunds("asking", saver)
    refunds.ada.send("Refund order 1")
    with suppress(AssertionError):  # the model refuses the open call
        refunds.agent.invoke({"messages": [("user", "Hello?")]}, thread())
    assert refunds.ada.send("Never mind").text == "done"
    kinds = [message.type for message in refunds.ada.history()]
    assert kinds == ["human", "ai", "tool", "human", "human", "ai"]
