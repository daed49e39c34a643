"""Two writers on one thread never lose a message: who was not refused is in the head."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict, UnknownCheckpoint
from tests.support.children import Child, barrier, send_all, send_until_it_is_taken
from tests.support.kit import checkpoint, echo_graph, elsewhere, put, rows, texts, thread
from tests.support.sweep import Sweep


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


SAID = "SELECT count(*) FROM holdfast_messages WHERE checkpoint_id IS NOT NULL"
EVERYTHING = "SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM holdfast_messages)"


def say(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def begin(saver: HoldfastSaver, thread_is: str) -> None:
    if thread_is == "old":
        for turn in range(3):
            echo_graph(saver).invoke(say(f"before {turn}"), thread())


def assert_nothing_is_lost(saver: HoldfastSaver, answers: list[list[str]], thread_is: str, writers: int) -> None:
    """The head has each message that was acknowledged, once, and nothing that was refused."""
    acknowledged = [id_ for *ids, _ in answers for id_ in ids]
    assert len(acknowledged) == 2 * writers
    found = saver.get_tuple(thread())
    assert found is not None
    before = 6 if thread_is == "old" else 0
    messages = found.checkpoint["channel_values"]["messages"]
    assert sorted(message.id for message in messages[before:]) == sorted(acknowledged)
    assert [m.text for m in messages[:before:2]] == [f"before {turn}" for turn in range(before // 2)]
    assert sum(int(refused) for *_, refused in answers) >= writers - 1, (
        "all loaded the same head, so one could be first"
    )


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("thread_is", ["new", "old"])
def test_writers_in_threads_lose_nothing_that_was_acknowledged(
    saver: HoldfastSaver, thread_is: str, sweep: Sweep
) -> None:
    begin(saver, thread_is)
    writers = sweep(8, 20)
    gate = Barrier(writers, timeout=30)

    with ThreadPoolExecutor(writers) as pool:
        answers = list(pool.map(lambda n: send_until_it_is_taken(saver, f"word-{n}", gate.wait), range(writers)))

    assert_nothing_is_lost(saver, answers, thread_is, writers)


@pytest.mark.sweep
def test_writers_in_processes_lose_nothing_that_was_acknowledged(shared_url: str, sweep: Sweep) -> None:
    with open_checkpointer(shared_url) as saver:
        writers = sweep(5, 20)
        gate = barrier(writers)
        children = [Child(send_all, shared_url, f"word-{n}", gate) for n in range(writers)]
        answers = [child.result() for child in children]

        # It was new for the first word of each, and old for the second.
        assert_nothing_is_lost(saver, answers, "new", writers)


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="sqlite")
def test_whole_turns_that_race_lose_nothing_that_was_acknowledged(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    gate = Barrier(4, timeout=30)

    def talk(number: int) -> str:
        gate.wait()
        for attempt in count():
            message = HumanMessage(f"word {number}", id=f"{number}.{attempt}")
            try:
                graph.invoke({"messages": [message]}, thread(), durability="sync")
            except ThreadConflict:
                continue
            return f"{number}.{attempt}"
        raise AssertionError

    with ThreadPoolExecutor(4) as pool:
        acknowledged = list(pool.map(talk, range(4)))

    found = saver.get_tuple(thread())
    assert found is not None
    ids = [message.id for message in found.checkpoint["channel_values"]["messages"]]
    assert all(ids.count(id_) == 1 for id_ in acknowledged)
    for number in range(4):  # a turn that lost may have left its question, to be answered with the next
        assert f"You said: word {number}" in texts(saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("thread_is", ["new", "old"])
def test_a_run_is_refused_when_another_writer_saved_meanwhile(
    saver: HoldfastSaver, other: HoldfastSaver, thread_is: str
) -> None:
    begin(saver, thread_is)
    during: list[Any] = []

    def reply(message: Any) -> str:
        if not during:
            during.append(None)
            elsewhere(lambda: echo_graph(other).invoke(say("theirs"), thread()))
            during.append(rows(saver, SAID))
        return f"You said: {message.text}"

    with pytest.raises(ThreadConflict, match="'ada-1'") as refused:
        echo_graph(saver, reply).invoke(say("mine"), thread(), durability="exit")

    assert refused.value.thread_id == "ada-1"
    assert texts(saver)[-2:] == ["theirs", "You said: theirs"]
    assert "mine" not in texts(saver)
    assert rows(saver, SAID) == during[1], "nothing of it is said"


@pytest.mark.sweep(on="memory")
def test_a_put_that_is_refused_leaves_the_thread_and_what_was_said_as_they_were(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    begin(saver, "old")
    loaded = saver.get_tuple(thread())
    assert loaded is not None
    echo_graph(other).invoke(say("theirs"), thread())
    unchanged = (
        "SELECT generation, head, unfinished, messages, title, updated_at FROM holdfast_threads",
        "SELECT * FROM holdfast_messages WHERE checkpoint_id IS NOT NULL",
        "SELECT * FROM checkpoints WHERE checkpoint_id <> :branch",
    )
    before = [sorted(map(repr, rows(saver, sql, branch=""))) for sql in unchanged]

    with pytest.raises(ThreadConflict, match="changed by another run") as refused:
        put(saver, loaded.config, checkpoint([*loaded.checkpoint["channel_values"]["messages"], HumanMessage("mine")]))

    assert refused.value.branch is not None
    branch = refused.value.branch["configurable"]["checkpoint_id"]
    assert [sorted(map(repr, rows(saver, sql, branch=branch))) for sql in unchanged] == before


def test_the_second_of_two_runs_that_found_an_empty_thread_is_refused(saver: HoldfastSaver) -> None:
    mine, theirs = thread(checkpoint_ns=""), thread(checkpoint_ns="")
    assert saver.get_tuple(mine) is None
    assert saver.get_tuple(theirs) is None

    put(saver, theirs, checkpoint([HumanMessage("theirs")]))
    with pytest.raises(ThreadConflict, match=r"was at checkpoint \(none\)"):
        put(saver, mine, checkpoint([HumanMessage("mine")]))

    assert texts(saver) == ["theirs"]


@pytest.mark.sweep(on="memory")
def test_a_run_that_addressed_an_old_checkpoint_is_free(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke(say("one"), thread())
    old = graph.get_state(thread()).config
    plain = {"configurable": {**old["configurable"], "thread_id": "ada-1"}}
    graph.invoke(say("two"), thread())

    def reply(message: Any) -> str:
        elsewhere(lambda: echo_graph(other).invoke(say("theirs"), thread()))
        return f"You said: {message.text}"

    echo_graph(saver, reply).invoke(say("fork"), plain, durability="sync")

    assert texts(saver) == ["one", "You said: one", "fork", "You said: fork"]


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="postgres")
def test_parallel_runs_of_one_subgraph_may_share_its_namespace(saver: HoldfastSaver) -> None:
    inner = StateGraph(MessagesState)
    inner.add_node("say", lambda state: {"messages": [AIMessage(f"inner {state['messages'][-1].text}")]})
    inner.add_edge(START, "say")
    outer = StateGraph(MessagesState)
    outer.add_node("sub", inner.compile(checkpointer=True))
    outer.add_conditional_edges(START, lambda _: [Send("sub", say(f"job {n}")) for n in range(4)], ["sub"])
    graph = outer.compile(checkpointer=saver)

    graph.invoke(say("go"), thread())
    graph.invoke(say("again"), thread())

    assert texts(saver).count("again") == 1
    assert {f"inner job {n}" for n in range(4)} <= set(texts(saver))
    assert {ns for (ns,) in rows(saver, "SELECT DISTINCT checkpoint_ns FROM checkpoints")} == {"", "sub"}


def test_a_subgraphs_namespace_is_not_guarded(saver: HoldfastSaver) -> None:
    first = put(saver, thread(checkpoint_ns="sub"), checkpoint([HumanMessage("one")]))
    loaded = [saver.get_tuple(thread(checkpoint_ns="sub")) for _ in range(2)]

    for found in loaded:
        assert found is not None
        assert found.config["configurable"]["checkpoint_id"] == first["configurable"]["checkpoint_id"]
        put(saver, found.config, checkpoint([HumanMessage("two")]))

    assert len(list(saver.list(thread(checkpoint_ns="sub")))) == 3


@pytest.mark.sweep(on="memory")
def test_a_thread_that_is_deleted_while_a_run_goes_on_refuses_it(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    begin(saver, "old")
    loaded = saver.get_tuple(thread())
    assert loaded is not None
    other.delete_thread("ada-1")

    with pytest.raises(ThreadConflict, match=r"'ada-1'.*deleted"):
        saver.put_writes(loaded.config, [("messages", [AIMessage("late")])], "task-1")
    with pytest.raises(ThreadConflict, match=r"'ada-1'.*deleted"):
        put(saver, loaded.config, checkpoint([HumanMessage("late")]))

    assert rows(saver, EVERYTHING) == [(0, 0)]


@pytest.mark.sweep(on="memory")
def test_an_id_can_be_used_again_by_a_new_run_and_not_by_one_of_the_deleted_thread(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    begin(saver, "old")

    def reply(_: Any) -> str:
        other.delete_thread("ada-1")
        elsewhere(lambda: echo_graph(other).invoke(say("new life"), thread()))
        return "late"

    with pytest.raises(ThreadConflict, match="deleted"):
        echo_graph(saver, reply).invoke(say("old life"), thread(), durability="sync")

    assert texts(saver) == ["new life", "You said: new life"]
    echo_graph(saver).invoke(say("on"), thread())
    assert texts(other) == ["new life", "You said: new life", "on", "You said: on"]
    assert {text for (text,) in rows(saver, "SELECT content FROM holdfast_messages")} == set(texts(saver))


def test_rows_remembered_of_a_deleted_thread_are_never_taken_for_those_of_the_new_one(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    put(saver, thread(), checkpoint([HumanMessage(f"secret {n}", id=f"s{n}") for n in range(5)]))
    found = saver.get_tuple(thread())
    assert found is not None
    remembered = found.checkpoint["channel_values"]["messages"]
    other.delete_thread("ada-1")
    put(other, thread(), checkpoint([HumanMessage(f"someone else's {n}", id=f"e{n}") for n in range(5)]))

    put(saver, thread(), checkpoint([*remembered, HumanMessage("more", id="m")]))

    assert texts(saver) == [*(f"secret {n}" for n in range(5)), "more"]
    assert texts(other) == texts(saver)


def test_a_write_remembered_of_a_deleted_thread_is_saved_anew(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    message = HumanMessage("mine", id="m")
    put(saver, thread(), checkpoint([message]))
    other.delete_thread("ada-1")
    config = put(other, thread(checkpoint_ns=""), checkpoint([HumanMessage("theirs", id="t")]))

    saver.put_writes(config, [("messages", [message])], "task-1")

    found = other.get_tuple(thread())
    assert found is not None
    assert [[m.text for m in value] for _, _, value in found.pending_writes or []] == [["mine"]]


def test_a_run_that_is_sent_to_a_checkpoint_that_is_not_there_is_refused(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [("user", "one")]}, thread())
    before = texts(saver)
    with pytest.raises(UnknownCheckpoint, match=r"Thread 'ada-1' has no checkpoint '1f000000-"):
        graph.invoke({"messages": [("user", "two")]}, thread(checkpoint_id="1f000000-0000-6000-8000-000000000000"))
    assert texts(saver) == before
