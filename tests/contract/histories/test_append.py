"""Messages are added to a thread without a run, and of two writers none loses any."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph, add_messages

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NotStorable, UnknownThread
from tests.support.delta_kit import delta_agent
from tests.support.kept_kit import in_file
from tests.support.kit import echo_graph, elsewhere, one_node, thread


class Facts(TypedDict):
    """A state with more than messages."""

    messages: Annotated[list[AnyMessage], add_messages]
    facts: Annotated[list[str], add]


def texts(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[str]:
    return [entry.text for entry in saver.transcript(thread_id) if entry.kind == "message"]


def test_a_thread_begins_and_goes_on_with_what_is_added(saver: HoldfastSaver) -> None:
    assert saver.threads.append("ada-1", [("user", "Hello")], user_id="ada").title == "Hello"
    found = saver.threads.append("ada-1", [("assistant", "Hi"), ("user", "Bye")], user_id="ada")
    assert (found.user_id, found.messages, found.status) == ("ada", 3, "idle")
    graph = echo_graph(saver)
    graph.invoke({"messages": [("user", "Still here")]}, thread("ada-1", user_id="ada"))
    saver.threads.append("ada-1", [("assistant", "From elsewhere")])
    assert texts(saver) == ["Hello", "Hi", "Bye", "Still here", "You said: Still here", "From elsewhere"]
    state = graph.get_state(thread("ada-1"))
    assert (state.next, [message.text for message in state.values["messages"]]) == ((), texts(saver))


def test_the_rest_of_the_state_stays(saver: HoldfastSaver) -> None:
    builder = StateGraph(Facts)
    builder.add_node("model", lambda state: {"messages": [AIMessage(f"{state['facts']}")], "facts": ["met"]})
    builder.add_edge(START, "model")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "one")], "facts": []}, thread())
    saver.threads.append("ada-1", [("user", "by the way")])
    assert graph.invoke({"messages": [("user", "two")]}, thread())["messages"][-1].text == "['met']"


def test_of_many_writers_at_once_none_loses_a_message(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    def write(number: int) -> None:
        (saver if number % 2 else other).threads.append("ada-1", [("user", f"message {number}")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert sorted(texts(saver)) == sorted(f"message {number}" for number in range(12))
    checkpoints = list(saver.list(thread()))
    assert len(checkpoints) == 12  # and no branch
    assert len(checkpoints[0].checkpoint["channel_values"]["messages"]) == 12


def test_a_run_that_goes_on_keeps_what_was_added_meanwhile(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    def model(_state: Any) -> dict[str, Any]:
        elsewhere(lambda: other.threads.append("ada-1", [HumanMessage("meanwhile", id="m")]))
        return {"messages": [AIMessage("answer", id="a")]}

    graph = one_node(saver, model)
    graph.invoke({"messages": [HumanMessage("question", id="q")]}, thread(), durability="sync")
    state = graph.get_state(thread()).values["messages"]
    assert sorted(message.id for message in state) == ["a", "m", "q"]


def test_a_thread_of_another_user_is_unknown(saver: HoldfastSaver) -> None:
    saver.threads.append("ada-1", [("user", "Hello")], user_id="ada")
    with pytest.raises(UnknownThread):
        saver.threads.append("ada-1", [("user", "I am not Ada.")], user_id="mallory")
    assert texts(saver) == ["Hello"]


def test_a_state_without_a_list_of_messages_is_told(saver: HoldfastSaver) -> None:
    delta_agent(saver, 1000).invoke({"messages": [("user", "Hello")]}, thread())
    with pytest.raises(NotStorable, match="update_state"):
        saver.threads.append("ada-1", [("user", "More")])


@pytest.mark.parametrize("early", [True, pytest.param(False, marks=pytest.mark.sweep)])
def test_a_request_that_the_agent_keeps_stays_open_and_one_that_it_does_not_is_closed(
    saver: HoldfastSaver, tmp_path: Path, early: bool
) -> None:
    ada = in_file(saver, f"{tmp_path / 'effects'}", "ada-1")
    [request] = ada.send("Refund order 1").pending
    ada.send("How are you?")
    saver.threads.append("ada-1", [("assistant", "By the way")])
    saver.threads.append("ada-1", [("assistant", "one more thing")])
    assert [waiting.interrupt_id for waiting in saver.interrupts.waiting()] == [request.interrupt_id]
    if not early:
        assert [one.interrupt_id for one in ada.send("And now?").pending] == [request.interrupt_id]
    assert "order 1 refunded" in ada.approve(request.interrupt_id, by="Grace").text
    assert (tmp_path / "effects").read_text() == "refund 1\n"
    assert saver.interrupts.waiting() == []

    ada.send("Refund order 1")
    saver.threads.append("ada-1", [("assistant", "By the way")])
    assert saver.interrupts.waiting() == []


async def test_it_has_a_twin_for_event_loops(saver: HoldfastSaver) -> None:
    assert (await saver.threads.aappend("ada-1", [("user", "Hello")])).messages == 1
