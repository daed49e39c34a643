"""A node that is renamed while a thread waits in it: an answer that no task takes is an error, and not lost."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NodeMissing
from tests.support.kit import thread


class State(TypedDict):
    said: Annotated[list[Any], operator.add]


def ask(state: Any) -> dict[str, Any]:
    return {"said": [interrupt("May I?")]}


def graph_with(saver: Any, *names: str, by_send: bool = False) -> Any:
    """Return a graph that asks in each of the named nodes, all of them at once."""
    builder = StateGraph(State).add_node("begin", lambda _: {"said": ["begun"]}).add_edge(START, "begin")
    for name in names:
        builder.add_node(name, ask)
        if not by_send:
            builder.add_edge("begin", name)
    if by_send:
        builder.add_conditional_edges("begin", lambda _: [Send(name, {}) for name in names], list(names))
    return builder.compile(checkpointer=saver)


def paused(saver: HoldfastSaver, *names: str, by_send: bool = False) -> list[str]:
    """Pause a thread in some nodes, and return the ids of its requests."""
    graph_with(saver, *names, by_send=by_send).invoke({"said": []}, thread())
    return [request.interrupt_id for request in saver.interrupts.waiting()]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("by_send", [False, True], ids=["edge", "Send"])
@pytest.mark.parametrize("by_id", [False, True])
def test_an_answer_to_a_node_that_was_renamed_is_refused_by_name(
    saver: HoldfastSaver, by_id: bool, by_send: bool
) -> None:
    [request] = paused(saver, "old", by_send=by_send)
    resume = {request: "yes"} if by_id else "yes"

    with pytest.raises(NodeMissing, match=r"'ada-1' waits in the node 'old'.*It has 'begin', 'new'") as refused:
        graph_with(saver, "new", by_send=by_send).invoke(Command(resume=resume), thread())
    assert (refused.value.thread_id, refused.value.interrupt_id) == ("ada-1", request)
    assert refused.value.missing == ("old",)

    ended = graph_with(saver, "old", by_send=by_send).invoke(Command(resume=resume), thread())
    assert ended["said"] == ["begun", "yes"]
    assert saver.interrupts.waiting() == []


async def test_an_answer_is_refused_on_an_event_loop_too(saver: HoldfastSaver) -> None:
    [request] = paused(saver, "old")
    with pytest.raises(NodeMissing, match="'old'"):
        await graph_with(saver, "new").ainvoke(Command(resume={request: "yes"}), thread())


def test_an_answer_on_record_stays_there_until_the_node_is_back(saver: HoldfastSaver) -> None:
    [request] = paused(saver, "old")
    saver.interrupts.answer("ada-1", request, "yes")
    for _ in range(2):
        [answer] = saver.interrupts.todo()
        with pytest.raises(NodeMissing):
            graph_with(saver, "new").invoke(Command(resume={answer.interrupt_id: answer.answer}), thread())

    graph_with(saver, "old").invoke(Command(resume={request: "yes"}), thread())
    assert saver.interrupts.todo() == []


def test_a_new_input_lets_the_thread_go_on_without_the_answer(saver: HoldfastSaver) -> None:
    [request] = paused(saver, "old")
    graph = graph_with(saver, "new")
    graph.invoke({"said": ["again"]}, thread())
    [other] = [found.interrupt_id for found in saver.interrupts.waiting()]
    assert other != request
    assert graph.invoke(Command(resume={other: "yes"}), thread())["said"] == ["begun", "again", "begun", "yes"]


def test_an_answer_to_a_node_that_is_there_is_taken_beside_one_that_is_not(saver: HoldfastSaver) -> None:
    here, gone = paused(saver, "here", "old")
    graph = graph_with(saver, "here", "new")
    with pytest.raises(NodeMissing, match=gone):
        graph.invoke(Command(resume={gone: "yes"}), thread())
    assert graph.invoke(Command(resume={here: "yes", gone: "yes"}), thread())["said"] == ["begun", "yes"]


def test_an_answer_that_nothing_waits_for_changes_nothing(saver: HoldfastSaver) -> None:
    [request] = paused(saver, "old")
    graph = graph_with(saver, "old")
    graph.invoke(Command(resume="yes"), thread())
    assert graph.invoke(Command(resume={request: "no"}), thread())["said"] == ["begun", "yes"]
