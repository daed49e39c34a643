"""Pruning a thread: what is needed stays, exactly, and the rest goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread, ThreadConflict
from tests.support import children
from tests.support.asking import Notes, after, count, state_of, team, waiting
from tests.support.delta_kit import delta_agent
from tests.support.dialects import WRITES
from tests.support.encryption_kit import encrypted
from tests.support.foreign import SCENARIOS, say, talker
from tests.support.kit import change, checkpoint, echo_graph, rows, texts, thread
from tests.support.records import seen, steps_back
from tests.support.shapes import exact
from tests.support.stock_kit import begin


@pytest.mark.sweep(every=16)
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_foreign_graph_is_in_the_same_state_after_its_thread_was_pruned(
    scenario: Callable[[Any], list[Any]], sqlite_url: str
) -> None:
    with open_checkpointer(sqlite_url) as saver:
        scenario(saver)
        newest = {
            item.config["configurable"]["checkpoint_ns"]: repr(
                (exact(item.checkpoint), item.metadata, exact(item.pending_writes))
            )
            for item in reversed(list(saver.list(thread())))
        }
        said = rows(saver, "SELECT * FROM holdfast_messages ORDER BY seq")
        graph = talker(saver)
        before = {**seen(graph.get_state(thread())), "parent": None}

        saver.prune(["ada-1"])

        left = list(saver.list(thread()))
        assert {item.config["configurable"]["checkpoint_ns"] for item in left} == {
            ns for ns in newest if ":" not in ns
        }, "every call of a subgraph is over"
        for item in left:
            ns = item.config["configurable"]["checkpoint_ns"]
            assert repr((exact(item.checkpoint), item.metadata, exact(item.pending_writes))) == newest[ns]
        assert {**seen(graph.get_state(thread())), "parent": None} == before
        assert rows(saver, "SELECT * FROM holdfast_messages ORDER BY seq") == said, "the transcript stays"


@pytest.mark.sweep
def test_a_pause_that_is_answered_in_part_is_pruned_and_the_rest_is_answered(saver: HoldfastSaver) -> None:
    graph = team(saver)
    plain, pruned = thread("plain"), thread("pruned")
    graph.invoke({"messages": [HumanMessage("first", id="h-0")]}, plain)
    graph.invoke(Command(resume=dict.fromkeys(waiting(graph, plain).values(), "0")), plain)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, plain)
    graph.invoke(Command(resume={waiting(graph, plain)["b"]: "yes"}), plain)
    saver.copy_thread("plain", "pruned")
    saver.prune(["pruned"])

    assert state_of(graph, pruned) == state_of(graph, plain)
    assert count(saver, "pruned", "") == 1
    assert count(saver, "pruned", "person:%") == 3, "the calls that wait, and the one that has answered, of this step"
    for name in "ac":
        for at in (plain, pruned):
            graph.invoke(Command(resume={waiting(graph, at)[name]: name.upper()}), at)
        assert after(graph, pruned) == after(graph, plain)
        saver.prune(["pruned"])
    assert count(saver, "pruned") == 1
    for at in (plain, pruned):
        graph.invoke({"messages": [HumanMessage("again", id="h-2")]}, at)
    assert after(graph, pruned) == after(graph, plain)


def with_memory(saver: Any) -> Any:
    """A graph with a subgraph that remembers its earlier calls."""
    inner = StateGraph(Notes)
    inner.add_node("add", lambda state: {"notes": [len(state["notes"]), interrupt("May I?")]})
    inner.add_edge(START, "add")
    builder = StateGraph(Notes)
    builder.add_node("child", inner.compile(checkpointer=True))
    builder.add_edge(START, "child")
    return builder.compile(checkpointer=saver)


@pytest.mark.sweep
def test_a_subgraph_with_a_memory_of_its_own_keeps_it(saver: HoldfastSaver) -> None:
    graph = with_memory(saver)
    plain, pruned = thread("plain"), thread("pruned")
    for turn in range(3):
        for at in (plain, pruned):
            graph.invoke({"messages": [HumanMessage("go", id=f"h-{turn}")], "notes": []}, at)
        saver.prune(["pruned"])
        assert after(graph, pruned) == after(graph, plain)
        for at in (plain, pruned):
            graph.invoke(Command(resume=f"yes {turn}"), at)
        saver.prune(["pruned"])
        assert after(graph, pruned) == after(graph, plain)
        assert (count(saver, "pruned", ""), count(saver, "pruned", "child")) == (1, 1)
    assert len(graph.get_state(pruned).values["notes"]) > 6


def test_forks_go_with_the_rest_and_nothing_is_left_that_nothing_refers_to(saver: HoldfastSaver, dialect: str) -> None:
    graph = talker(saver)
    for text in ("one", "two"):
        graph.invoke(say(text), thread())
    graph.invoke(say("other"), steps_back(graph, 4))
    graph.update_state(steps_back(graph, 6), say("left"), as_node="answer")
    graph.invoke(say("end"), thread())
    before = {**seen(graph.get_state(thread())), "parent": None}

    saver.prune(["ada-1"])

    assert {**seen(graph.get_state(thread())), "parent": None} == before
    assert count(saver, "ada-1") == 1
    if dialect == "postgres":
        [(kept,)] = rows(saver, "SELECT checkpoint -> 'channel_versions' FROM checkpoints")
        stored = rows(saver, "SELECT channel, version FROM checkpoint_blobs")
        assert stored
        for channel, version in stored:
            assert kept[channel] == version
    graph.invoke(say("on"), thread())
    assert len(list(graph.get_state_history(thread()))) == 5


@pytest.mark.sweep
def test_a_run_prunes_its_own_thread_at_every_step_and_goes_on(saver: HoldfastSaver) -> None:
    def step(state: Any, config: RunnableConfig) -> dict[str, Any]:
        if config["configurable"]["thread_id"] == "pruned":
            saver.prune(["pruned"])
        return {"messages": [AIMessage(f"after {len(state['messages'])}")], "notes": [len(state["notes"])]}

    inner = StateGraph(Notes)
    inner.add_node("one", step)
    inner.add_node("two", step)
    inner.add_edge(START, "one")
    inner.add_edge("one", "two")
    builder = StateGraph(Notes)
    builder.add_node("first", step)
    builder.add_node("own", inner.compile(checkpointer=True))
    builder.add_node("call", inner.compile())
    builder.add_node("also", step)
    builder.add_edge(START, "first")
    builder.add_edge("first", "own")
    builder.add_edge("first", "also")
    builder.add_edge("own", "call")
    graph: Any = builder.compile(checkpointer=saver)

    for durability in ("sync", "async", "exit"):
        for at in (thread("plain"), thread("pruned")):
            graph.invoke({"messages": [("user", "go")], "notes": []}, at, durability=durability)
        assert texts(saver, "pruned") == texts(saver, "plain")
        assert graph.get_state(thread("pruned")).values["notes"] == graph.get_state(thread("plain")).values["notes"]
    assert len(texts(saver, "pruned")) > 20


def test_a_run_that_was_sent_to_a_checkpoint_is_refused_once_that_is_pruned(saver: HoldfastSaver) -> None:
    graph = talker(saver)
    for text in ("one", "two"):
        graph.invoke(say(text), thread())
    old = saver.get_tuple(steps_back(graph, 4))
    assert old is not None
    saver.prune(["ada-1"])
    head = saver.get_tuple(thread())
    assert head is not None

    carried = checkpoint([HumanMessage("new")], other=["x" * 500])
    carried["channel_versions"]["other"] = "carried"
    with pytest.raises(ThreadConflict):
        saver.put(
            old.config, carried, {"source": "loop", "step": 9}, {"messages": carried["channel_versions"]["messages"]}
        )
    assert graph.get_state(thread()).config == head.config
    assert saver.get_tuple(old.config) is None
    graph.invoke(say("three"), thread())


def test_nothing_is_saved_on_what_is_left_of_pruned_checkpoints(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)
    graph.invoke({"messages": [("user", "one")], "notes": ["one"]}, thread())
    before = [state.parent_config for state in graph.get_state_history(thread())]
    saver.prune(["ada-1"])
    [state] = graph.get_state_history(thread())
    assert state.parent_config is not None
    assert state.parent_config not in before
    assert list(saver.list(state.parent_config)) == []
    with pytest.raises(ThreadConflict, match="which this one follows, was deleted"):
        graph.update_state(state.parent_config, {"notes": ["two"]}, as_node="work")
    assert graph.get_state(thread()).config == state.config


def test_a_checkpoint_of_a_subgraph_is_refused_when_what_it_is_built_on_was_deleted(saver: HoldfastSaver) -> None:
    graph = with_memory(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")], "notes": []}, thread())
    inner = saver.get_tuple(thread(checkpoint_ns="child"))
    assert inner is not None
    gone = {"configurable": {**inner.config["configurable"], "checkpoint_id": "gone"}}
    new = {**inner.checkpoint, "id": inner.checkpoint["id"][:-1] + "x"}
    leaning: Any = {"source": "loop", "step": 1, "counters_since_delta_snapshot": {"notes": [1, 1]}}
    with pytest.raises(ThreadConflict, match="gone, which this one follows, was deleted"):
        saver.put(gone, new, leaning, {})
    saver.put(inner.config, new, leaning, {})


def test_a_checkpoint_that_a_new_input_interrupted_is_kept_until_the_run_has_made_a_step(saver: HoldfastSaver) -> None:
    graph = talker(saver)
    graph.invoke(say("one"), thread())
    answered = graph.get_state(thread()).config["configurable"]["checkpoint_id"]
    graph.invoke(say("two"), thread(), interrupt_before=["answer"])  # as if it had been killed there

    saver.prune(["ada-1"])

    left = list(graph.get_state_history(thread()))
    assert [state.metadata["source"] for state in left] == ["loop", "input", "loop"]
    assert left[-1].config["configurable"]["checkpoint_id"] == answered
    graph.invoke(None, thread())
    saver.prune(["ada-1"])
    assert len(list(graph.get_state_history(thread()))) == 1


def test_a_conversation_that_a_stock_saver_began_is_pruned_and_goes_on(url: str) -> None:
    begin(url, "May I?", children.approval_graph)
    with open_checkpointer(url) as saver:
        graph = children.approval_graph(saver)
        before = {**seen(graph.get_state(thread())), "parent": None}
        saver.prune(["ada-1"])
        assert {**seen(graph.get_state(thread())), "parent": None} == before
        assert count(saver, "ada-1") == 1
        graph.invoke(Command(resume="yes"), thread())
        assert texts(saver) == ["May I?", "The person said yes."]


def test_a_sealed_thread_is_pruned_and_a_run_in_it_taken_back(url: str) -> None:
    with encrypted(url) as saver:
        graph = delta_agent(saver, 1000)
        for number, text in enumerate(("one", "ask two")):
            config: Any = {**thread(), "metadata": {"run_id": f"run-{number}"}}
            graph.invoke({"messages": [("user", text)], "notes": [text]}, config)
        paused = state_of(graph, thread())
        saver.prune(["ada-1"])
        assert state_of(graph, thread()) == paused
        graph.invoke(Command(resume="yes"), {**thread(), "metadata": {"run_id": "run-2"}})
        assert graph.get_state(thread()).next == ()
        saver.delete_for_runs(["run-2"])
        assert state_of(graph, thread()) == paused


def test_bad_arguments_are_clear_errors_and_nothing_is_pruned(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "one")]}, thread())
    before = count(saver, "ada-1")
    with pytest.raises(ValueError, match=r"'keep_all'.*Needed: 'keep_latest' or 'delete'"):
        saver.prune(["ada-1"], strategy="keep_all")
    with pytest.raises(TypeError, match=r"list of ids.*\['ada-1'\]"):
        saver.prune("ada-1")
    with pytest.raises(TypeError, match=r"list of ids.*\['run-1'\]"):
        saver.delete_for_runs("run-1")
    assert count(saver, "ada-1") == before


@pytest.mark.parametrize("strategy", ["delete", "delete_all"])
def test_delete_leaves_nothing_of_a_thread(saver: HoldfastSaver, strategy: str) -> None:
    for thread_id in ("ada-1", "bob-1", "carol-1"):
        echo_graph(saver).invoke({"messages": [("user", "one")]}, thread(thread_id))
    saver.prune(["ada-1", "unknown", "carol-1"], strategy=strategy)
    assert {thread_id for (thread_id,) in rows(saver, "SELECT thread_id FROM holdfast_messages")} == {"bob-1"}
    assert texts(saver, "bob-1") == ["one", "You said: one"]
    assert texts(saver, "ada-1") == []


def test_a_thread_that_cannot_be_read_stays_as_it_is_and_those_before_it_are_pruned(
    saver: HoldfastSaver, dialect: str
) -> None:
    graph = delta_agent(saver, 1000)
    for thread_id in ("ada-1", "bob-1", "carol-1"):
        graph.invoke({"messages": [("user", "one")]}, thread(thread_id))
        graph.invoke({"messages": [("user", "two")]}, thread(thread_id))
    table, column = WRITES[dialect]
    change(
        saver,
        f"UPDATE {table} SET {column} = substr({column}, 1, 9)"
        " WHERE thread_id = 'bob-1' AND channel = 'messages' AND type LIKE 'holdfast%'",
    )
    before = {name: count(saver, name) for name in ("ada-1", "bob-1", "carol-1")}

    with pytest.raises(DamagedThread, match="'bob-1'"):
        saver.prune(["ada-1", "bob-1", "carol-1"])

    assert count(saver, "ada-1") == 2
    assert {name: count(saver, name) for name in ("bob-1", "carol-1")} == {
        name: before[name] for name in ("bob-1", "carol-1")
    }
