"""Undo of turns that saved one checkpoint, at their end: `durability="exit"`."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NothingToUndo
from tests.support.delta_kit import delta_agent
from tests.support.kit import echo_graph, texts, thread
from tests.support.reset_kit import history, remembering


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


def turn(graph: Any, text: str, durability: str = "exit", thread_id: str = "ada-1") -> None:
    graph.invoke({"messages": [("user", text)]}, thread(thread_id), durability=durability)


def asking(saver: HoldfastSaver) -> Any:
    """A graph of two steps, whose second asks a person when it is told to pause."""

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"thought of {state['messages'][-1].text}")]}

    def answer(state: MessagesState) -> dict[str, Any]:
        said = interrupt("well?") if state["messages"][-2].text == "pause" else "done"
        return {"messages": [("ai", said)]}

    builder = StateGraph(MessagesState)
    builder.add_node(think)
    builder.add_node(answer)
    builder.add_edge(START, "think")
    builder.add_edge("think", "answer")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("graph_of", [echo_graph, asking, remembering])
def test_each_undo_takes_back_one_turn(saver: HoldfastSaver, graph_of: Any) -> None:
    graph = graph_of(saver)
    states = [texts(saver)]
    for text in ("one", "two", "three"):
        turn(graph, text)
        states.append(texts(saver))
    assert len(history(saver)) == 3, "one checkpoint a turn"

    for before in reversed(states[:-1]):
        saver.threads.undo("ada-1")
        assert texts(saver) == before
        assert graph.get_state(thread()).next == ()
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")

    turn(graph, "four")
    assert texts(saver)[0] == "four"


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("last", ["exit", "sync"])
@pytest.mark.parametrize("first", ["exit", "sync"])
def test_turns_of_both_kinds_are_taken_back_one_by_one(saver: HoldfastSaver, first: str, last: str) -> None:
    graph = asking(saver)
    turn(graph, "one", first)
    one = texts(saver)
    turn(graph, "two", last)

    saver.threads.undo("ada-1")
    assert texts(saver) == one
    turn(graph, "three", last)
    saver.threads.undo("ada-1")
    assert texts(saver) == one
    saver.threads.undo("ada-1")
    assert texts(saver) == []


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("resumed", ["exit", "sync"])
@pytest.mark.parametrize("asked", ["exit", "sync"])
def test_an_answer_belongs_to_the_turn_that_asked(saver: HoldfastSaver, asked: str, resumed: str) -> None:
    graph = asking(saver)
    turn(graph, "one")
    one = texts(saver)
    turn(graph, "pause", asked)
    assert graph.get_state(thread()).next == ("answer",)
    graph.invoke(Command(resume="yes"), thread(), durability=resumed)
    assert texts(saver)[-2:] == ["thought of pause", "yes"]

    saver.threads.undo("ada-1")

    assert texts(saver) == one
    assert graph.get_state(thread()).next == ()


def test_a_turn_on_top_of_a_pause_is_taken_back_alone(saver: HoldfastSaver) -> None:
    graph = asking(saver)
    turn(graph, "pause")
    paused = texts(saver)
    turn(graph, "never mind")

    saver.threads.undo("ada-1")

    assert texts(saver) == paused


def test_an_update_of_the_state_is_part_of_what_was_before(saver: HoldfastSaver) -> None:
    graph = asking(saver)
    turn(graph, "one")
    graph.update_state(thread(), {"messages": [("user", "a note")]}, as_node="answer")
    noted = texts(saver)
    turn(graph, "two")

    saver.threads.undo("ada-1")

    assert texts(saver) == noted


def test_a_subgraph_with_a_memory_goes_back_with_its_turn(saver: HoldfastSaver) -> None:
    graph = remembering(saver)
    for text in ("one", "two", "three"):
        turn(graph, text)
    saver.threads.undo("ada-1")
    saver.threads.undo("ada-1")

    turn(graph, "again")

    assert texts(saver) == ["one", "call 1", "again", "call 2"]


def test_turns_of_a_delta_channel_are_taken_back_one_by_one(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)
    states = [[]]
    for text in ("one", "two"):
        turn(graph, text)
        states.append([m.text for m in graph.get_state(thread()).values["messages"]])

    for before in reversed(states[:-1]):
        saver.threads.undo("ada-1")
        assert [m.text for m in graph.get_state(thread()).values.get("messages", [])] == before


def test_what_was_pruned_is_not_taken_back(saver: HoldfastSaver) -> None:
    graph = asking(saver)
    for text in ("one", "two"):
        turn(graph, text)
    saver.prune(["ada-1"])
    kept = texts(saver)
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")
    turn(graph, "three")
    saver.threads.undo("ada-1")
    assert texts(saver) == kept


def test_after_a_restart_only_what_came_later_is_taken_back(saver: HoldfastSaver) -> None:
    graph = asking(saver)
    turn(graph, "one")
    saver.threads.restart("ada-1")
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")
    turn(graph, "two")
    saver.threads.undo("ada-1")
    assert texts(saver) == []
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")
