"""The database goes away and comes back: what was cut off is repeated and is there once, or fails clearly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict, Unreachable
from holdfast.checkpoints.sql import Statement
from tests.support.kit import checkpoint, echo_graph, forget, put, rows, texts, thread
from tests.support.outages import Once, Wire, begin, delete, head, lease, put_more, write
from tests.support.servers import Server
from tests.support.sweep import Sweep

Work = Callable[[HoldfastSaver, str], object]


@pytest.fixture
def saver(line: tuple[Wire, str]) -> Iterator[HoldfastSaver]:
    with open_checkpointer(line[1]) as saver:
        yield saver


# --- units of work, each in a thread of its own


def put_input(saver: HoldfastSaver, name: str) -> None:
    put(saver, thread(name), checkpoint([], __start__={"messages": [HumanMessage("yes"), HumanMessage("yes")]}))


def interrupt(saver: HoldfastSaver, name: str) -> None:
    found = head(saver, name)
    assert found is not None
    saver.put_writes(found.config, [("__interrupt__", [HumanMessage("yes")])], "task-1")


def load(saver: HoldfastSaver, name: str) -> list[Any]:
    return [saver.get_tuple(thread(name)), saver.get_tuple(thread("unknown")), *saver.list(thread(name))]


def history(saver: HoldfastSaver, name: str) -> object:
    return saver.get_delta_channel_history(config=thread(name), channels=["messages"])


def prune(saver: HoldfastSaver, name: str) -> None:
    saver.prune([name])


def take_back(saver: HoldfastSaver, name: str) -> None:
    saver.delete_for_runs(["run-1"])


WORK: list[Work] = [put_more, put_input, write, interrupt, load, history, lease, prune, delete, take_back]
COLUMNS = {
    "checkpoints": "metadata, parent_checkpoint_id IS NULL, checkpoint -> 'channel_values'",
    "checkpoint_blobs": "channel, type, blob",
    "checkpoint_writes": "task_id, idx, channel, type, blob",
    "holdfast_messages": "seq, message_id, ns, channel, checkpoint_id IS NULL, content",
    "holdfast_threads": "next_seq, deleted_at IS NULL",
    "holdfast_run_writes": "run_id, task_id, idx, channel",
    "holdfast_leases": "ticket",
}


def everything(saver: HoldfastSaver, name: str) -> list[list[Any]]:
    """All that is stored of a thread, but for times and random ids."""
    calls = [
        (Statement("test", f"SELECT {columns} FROM {table} WHERE thread_id = :thread_id"), {"thread_id": name})
        for table, columns in COLUMNS.items()
    ]
    with saver._backend.reading() as transaction:
        return [sorted(map(repr, found)) for found in transaction.run(calls)]


def prepare(saver: HoldfastSaver, name: str, work: Work) -> None:
    if work is not put_input:
        begin(saver, name)
    if work in {prune, take_back}:
        put_more(saver, name)
        write(saver, name)


@pytest.mark.sweep(every=7)
@pytest.mark.parametrize("work", WORK)
def test_work_whose_connection_breaks_before_any_statement_is_done_once(
    saver: HoldfastSaver, postgres_url_with_tables: str, work: Work, sweep: Sweep
) -> None:
    with psycopg.connect(postgres_url_with_tables, autocommit=True) as admin:

        def terminate() -> None:
            others = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            while admin.execute(f"SELECT 1 FROM pg_stat_activity WHERE {others}").fetchall():
                pass  # its own way of waiting takes a tenth of a second

        statements: list[str] = []
        prepare(saver, "t", work)
        saver._backend.on_statement = statements.append
        work(saver, "t")
        saver._backend.on_statement = None
        expected = everything(saver, "t")
        assert {"begin", "commit"} <= set(statements)

        for name in sorted(set(statements))[:: sweep(2, 1)]:
            if work is take_back:  # all that the run has done, in whatever thread
                saver.delete_thread("t")
            prepare(saver, name, work)
            saver._backend.on_statement = Once(name, terminate)
            work(saver, name)
            saver._backend.on_statement = None
            assert everything(saver, name) == expected, f"terminated before {name}"


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("work", WORK)
def test_work_whose_commit_is_not_confirmed_is_done_once(wire: Wire, saver: HoldfastSaver, work: Work) -> None:
    prepare(saver, "t", work)
    prepare(saver, "u", work)
    if work is take_back:  # both at once
        saver.delete_thread("u")
    work(saver, "t")

    wire.lose_commits = 3
    work(saver, "t" if work is take_back else "u")
    wire.lose_commits = 0

    if work is not take_back:
        assert everything(saver, "u") == everything(saver, "t")


def test_a_copy_whose_commit_nobody_heard_of_is_an_error_that_says_so(wire: Wire, saver: HoldfastSaver) -> None:
    begin(saver, "ada-1")
    wire.lose_commits = 1
    with pytest.raises(Unreachable, match="It is unknown whether this step was saved"):
        saver.copy_thread("ada-1", "ada-2")
    assert texts(saver, "ada-2") == ["one"]

    saver._backend.on_statement = Once("copy_thread", wire.cut)  # now it is known
    saver.copy_thread("ada-1", "ada-3")
    assert texts(saver, "ada-3") == ["one"]


# --- what others do meanwhile


def put_on_head(saver: HoldfastSaver, message: HumanMessage) -> None:
    found = head(saver, "t")
    assert found is not None
    put(saver, found.config, checkpoint([message]))


def test_a_checkpoint_that_others_went_on_from_is_not_refused_although_it_was_saved(
    wire: Wire, saver: HoldfastSaver, uncut: HoldfastSaver
) -> None:
    def go_on() -> None:
        put_on_head(uncut, HumanMessage("theirs"))

    begin(saver, "t")
    mine = head(saver, "t")
    assert mine is not None
    saver._backend.on_statement = Once("begin", go_on, skip=1)
    wire.lose_commits = 1

    config = put(saver, mine.config, checkpoint([AIMessage("mine")]))

    assert texts(uncut, "t") == ["theirs"]
    assert [found.checkpoint["channel_values"]["messages"][0].text for found in uncut.list(thread("t"))] == [
        "theirs",
        "mine",
        "one",
    ]
    with pytest.raises(ThreadConflict):
        put(saver, config, checkpoint([]))


def test_a_message_that_got_its_id_meanwhile_is_not_said_twice(
    wire: Wire, saver: HoldfastSaver, uncut: HoldfastSaver
) -> None:
    def claim() -> None:
        put_on_head(uncut, HumanMessage("yes", id="m-1"))

    saver._backend.on_statement = Once("begin", claim, skip=1)
    wire.lose_commits = 1
    put(saver, thread("t"), checkpoint([HumanMessage("yes")]))
    assert rows(uncut, "SELECT message_id, content FROM holdfast_messages") == [("m-1", "yes")]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("is_sent", [False, True])
def test_nothing_is_saved_in_a_thread_that_was_deleted_meanwhile(
    wire: Wire, saver: HoldfastSaver, uncut: HoldfastSaver, lost: int, is_sent: bool
) -> None:
    begin(saver, "t")
    found = head(saver, "t")
    assert found is not None
    config = found.config
    if is_sent:  # to an older checkpoint, by a process that has not loaded the thread
        config = thread("t", checkpoint_id=found.checkpoint["id"])
        forget(saver)
    saver._backend.on_statement = Once("begin", lambda: uncut.delete_thread("t"), skip=1)
    if lost:
        wire.lose_commits = 1
    else:
        hook = saver._backend.on_statement
        cut = Once("commit", wire.cut)
        saver._backend.on_statement = lambda name: (hook(name), cut(name))[0]
    with pytest.raises(ThreadConflict, match="deleted"):
        put(saver, config, checkpoint([HumanMessage("late", id="late")]))
    assert head(uncut, "t") is None
    assert rows(uncut, "SELECT count(*) FROM holdfast_messages") == [(0,)]


def test_a_repeated_save_stores_the_message_as_it_was_put(wire: Wire, saver: HoldfastSaver) -> None:
    said = HumanMessage("before", id="m-1")
    saver._backend.on_statement = Once("commit", lambda: (setattr(said, "content", "after"), wire.cut()))
    put(saver, thread("t"), checkpoint([said]))
    saver._backend.on_statement = None
    assert texts(saver, "t") == ["before"]
    put(saver, thread("u"), checkpoint([said]))
    assert texts(saver, "u") == ["after"]


# --- a real server that really restarts


def talking(saver: HoldfastSaver, server: Server) -> Any:
    """A graph whose nodes say something, the first after the server has restarted."""

    def say(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) == 1:
            server.restart()
        return {"messages": [AIMessage(f"{len(state['messages'])}")]}

    builder = StateGraph(MessagesState)
    for name in ("first", "second"):
        builder.add_node(name, say)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder.compile(checkpointer=saver)


@pytest.mark.sweep
def test_runs_go_on_while_their_server_restarts_and_restarts(own_server: Server) -> None:
    with open_checkpointer(own_server.database("restarts")) as saver, ThreadPoolExecutor(2) as threads:
        going, stop = Event(), Event()

        def load(number: int) -> int:
            turns = 0
            while not stop.is_set():
                with saver.lease(f"t{number}"):
                    echo_graph(saver).invoke({"messages": [("user", f"{turns}")]}, thread(f"t{number}"))
                turns += 1
                going.set()
            return turns

        loads = [threads.submit(load, number) for number in range(2)]
        assert going.wait(20)
        graph = talking(saver, own_server)
        said = {"messages": [HumanMessage("hello", id="m-1")]}
        assert len(graph.invoke(said, thread("sync"), durability="sync")["messages"]) == 3
        assert len(asyncio.run(graph.ainvoke(said, thread("async"), durability="async"))["messages"]) == 3
        own_server.restart()
        stop.set()
        turns = [load.result(30) for load in loads]

        assert texts(saver, "sync") == texts(saver, "async") == ["hello", "1", "2"]
        for number, count in enumerate(turns):
            expected = [text for turn in range(count) for text in (f"{turn}", f"You said: {turn}")]
            assert texts(saver, f"t{number}") == expected
            assert rows(saver, "SELECT count(*) FROM holdfast_messages WHERE thread_id = :t", t=f"t{number}") == [
                (2 * count,)
            ]
        assert len(saver._backend._pool) <= 10  # type: ignore[attr-defined]
