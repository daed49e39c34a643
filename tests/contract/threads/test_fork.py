"""Threads that are branched off into another one: as they stand, or as they stood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import ThreadNotEmpty, UnknownCheckpoint, UnknownMessage, UnknownThread
from holdfast.graph import needs_approval
from tests.support.asking import state_of, team, waiting
from tests.support.delta_kit import delta_agent
from tests.support.index_kit import assert_counted, digest, of_run
from tests.support.kit import echo_graph, rows, texts, thread
from tests.support.records import listed
from tests.support.reset_kit import events, history, meet, remembering, transcript
from tests.support.shapes import exact
from tests.support.world import World, talk_with


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=4)
@pytest.mark.parametrize(
    "graph_of", [echo_graph, remembering, lambda saver: delta_agent(saver, 3), lambda saver: delta_agent(saver, 1000)]
)
def test_a_fork_is_as_the_thread_was_and_goes_its_own_way(saver: HoldfastSaver, graph_of: Callable[[Any], Any]) -> None:
    graph = graph_of(saver)
    meet(graph, "one", "two")
    middle = graph.get_state(thread()).config["configurable"]["checkpoint_id"]
    meet(graph, "three")
    saver.prune(["none"])
    before, said = digest(saver, "ada-1"), transcript(saver)
    for number, at in enumerate((None, middle, history(saver)[1])):
        name = f"fork-{number}"
        source = saver.get_tuple(thread(checkpoint_id=at) if at else thread())
        assert source is not None

        forked = saver.threads.fork("ada-1", name, checkpoint_id=at, user_id="ada", by="Grace")

        found = saver.get_tuple(thread(name))
        assert found is not None
        assert exact(found.checkpoint) == exact(source.checkpoint)
        state = graph.get_state(source.config)
        assert exact(graph.get_state(thread(name)).values) == exact(state.values)
        assert graph.get_state(thread(name)).next == state.next
        assert (forked.user_id, forked.title) == ("ada", "one")
        assert (forked.origin_thread_id, forked.origin_checkpoint_id) == ("ada-1", source.checkpoint["id"])
        assert forked.created_at >= saver.threads.get("ada-1").updated_at
        assert events(saver, name) == [
            ("fork", "Grace", len(rows(saver, "SELECT 1 FROM holdfast_messages WHERE thread_id = 'ada-1'")))
        ]
        if at == middle:
            assert set(transcript(saver, name)) < set(said)
        assert_counted(saver)
        assert digest(saver, "ada-1") == before
        own = len(graph.get_state(thread(name)).values["messages"])
        meet(graph, "on", thread_id=name)
        assert len(graph.get_state(thread(name)).values["messages"]) > own + 1
        assert digest(saver, "ada-1") == before
    if graph_of is remembering:
        assert [texts(saver, f"fork-{number}")[-1] for number in range(3)] == ["call 4", "call 3", "call 3"]
    saver.delete_thread("ada-1")
    for number in range(3):
        meet(graph, "alone", thread_id=f"fork-{number}")
    assert_counted(saver)


def test_a_fork_has_no_message_that_came_after_or_beside_its_checkpoint(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    meet(graph, "one", "two")
    first = history(saver)[3]
    graph.invoke({"messages": [("user", "beside")]}, thread(checkpoint_id=first, checkpoint_ns=""))
    at = history(saver)[0]
    meet(graph, "after")
    assert len(transcript(saver)) == 8
    saver.threads.fork("ada-1", "old", checkpoint_id=at)
    saver.threads.fork("ada-1", "head")
    assert transcript(saver, "old") == texts(saver, "old") == ["one", "You said: one", "beside", "You said: beside"]
    assert transcript(saver, "head") == texts(saver, "head") == [*texts(saver, "old"), "after", "You said: after"]
    assert [saver.threads.get(name).messages for name in ("old", "head")] == [4, 6]

    saver.threads.undo("ada-1")
    saver.threads.fork("ada-1", "undone")
    assert transcript(saver, "undone") == texts(saver, "old"), "what was taken back is beside"
    for name, message in (("again", -1), ("earlier", 0)):
        said = graph.get_state(thread("undone")).values["messages"]
        saver.threads.fork("undone", name, message_id=said[message].id)
        assert texts(saver, name) == texts(saver, "old")[: message % 4 + 1]
    assert_counted(saver)


def test_a_fork_from_a_message_goes_on_from_where_it_was_said(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    meet(graph, "one", "two")
    said = graph.get_state(thread()).values["messages"]
    for number, message in enumerate(said):
        name = f"fork-{number}"
        forked = saver.threads.fork("ada-1", name, message_id=message.id)
        assert texts(saver, name) == transcript(saver, name) == [m.text for m in said[: number + 1]]
        assert forked.status == ("idle" if number % 2 else "unfinished")
        if number % 2:
            meet(graph, "instead", thread_id=name)
        else:
            graph.invoke(None, thread(name))
        assert texts(saver, name)[-1] == ("You said: instead" if number % 2 else f"You said: {message.text}")
    graph.update_state(thread(), {"messages": [HumanMessage("edited", id=said[0].id)]})
    saver.threads.fork("ada-1", "edited", message_id=said[0].id)
    assert texts(saver, "edited")[0] == "edited"
    assert_counted(saver)


def test_a_fork_from_a_pause_asks_again(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, thread())
    asked = waiting(graph, thread())
    graph.invoke(Command(resume={asked["b"]: "yes"}), thread())
    saver.threads.fork("ada-1", "head")
    assert state_of(graph, thread("head")) == state_of(graph, thread()), "one has answered"
    assert saver.threads.get("head").pending == 2
    at = history(saver)[0]
    graph.invoke(Command(resume={asked["a"]: "yes", asked["c"]: "yes"}), thread())
    before = digest(saver, "ada-1")

    forked = saver.threads.fork("ada-1", "fork", checkpoint_id=at)

    assert (forked.status, forked.pending) == ("paused", 3)
    assert waiting(graph, thread("fork")) == asked
    assert {item.interrupt_id for item in saver.interrupts.waiting(thread_id="fork")} == set(asked.values())
    for name in "abc":
        graph.invoke(Command(resume={asked[name]: name.upper()}), thread("fork"))
    assert sorted(texts(saver, "fork")) == ["a: A", "b: B", "c: C", "go"]
    assert saver.threads.get("fork").status == "idle"
    assert digest(saver, "ada-1") == before
    assert_counted(saver)


@pytest.mark.sweep
def test_of_two_questions_one_after_the_other_a_fork_asks_the_last(saver: HoldfastSaver) -> None:
    inner = StateGraph(MessagesState)
    for name in ("first", "second"):
        inner.add_node(name, lambda _, name=name: {"messages": [AIMessage(f"{name}: {interrupt(name)}")]})
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    builder = StateGraph(MessagesState)
    builder.add_node("child", inner.compile())
    builder.add_edge(START, "child")
    graph = builder.compile(checkpointer=saver)
    saver.note_prompt(thread(), "Be kind.")
    meet(graph, "go")
    at = history(saver)[0]
    for answer in "ab":
        graph.invoke(Command(resume=answer), thread())

    forked = saver.threads.fork("ada-1", "fork", checkpoint_id=at)

    assert (forked.status, forked.pending) == ("paused", 1)
    [asked] = saver.interrupts.waiting(thread_id="fork")
    assert asked.value == "second"
    graph.invoke(Command(resume={asked.interrupt_id: "c"}), thread("fork"))
    assert texts(saver, "fork") == ["go", "first: a", "second: c"]
    saver.threads.fork("ada-1", "first", checkpoint_id=history(saver)[-1])
    saver.note_prompt(thread("first"), "Be kind.")
    meet(graph, "go", thread_id="first")
    assert [kind for kind, *_ in events(saver, "first")] == ["fork", "prompt"], "in force in the fork, too"
    assert_counted(saver)


@pytest.mark.usefixtures("quick")
def test_an_effect_that_ran_before_a_fork_does_not_run_in_the_fork(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    at = history(saver)[0]
    talk.answer(pause.id, type="approve")
    assert world.done == [1]
    assert saver.threads.fork("ada-1", "fork", checkpoint_id=at).status == "paused"
    fork = thread("fork")
    talk.model.lines += [talk.model.lines[-1]] * 3
    [again] = talk.agent.get_state(fork).interrupts
    talk.agent.invoke(Command(resume={again.id: {"type": "approve"}}), fork)
    [doubt] = talk.agent.get_state(fork).interrupts
    assert doubt.value["why"] == "elsewhere"
    talk.agent.invoke(Command(resume={doubt.id: {"type": "happened"}}), fork)
    assert texts(saver, "fork") == texts(saver)
    assert world.done == [1]


def test_a_fork_that_is_impossible_is_refused_and_changes_nothing(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    meet(graph, "one", "two")
    meet(graph, "other", thread_id="bob-1")
    old, said = history(saver)[2], graph.get_state(thread()).values["messages"]
    saver.prune(["ada-1"])
    fork = saver.threads.fork
    everything = "SELECT thread_id FROM holdfast_threads ORDER BY 1"
    before = digest(saver, "ada-1"), digest(saver, "bob-1"), rows(saver, everything)
    for error, match, call in (
        (UnknownCheckpoint, old, lambda: fork("ada-1", "new", checkpoint_id=old)),
        (UnknownCheckpoint, "nothing", lambda: fork("ada-1", "new", checkpoint_id="nothing")),
        (UnknownCheckpoint, "no checkpoint ''", lambda: fork("ada-1", "new", checkpoint_id="")),
        (UnknownMessage, "was pruned", lambda: fork("ada-1", "new", message_id=said[0].id)),
        (UnknownMessage, "not one that was said", lambda: fork("ada-1", "new", message_id="nothing")),
        (UnknownMessage, "not one that was said", lambda: fork("ada-1", "new", message_id="\0")),
        (ThreadNotEmpty, "'bob-1' is not empty", lambda: fork("ada-1", "bob-1")),
        (ThreadNotEmpty, "'ada-1' is not empty", lambda: fork("ada-1", "ada-1")),
        (ThreadNotEmpty, "'bob-1' is not empty", lambda: saver.threads.copy("ada-1", "bob-1")),
        (UnknownThread, "'none'", lambda: fork("none", "new")),
        (ValueError, "Name one", lambda: fork("ada-1", checkpoint_id=old, message_id=said[0].id)),
        (ValueError, "thread_id", lambda: fork("ada-1", "x" * 2000)),
        (ValueError, "thread_id", lambda: saver.threads.copy("ada-1", "")),
    ):
        with pytest.raises(error, match=match) as refused:
            call()
        assert "'new'" not in str(refused.value), "whose thread it is about"
    assert (digest(saver, "ada-1"), digest(saver, "bob-1"), rows(saver, everything)) == before
    made = fork("ada-1")
    assert texts(saver, made.thread_id) == texts(saver), "under an id that is made up"
    assert_counted(saver)


def test_a_copy_is_in_the_index_with_all_that_was_said(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    meet(graph, "one", "two")
    graph.invoke({"messages": [("user", "mine")]}, of_run(user_id="grace"))
    saver.threads.restart("ada-1", by="Ada")
    source = saver.threads.get("ada-1")
    copy = saver.threads.copy("ada-1", "copy", user_id="ada")
    own = dict.fromkeys(("created_at", "updated_at", "thread_id", "origin_thread_id", "origin_checkpoint_id"))
    assert asdict(copy) | own == asdict(source) | own
    assert copy.created_at >= source.created_at
    assert (copy.origin_thread_id, copy.origin_checkpoint_id) == ("ada-1", source.checkpoint_id)
    assert listed(saver, "copy") == listed(saver, "ada-1")
    view = (
        "SELECT user_id, role, content, message_id FROM holdfast_transcript WHERE thread_id = :thread_id ORDER BY seq"
    )
    assert rows(saver, view, thread_id="copy") == rows(saver, view, thread_id="ada-1")
    assert events(saver, "copy") == events(saver)
    meet(graph, "one", thread_id="copy")
    assert transcript(saver, "copy")[-2:] == ["one", "You said: one"], "what was begun anew is so in the copy"
    assert_counted(saver)
