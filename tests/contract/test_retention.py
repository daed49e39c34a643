"""Pruning and copying a thread: what is needed stays, exactly, and the rest goes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt

from checkpoints import DamagedThread, HoldfastSaver, NotStorable, ThreadConflict, ThreadNotEmpty, open_checkpointer
from tests.contract import children
from tests.contract.foreign import SCENARIOS, say, talker
from tests.contract.kit import change, checkpoint, echo_graph, put, rows, texts, thread
from tests.contract.records import seen, steps_back
from tests.contract.test_delta import agent
from tests.contract.test_sealing import mirrored
from tests.contract.test_stock import begin
from tests.shapes import exact


class Notes(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[Any], operator.add]


def team(saver: Any) -> Any:
    """A graph that asks three people at once, each by a subgraph."""

    def think(state: Any) -> dict[str, Any]:
        return {"notes": [f"{state['name']} thinks of {len(state.get('notes', []))}"]}

    def ask(state: Any) -> dict[str, Any]:
        said = interrupt({"to": state["name"]})
        return {"messages": [AIMessage(f"{state['name']}: {said}", id=f"{state['name']}-{said}")], "notes": [said]}

    class Person(Notes):
        name: str

    inner = StateGraph(Person)
    inner.add_node("think", think)
    inner.add_node("ask", ask)
    inner.add_edge(START, "think")
    inner.add_edge("think", "ask")
    person = inner.compile()
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda state: {"notes": [f"plan {len(state['messages'])}"]})
    builder.add_node("person", person)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda _: [Send("person", {"name": name, "messages": [], "notes": []}) for name in "abc"], ["person"]
    )
    return builder.compile(checkpointer=saver)


def waiting(graph: Any, at: Any) -> dict[str, str]:
    """Who is asked, by interrupt."""
    return {pause.value["to"]: pause.id for pause in graph.get_state(at).interrupts}


def state_of(graph: Any, at: Any) -> Any:
    """All that a state says, with those of subgraphs, but not what was before."""

    def alone(found: Any) -> Any:
        if not isinstance(found, dict) or "parent" not in found:
            return found
        return {**found, "parent": None, "tasks": [(*task, alone(inner)) for *task, inner in found["tasks"]]}

    return alone(seen(graph.get_state(at, subgraphs=True)))


def after(graph: Any, at: Any) -> Any:
    """A state as two threads have it that were the same some steps ago."""
    found = graph.get_state(at)
    return exact(found.values), found.next, sorted(str(pause.value) for pause in found.interrupts)


def count(saver: HoldfastSaver, thread_id: str, ns: str = "%", table: str = "checkpoints") -> int:
    where = "thread_id = :thread_id AND checkpoint_ns LIKE :ns"
    return int(rows(saver, f"SELECT count(*) FROM {table} WHERE {where}", thread_id=thread_id, ns=ns)[0][0])


# --- pruning


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


def test_forks_go_with_the_rest_and_nothing_is_left_that_nothing_refers_to(saver: HoldfastSaver) -> None:
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
    if "postgres" in str(saver._backend):
        [(kept,)] = rows(saver, "SELECT checkpoint -> 'channel_versions' FROM checkpoints")
        for channel, version in rows(saver, "SELECT channel, version FROM checkpoint_blobs"):
            assert kept[channel] == version
    graph.invoke(say("on"), thread())
    assert len(list(graph.get_state_history(thread()))) == 5


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
    graph = agent(saver, 1000)
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


def test_what_a_begun_run_has_cut_off_stays_until_the_run_has_made_a_step(saver: HoldfastSaver) -> None:
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


def test_a_conversation_that_a_stock_saver_began_is_pruned_and_goes_on(shared_url: str) -> None:
    begin(shared_url, "May I?", children.approval_graph)
    with open_checkpointer(shared_url) as saver:
        graph = children.approval_graph(saver)
        before = {**seen(graph.get_state(thread())), "parent": None}
        saver.prune(["ada-1"])
        assert {**seen(graph.get_state(thread())), "parent": None} == before
        assert count(saver, "ada-1") == 1
        graph.invoke(Command(resume="yes"), thread())
        assert texts(saver) == ["May I?", "The person said yes."]


def test_a_sealed_thread_is_pruned_and_a_run_in_it_taken_back(url: str) -> None:
    saver, _ = mirrored(url)
    with saver:
        graph = agent(saver, 1000)
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
        with pytest.raises(NotStorable, match="'ada-1' is encrypted"):
            saver.copy_thread("ada-1", "copy")


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
    saver.prune(["ada-1", "nobody", "carol-1"], strategy=strategy)
    assert {thread_id for (thread_id,) in rows(saver, "SELECT thread_id FROM holdfast_messages")} == {"bob-1"}
    assert texts(saver, "bob-1") == ["one", "You said: one"]
    assert texts(saver, "ada-1") == []


def test_a_thread_that_cannot_be_read_stays_as_it_is_and_those_before_it_are_pruned(saver: HoldfastSaver) -> None:
    graph = agent(saver, 1000)
    for thread_id in ("ada-1", "bob-1", "carol-1"):
        graph.invoke({"messages": [("user", "one")]}, thread(thread_id))
        graph.invoke({"messages": [("user", "two")]}, thread(thread_id))
    table = "checkpoint_writes" if "postgres" in str(saver._backend) else "writes"
    column = "blob" if "postgres" in str(saver._backend) else "value"
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


def test_a_writer_loses_nothing_while_another_prunes(shared_url: str) -> None:
    with open_checkpointer(shared_url) as writer, open_checkpointer(shared_url) as pruner:
        graph = agent(writer, 1000)
        done: list[bool] = []

        def prune() -> int:
            rounds = 0
            while not done:
                pruner.prune(["ada-1", "bob-1"])
                rounds += 1
            return rounds

        with ThreadPoolExecutor(1) as pool:
            pruning = pool.submit(prune)
            try:
                for turn in range(6):
                    said = {"messages": [HumanMessage(f"{turn}", id=f"h-{turn}")], "notes": [turn]}
                    graph.invoke(said, thread(), durability="async" if turn % 2 else "sync")
                    echo_graph(writer).invoke({"messages": [("user", f"{turn}")]}, thread("bob-1"))
            finally:
                done.append(True)
            assert pruning.result() > 1
        assert [m.text for m in graph.get_state(thread()).values["messages"] if isinstance(m, HumanMessage)] == [
            f"{turn}" for turn in range(6)
        ]
        assert [n for n in graph.get_state(thread()).values["notes"] if isinstance(n, int)] == [*range(6)]
        assert texts(writer, "bob-1")[::2] == [f"{turn}" for turn in range(6)]


# --- copying


def listed(saver: HoldfastSaver, thread_id: str) -> list[Any]:
    """Everything that can be read of a thread, but for its name."""
    found = []
    for item in saver.list(thread(thread_id)):
        places = [{**c["configurable"], "thread_id": None} for c in (item.config, item.parent_config) if c]
        found.append((exact(item.checkpoint), item.metadata, places, exact(item.pending_writes)))
    return found


def test_a_copy_has_everything_and_goes_its_own_way(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, thread())
    graph.invoke(Command(resume={waiting(graph, thread())["b"]: "yes"}), thread())
    original = listed(saver, "ada-1")

    saver.copy_thread("ada-1", "copy")

    assert listed(saver, "copy") == original
    assert state_of(graph, thread("copy")) == state_of(graph, thread())
    assert waiting(graph, thread("copy")) == waiting(graph, thread())
    assert rows(saver, "SELECT DISTINCT origin_thread_id FROM holdfast_messages WHERE thread_id = 'copy'") == [
        ("ada-1",)
    ]
    assert (
        rows(saver, "SELECT seq, content FROM holdfast_messages WHERE thread_id = 'copy' AND seq <> origin_seq") == []
    )
    for name in "ac":
        graph.invoke(Command(resume={waiting(graph, thread("copy"))[name]: "no"}), thread("copy"))
    assert listed(saver, "ada-1") == original
    saver.delete_thread("ada-1")
    graph.invoke({"messages": [HumanMessage("alone", id="h-2")]}, thread("copy"))
    assert sorted(waiting(graph, thread("copy"))) == ["a", "b", "c"]


def test_a_copy_into_a_thread_that_is_not_empty_is_refused(saver: HoldfastSaver) -> None:
    for thread_id in ("ada-1", "bob-1"):
        echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))
    before = listed(saver, "bob-1")
    for target in ("bob-1", "ada-1"):
        with pytest.raises(ThreadNotEmpty, match=f"'{target}' is not empty.*not in use"):
            saver.copy_thread("ada-1", target)
    assert listed(saver, "bob-1") == before
    saver.copy_thread("nobody", "bob-1")
    saver.copy_thread("nobody", "new")
    assert listed(saver, "bob-1") == before
    assert rows(saver, "SELECT 1 FROM holdfast_threads WHERE thread_id IN ('new', 'nobody')") == []


def test_a_deleted_id_can_be_copied_into_and_those_who_knew_it_are_refused(saver: HoldfastSaver) -> None:
    for thread_id in ("ada-1", "bob-1"):
        echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))
    late = saver.get_tuple(thread("bob-1"))
    empty = thread("new", checkpoint_ns="")
    saver.get_tuple(empty)
    assert late is not None
    saver.delete_thread("bob-1")
    for target in ("bob-1", "new"):
        saver.copy_thread("ada-1", target)
    for config in (late.config, empty):
        with pytest.raises(ThreadConflict):
            put(saver, config, checkpoint([HumanMessage("late")]))
    for target in ("bob-1", "new"):
        echo_graph(saver).invoke({"messages": [("user", "on")]}, thread(target))
        assert texts(saver, target) == ["ada-1", "You said: ada-1", "on", "You said: on"]


def test_copies_in_opposite_directions_do_not_wait_for_each_other(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver, ThreadPoolExecutor(8) as pool:
        for thread_id in ("ada-1", "bob-1"):
            echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))

        def copy(pair: tuple[str, str]) -> None:
            with pytest.raises(ThreadNotEmpty):
                saver.copy_thread(*pair)

        list(pool.map(copy, [("ada-1", "bob-1"), ("bob-1", "ada-1")] * 20))


# --- killed


def prune_it(saver: HoldfastSaver) -> None:
    saver.prune(["ada-1"])


def copy_it(saver: HoldfastSaver) -> None:
    saver.copy_thread("ada-1", "copy")


def take_it_back(saver: HoldfastSaver) -> None:
    saver.delete_for_runs(["run-2"])


@pytest.mark.parametrize("work", [prune_it, copy_it, take_it_back])
def test_work_that_is_killed_between_any_two_statements_leaves_all_as_it_was(
    shared_url: str, work: Callable[[HoldfastSaver], None]
) -> None:
    # Of a killed process nothing waits for the disk.
    database = f"{shared_url}?synchronous=normal" if shared_url.startswith("sqlite") else shared_url
    with open_checkpointer(database) as saver:
        graph = agent(saver, 1000)
        config: Any = {**thread(), "metadata": {"run_id": "run-1"}}
        graph.invoke({"messages": [("user", "ask one")], "notes": ["one"]}, config)
        graph.invoke(Command(resume="yes"), {**config, "metadata": {"run_id": "run-2"}})
        graph.update_state(thread(), {"notes": ["two"]}, as_node="work")
        graph.update_state(thread(), {"notes": ["three"]}, as_node="work")
        state = exact(graph.get_state(thread()).values)
        before = everything(saver)
        names: Any = None
        # What was not committed is gone for one and the same reason, so every point of one is enough.
        for last in range(0, 100, 1 if work is prune_it and database.startswith("postgres") else 4):
            names = children.run(children.die_in_work, database, work, last)
            if names != -SIGKILL:
                break
            assert everything(saver) == before, f"killed before statement {last}"
        assert {"begin", "commit"} <= set(names)
        assert len(names) > 8
        assert everything(saver) != before
        assert exact(graph.get_state(thread()).values) == state


def everything(saver: HoldfastSaver) -> dict[str, list[Any]]:
    """All rows of all tables."""
    names = ["checkpoints", "holdfast_messages", "holdfast_threads", "holdfast_run_writes"]
    names += ["checkpoint_blobs", "checkpoint_writes"] if "postgres" in str(saver._backend) else ["writes"]
    return {name: sorted(map(repr, rows(saver, f"SELECT * FROM {name}"))) for name in names}
