"""A node that was renamed while threads waited in it, and a graph that has it under its former name as well."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.deploy import check, with_renamed
from tests.support.graph_kit import says
from tests.support.kit import thread
from tests.support.middleware_kit import Shop


class State(TypedDict):
    said: Annotated[list[Any], operator.add]


def ask(state: Any) -> dict[str, Any]:
    return {"said": [interrupt("May I?")]}


def begin(_: Any) -> dict[str, Any]:
    return {"said": ["begun"]}


def end(_: Any) -> dict[str, Any]:
    return {"said": ["ended"]}


def by_edge(name: str) -> Any:
    builder = StateGraph(State).add_node("begin", begin).add_node(name, ask).add_node("end", end)
    return builder.add_edge(START, "begin").add_edge("begin", name).add_edge(name, "end")


def by_send(name: str) -> Any:
    builder = StateGraph(State).add_node("begin", begin).add_node(name, ask).add_node("end", end)
    builder.add_conditional_edges("begin", lambda _: [Send(name, {})], [name])
    return builder.add_edge(START, "begin").add_edge(name, "end")


def by_command(name: str) -> Any:
    def go(_: Any) -> Command[Any]:
        return Command(update={"said": ["begun"]}, goto=name)

    builder = StateGraph(State).add_node("begin", go, destinations=(name,)).add_node(name, ask).add_node("end", end)
    return builder.add_edge(START, "begin").add_edge(name, "end")


def by_join(name: str) -> Any:
    builder = StateGraph(State).add_node("begin", begin).add_node("beside", lambda _: None).add_node(name, ask)
    builder.add_node("end", end).add_edge(START, "begin").add_edge(START, "beside")
    return builder.add_edge(["begin", "beside"], name).add_edge(name, "end")


def within(name: str) -> Any:
    """The node that is named is a subgraph, which asks."""
    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
    builder = StateGraph(State).add_node("begin", begin).add_node(name, inner).add_node("end", end)
    return builder.add_edge(START, "begin").add_edge("begin", name).add_edge(name, "end")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("build", [by_edge, by_send, by_command, by_join, within])
def test_the_answer_to_a_pause_in_a_renamed_node_is_taken_under_its_id(
    saver: HoldfastSaver, build: Callable[[str], Any]
) -> None:
    build("old").compile(checkpointer=saver).invoke({"said": []}, thread())
    [request] = saver.interrupts.waiting()
    saver.interrupts.answer("ada-1", request.interrupt_id, "yes", by="Ada")

    graph = with_renamed(build("new").compile(checkpointer=saver), {"old": "new"})
    assert check(graph, saver).obstacles == []
    ended = graph.invoke(Command(resume={request.interrupt_id: "yes"}), thread())

    assert ended["said"][0] == "begun"
    assert ended["said"][-2:] == ["yes", "ended"]
    assert graph.get_state(thread()).next == ()
    assert saver.interrupts.waiting() == saver.interrupts.todo() == []


async def test_it_goes_on_on_an_event_loop_too(saver: HoldfastSaver) -> None:
    await by_edge("old").compile(checkpointer=saver).ainvoke({"said": []}, thread())
    graph = with_renamed(by_edge("new").compile(checkpointer=saver), {"old": "new"})
    assert (await graph.ainvoke(Command(resume="yes"), thread()))["said"] == ["begun", "yes", "ended"]


def test_a_pause_in_a_renamed_node_of_a_subgraph_goes_on_if_the_subgraph_is_given(saver: HoldfastSaver) -> None:
    def outer(name: str, renamed: dict[str, str]) -> Any:
        inner = StateGraph(State).add_node(name, ask).add_edge(START, name).compile()
        inner = with_renamed(inner, renamed)
        return StateGraph(State).add_node("sub", inner).add_edge(START, "sub").compile(checkpointer=saver)

    outer("old", {}).invoke({"said": []}, thread())
    [obstacle] = check(outer("new", {}), saver).obstacles
    assert (obstacle.kind, obstacle.name, obstacle.thread_ids) == ("node", "sub|old", ["ada-1"])

    graph = outer("new", {"old": "new"})
    assert check(graph, saver).obstacles == []
    assert graph.invoke(Command(resume="yes"), thread())["said"] == ["yes"]


@pytest.mark.parametrize("build", [by_edge, by_send])
def test_a_thread_that_stopped_before_a_renamed_node_goes_on_in_it(
    saver: HoldfastSaver, build: Callable[[str], Any]
) -> None:
    build("old").compile(checkpointer=saver, interrupt_before=["old"]).invoke({"said": []}, thread())
    graph = with_renamed(build("new").compile(checkpointer=saver, interrupt_before=["new"]), {"old": "new"})
    assert graph.get_state(thread()).next == ("old",)
    graph.invoke(None, thread())
    assert graph.invoke(Command(resume="yes"), thread())["said"] == ["begun", "yes", "ended"]


def test_a_new_thread_runs_the_node_under_its_new_name_alone(saver: HoldfastSaver) -> None:
    graph = with_renamed(by_edge("new").compile(checkpointer=saver), {"old": "new"})
    ran = [name for update in graph.stream({"said": []}, thread(), stream_mode="updates") for name in update]
    assert ran == ["begin", "__interrupt__"]
    assert [task.name for task in graph.get_state(thread()).tasks] == ["new"]
    graph.invoke(Command(resume="yes"), thread())
    assert graph.get_state(thread()).next == ()


def test_the_errors_of_a_renamed_node_go_to_its_handler(saver: HoldfastSaver) -> None:
    def fails(state: Any) -> dict[str, Any]:
        raise RuntimeError(interrupt("May I?"))

    def handle(state: Any) -> dict[str, Any]:
        return {"said": ["handled"]}

    def graph(name: str) -> Any:
        return StateGraph(State).add_node(name, fails, error_handler=handle).add_edge(START, name).compile(saver)

    graph("old").invoke({"said": []}, thread())
    ended = with_renamed(graph("new"), {"old": "new"}).invoke(Command(resume="no"), thread())
    assert ended["said"] == ["handled"]


def test_replicas_of_both_versions_serve_the_same_pause(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    for name in ("a", "b"):
        by_edge("old").compile(checkpointer=saver).invoke({"said": []}, thread(name))
    new = with_renamed(by_edge("new").compile(checkpointer=other), {"old": "new"})
    old = by_edge("old").compile(checkpointer=saver)
    assert new.invoke(Command(resume="yes"), thread("a"))["said"] == ["begun", "yes", "ended"]
    assert old.invoke(Command(resume="yes"), thread("b"))["said"] == ["begun", "yes", "ended"]


def test_a_paused_approval_is_carried_out_once_by_the_graph_with_the_renamed_node(url: str) -> None:
    with open_checkpointer(url) as saver:
        shop = Shop(saver)
        shop.say()
        request = shop.asked()
        shop.record(type="approve")

    with open_checkpointer(url) as saver:
        shop = Shop(saver, says("done"))
        renamed = shop.agent.copy({"nodes": {
            {"tools": "desk"}.get(name, name): node for name, node in shop.agent.nodes.items()
        }})  # fmt: skip
        agent = with_renamed(renamed, {"tools": "desk"})
        assert check(agent, saver).obstacles == []
        for _ in range(2):
            agent.invoke(None, thread())
        assert shop.refunded == [1]
        assert saver.interrupts.recorded("ada-1", request.interrupt_id).by == "Ada"  # type: ignore[union-attr]
        assert agent.get_state(thread()).next == ()


def test_a_graph_that_is_not_compiled_is_refused(saver: HoldfastSaver) -> None:
    for give in (lambda: with_renamed(by_edge("new"), {}), lambda: check(by_edge("new"), saver)):
        with pytest.raises(TypeError, match=r"Found a StateGraph; needed is a compiled graph"):
            give()


@pytest.mark.parametrize("renamed", [{"old": "gone"}, {"new": "begin"}, {"begin": "new"}])
def test_names_that_are_the_wrong_way_round_are_refused(saver: HoldfastSaver, renamed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\{former name: new name\}; the nodes are"):
        with_renamed(by_edge("new").compile(checkpointer=saver), renamed)
