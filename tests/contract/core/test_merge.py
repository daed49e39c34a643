"""A run and the updates that are made while it goes on are merged; two runs are not."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import ThreadConflict
from holdfast.checkpoints.reconcile.merge import merge, sameness
from holdfast.checkpoints.serde.types import Types
from tests.support.kit import checkpoint, elsewhere, thread


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    steps: Annotated[list[str], operator.add]
    title: str
    mood: str


During = Callable[[], object]


def graph_of(saver: HoldfastSaver, first: During = lambda: None, last: During = lambda: None) -> Any:
    """A graph of two nodes that answer, and do something else meanwhile."""

    def ask(state: State) -> dict[str, Any]:
        first()
        return {"messages": [AIMessage("first", id="first")], "steps": ["first"]}

    def answer(state: State) -> dict[str, Any]:
        last()
        return {"messages": [AIMessage("last", id="last")], "steps": ["last"], "mood": "good"}

    builder = StateGraph(State)
    builder.add_node(ask)
    builder.add_node(answer)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "answer")
    return builder.compile(checkpointer=saver)


def update(saver: HoldfastSaver, values: dict[str, Any]) -> None:
    graph_of(saver).update_state(thread(), values, as_node="answer")


ASKED: dict[str, Any] = {"messages": [HumanMessage("hello", id="hello")], "title": "", "mood": "none"}


def contents(saver: HoldfastSaver) -> tuple[list[str], list[str], str, str]:
    state = graph_of(saver).get_state(thread())
    assert state.next == ()
    values = state.values
    return [m.text for m in values["messages"]], values["steps"], values["title"], values["mood"]


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("where", ["in a node", "in another process"])
def test_an_update_while_a_run_goes_on_is_merged_with_it(
    saver: HoldfastSaver, other: HoldfastSaver, durability: Any, where: str
) -> None:
    values = {"title": "Hello", "messages": [HumanMessage("by the way", id="note")], "steps": ["note"]}

    def now() -> None:
        if where == "in a node":
            update(saver, values)
        else:
            elsewhere(lambda: update(other, values))

    graph_of(saver).invoke(ASKED, thread(), durability="sync")
    result = graph_of(saver, now).invoke({"title": ""}, thread(), durability=durability)

    assert result["title"] == "", "a run goes on with what it has loaded, as over any saver"
    texts, steps, title, mood = contents(other)
    assert texts == ["hello", "first", "last", "by the way"]
    assert steps == ["first", "last", "first", "last", "note"]
    assert (title, mood) == ("Hello", "good")


def test_each_update_is_in_every_later_checkpoint_of_the_run(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    def note(word: str) -> During:
        return lambda: elsewhere(lambda: update(other, {"steps": [word]}))

    graph_of(saver, note("one"), note("two")).invoke(ASKED, thread(), durability="sync")

    assert contents(other)[1] == ["first", "last", "one", "two"]
    merged = [found.metadata.get("holdfast_merged") for found in other.list(thread())]
    ids = [found.config["configurable"]["checkpoint_id"] for found in other.list(thread())]
    assert [ids.index(head) for head in merged if head is not None] == [1, 3], "each names the head that it followed"


def test_what_a_sub_agent_saves_in_the_same_thread_is_merged_with_the_run(saver: HoldfastSaver) -> None:
    def sub(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("sub", id="sub")]}

    builder = StateGraph(State)
    builder.add_node(sub)
    builder.add_edge(START, "sub")
    agent = builder.compile(checkpointer=saver)

    def ask_it() -> None:
        agent.invoke({"messages": [HumanMessage("task", id="task")]}, thread(), durability="sync")

    graph_of(saver, ask_it).invoke(ASKED, thread(), durability="sync")

    assert contents(saver)[0] == ["hello", "first", "last", "task", "sub"]


def test_a_sub_agent_that_begins_before_its_run_has_saved_comes_after_it_in_lists() -> None:
    types = Types(())
    run = checkpoint([], steps=["asked"])
    sub = checkpoint([], steps=["sub"])

    merged = merge(None, sub, run, sameness(types), update_first=True)

    assert merged["channel_values"]["steps"] == ["asked", "sub"]
    assert merge(None, sub, run, sameness(types))["channel_values"]["steps"] == ["sub", "asked"]


def test_an_update_that_a_run_overtakes_is_merged_with_what_the_run_has_saved(
    saver: HoldfastSaver, other: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph_of(saver).invoke(ASKED, thread(), durability="sync")
    put, began = saver.put, []

    def late(*args: Any, **kwargs: Any) -> Any:
        if not began:
            began.append(None)
            elsewhere(lambda: graph_of(other).invoke({"mood": "fresh"}, thread(), durability="sync"))
        return put(*args, **kwargs)

    monkeypatch.setattr(saver, "put", late)
    update(saver, {"title": "Hello"})

    texts, steps, title, mood = contents(other)
    assert (texts, steps) == (["hello", "first", "last"], ["first", "last", "first", "last"])
    assert (title, mood) == ("Hello", "good")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_channel_that_both_have_changed_is_a_conflict(
    saver: HoldfastSaver, other: HoldfastSaver, durability: Any
) -> None:
    graph_of(saver).invoke(ASKED, thread(), durability="sync")
    update(saver, {"mood": "calm"})

    with pytest.raises(ThreadConflict) as refused:
        graph_of(saver, last=lambda: elsewhere(lambda: update(other, {"mood": "bad"}))).invoke(
            {"mood": "fresh"}, thread(), durability=durability
        )

    assert contents(other)[3] == "bad"
    assert refused.value.branch is not None
    assert graph_of(other).get_state(refused.value.branch).values["mood"] == "good"


def test_a_conflict_in_a_later_step_keeps_what_was_merged_before(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    with pytest.raises(ThreadConflict) as refused:
        graph_of(saver, lambda: elsewhere(lambda: update(other, {"mood": "bad", "title": "Hello"}))).invoke(
            ASKED, thread(), durability="sync"
        )

    head = other.get_tuple(thread())
    assert head is not None
    assert (head.checkpoint["channel_values"]["mood"], head.checkpoint["channel_values"]["title"]) == ("bad", "Hello")
    assert refused.value.branch is not None
    assert graph_of(other).get_state(refused.value.branch).values["mood"] == "good"


def test_a_message_that_was_deleted_meanwhile_stays_deleted(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    graph_of(saver, lambda: elsewhere(lambda: update(other, {"messages": [RemoveMessage(id="hello")]}))).invoke(
        ASKED, thread(), durability="sync"
    )
    assert contents(other)[0] == ["first", "last"]


def test_a_run_that_pauses_after_a_merge_is_resumed(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    def ask(state: State) -> dict[str, Any]:
        elsewhere(lambda: update(other, {"title": "Hello"}))
        return {"steps": ["asked"]}

    def answer(state: State) -> dict[str, Any]:
        return {"steps": [interrupt("really?")]}

    builder = StateGraph(State)
    builder.add_node(ask)
    builder.add_node(answer)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "answer")
    graph = builder.compile(checkpointer=saver)
    graph.invoke(ASKED, thread(), durability="sync")

    [pause] = graph.get_state(thread()).interrupts
    assert [waiting.value for waiting in saver.interrupts.waiting()] == ["really?"]
    graph.invoke(Command(resume={pause.id: "yes"}), thread())

    values = graph.get_state(thread()).values
    assert (values["steps"], values["title"]) == (["asked", "yes"], "Hello")


def test_two_runs_are_never_merged(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    during: list[None] = []

    def once() -> None:
        if not during:
            during.append(None)
            elsewhere(lambda: graph_of(other).invoke({"title": "theirs"}, thread(), durability="sync"))

    with pytest.raises(ThreadConflict):
        graph_of(saver, once).invoke(ASKED, thread(), durability="sync")

    assert contents(other)[2] == "theirs"


def test_an_update_to_a_thread_that_is_deleted_meanwhile_is_refused(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    def delete() -> None:
        other.delete_thread("ada-1")
        elsewhere(lambda: update(other, {"title": "new life"}))

    with pytest.raises(ThreadConflict, match="deleted") as refused:
        graph_of(saver, delete).invoke(ASKED, thread(), durability="sync")

    assert refused.value.branch is None
    assert other.get_tuple(thread()) is not None
    assert contents_of_new_life(other) == {"title": "new life"}


def contents_of_new_life(saver: HoldfastSaver) -> dict[str, Any]:
    values: dict[str, Any] = graph_of(saver).get_state(thread()).values
    return {name: value for name, value in values.items() if value}
