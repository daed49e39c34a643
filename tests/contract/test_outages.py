"""The database goes away and comes back: what was cut off is repeated and is there once, or fails clearly."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import START, MessagesState, StateGraph

from checkpoints import DatabaseUnavailable, HoldfastSaver, ThreadConflict, open_checkpointer
from checkpoints.errors import Unreachable
from checkpoints.patience import persist
from checkpoints.sql import Statement
from tests.contract.children import put_after
from tests.contract.kit import checkpoint, echo_graph, forget, put, rows, texts, thread
from tests.contract.outages import Wire, restart, wired

Work = Callable[[HoldfastSaver, str], object]


@pytest.fixture
def line(postgres_url_with_tables: str) -> Iterator[tuple[Wire, str]]:
    """A wire to an empty database, and its URL by way of it."""
    with wired(postgres_url_with_tables) as found:
        yield found


@pytest.fixture
def wire(line: tuple[Wire, str]) -> Wire:
    return line[0]


@pytest.fixture
def saver(line: tuple[Wire, str]) -> Iterator[HoldfastSaver]:
    with open_checkpointer(line[1]) as saver:
        yield saver


@pytest.fixture
def other(postgres_url_with_tables: str) -> Iterator[HoldfastSaver]:
    """Another process, whose connections nobody cuts."""
    with open_checkpointer(postgres_url_with_tables) as other:
        yield other


class Once:
    """To be called before each statement: does something before the one of this name, the first time or a later one."""

    def __init__(self, name: str, action: Callable[[], object], *, skip: int = 0) -> None:
        self._name, self._action, self._left = name, action, skip

    def __call__(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == -1:
                self._action()


def head(saver: HoldfastSaver, name: str) -> CheckpointTuple | None:
    return saver.get_tuple(thread(name, checkpoint_ns=""))


# --- units of work, each in a thread of its own


def begin(saver: HoldfastSaver, name: str) -> None:
    put_after(saver, thread(name), None, HumanMessage("one", id="one"), note="n" * 500)


def put_more(saver: HoldfastSaver, name: str) -> None:
    put_after(
        saver, thread(name), head(saver, name), AIMessage("two", id="two"), HumanMessage("yes"), HumanMessage("yes")
    )


def put_input(saver: HoldfastSaver, name: str) -> None:
    put(saver, thread(name), checkpoint([], __start__={"messages": [HumanMessage("yes"), HumanMessage("yes")]}))


def write(saver: HoldfastSaver, name: str) -> None:
    found = head(saver, name)
    assert found is not None
    said = [HumanMessage("yes"), AIMessage("two", id="two")]
    saver.put_writes(
        {**found.config, "metadata": {"run_id": "run-1"}}, [("messages", said), ("other", "kept")], "task-1"
    )


def interrupt(saver: HoldfastSaver, name: str) -> None:
    found = head(saver, name)
    assert found is not None
    saver.put_writes(found.config, [("__interrupt__", [HumanMessage("yes")])], "task-1")


def load(saver: HoldfastSaver, name: str) -> list[Any]:
    return [saver.get_tuple(thread(name)), saver.get_tuple(thread("nobody")), *saver.list(thread(name))]


def history(saver: HoldfastSaver, name: str) -> object:
    return saver.get_delta_channel_history(config=thread(name), channels=["messages"])


def lease(saver: HoldfastSaver, name: str) -> None:
    with saver.lease(name, wait=0):
        taken = "SELECT count(*) FROM holdfast_leases WHERE thread_id = :t"
        assert persist(saver._backend, lambda: rows(saver, taken, t=name)) == [(1,)]


def prune(saver: HoldfastSaver, name: str) -> None:
    saver.prune([name])


def delete(saver: HoldfastSaver, name: str) -> None:
    saver.delete_thread(name)


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


@pytest.mark.parametrize("work", WORK)
def test_what_is_cut_off_before_any_statement_is_done_once(
    saver: HoldfastSaver, postgres_url_with_tables: str, work: Work
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

        for name in sorted(set(statements)):
            if work is take_back:  # all that the run has done, in whatever thread
                saver.delete_thread("t")
            prepare(saver, name, work)
            saver._backend.on_statement = Once(name, terminate)
            work(saver, name)
            saver._backend.on_statement = None
            assert everything(saver, name) == expected, f"terminated before {name}"


@pytest.mark.parametrize("work", WORK)
def test_what_was_committed_without_ones_knowing_is_done_once(wire: Wire, saver: HoldfastSaver, work: Work) -> None:
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
    with pytest.raises(Unreachable, match="Whether this step was saved is not known"):
        saver.copy_thread("ada-1", "ada-2")
    assert texts(saver, "ada-2") == ["one"]

    saver._backend.on_statement = Once("copy_thread", wire.cut)  # now it is known
    saver.copy_thread("ada-1", "ada-3")
    assert texts(saver, "ada-3") == ["one"]


# --- what others do meanwhile


def test_a_checkpoint_that_others_went_on_from_is_not_refused_although_it_was_saved(
    wire: Wire, saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    def go_on() -> None:
        found = head(other, "t")
        assert found is not None
        put(other, found.config, checkpoint([HumanMessage("theirs")]))

    begin(saver, "t")
    mine = head(saver, "t")
    assert mine is not None
    saver._backend.on_statement = Once("begin", go_on, skip=1)
    wire.lose_commits = 1

    config = put(saver, mine.config, checkpoint([AIMessage("mine")]))

    assert texts(other, "t") == ["theirs"]
    assert [found.checkpoint["channel_values"]["messages"][0].text for found in other.list(thread("t"))] == [
        "theirs",
        "mine",
        "one",
    ]
    with pytest.raises(ThreadConflict):
        put(saver, config, checkpoint([]))


def test_a_message_that_got_its_id_meanwhile_is_not_said_twice(
    wire: Wire, saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    def claim() -> None:
        found = head(other, "t")
        assert found is not None
        put(other, found.config, checkpoint([HumanMessage("yes", id="m-1")]))

    saver._backend.on_statement = Once("begin", claim, skip=1)
    wire.lose_commits = 1
    put(saver, thread("t"), checkpoint([HumanMessage("yes")]))
    assert rows(other, "SELECT message_id, content FROM holdfast_messages") == [("m-1", "yes")]


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("is_sent", [False, True])
def test_nothing_is_saved_in_a_thread_that_was_deleted_meanwhile(
    wire: Wire, saver: HoldfastSaver, other: HoldfastSaver, lost: int, is_sent: bool
) -> None:
    begin(saver, "t")
    found = head(saver, "t")
    assert found is not None
    config = found.config
    if is_sent:  # to an older checkpoint, by somebody who knows nothing of the thread
        config = thread("t", checkpoint_id=found.checkpoint["id"])
        forget(saver)
    saver._backend.on_statement = Once("begin", lambda: other.delete_thread("t"), skip=1)
    if lost:
        wire.lose_commits = 1
    else:
        hook = saver._backend.on_statement
        cut = Once("commit", wire.cut)
        saver._backend.on_statement = lambda name: (hook(name), cut(name))[0]
    with pytest.raises(ThreadConflict, match="deleted"):
        put(saver, config, checkpoint([HumanMessage("late", id="late")]))
    assert head(other, "t") is None
    assert rows(other, "SELECT count(*) FROM holdfast_messages") == [(0,)]


def test_what_is_saved_is_what_was_put_and_not_what_it_has_become(wire: Wire, saver: HoldfastSaver) -> None:
    said = HumanMessage("before", id="m-1")
    saver._backend.on_statement = Once("commit", lambda: (setattr(said, "content", "after"), wire.cut()))
    put(saver, thread("t"), checkpoint([said]))
    saver._backend.on_statement = None
    assert texts(saver, "t") == ["before"]
    put(saver, thread("u"), checkpoint([said]))
    assert texts(saver, "u") == ["after"]


# --- for how long


def test_who_comes_when_the_database_has_been_away_for_long_is_told_at_once(wire: Wire, line: tuple[Wire, str]) -> None:
    with open_checkpointer(f"{line[1]}&timeout=1") as saver:
        begin(saver, "t")
        wire.cut(down=True)
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"has been out of reach for 1 s. Nothing of this step was saved"):
            saver.get_tuple(thread("t"))
        assert 1 <= time.monotonic() - started < 4
        started = time.monotonic()
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable, match="out of reach"):
                begin(saver, "u")
        assert time.monotonic() - started < 1
        wire.mend()
        assert texts(saver, "t") == ["one"]
        saver._backend.on_statement = Once("begin", wire.cut)
        assert texts(saver, "t") == ["one"]  # another outage, of which one waits for the end


async def test_who_is_cancelled_does_not_wait_any_longer(wire: Wire, saver: HoldfastSaver) -> None:
    begin(saver, "t")
    wire.cut(down=True)
    waiting = asyncio.create_task(saver.aget_tuple(thread("t")))
    in_line = asyncio.create_task(enter(saver))
    await asyncio.sleep(0.1)  # time for both to begin waiting
    started = time.monotonic()
    for task in (waiting, in_line):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert time.monotonic() - started < 2
    wire.mend()
    assert rows(saver, "SELECT * FROM holdfast_leases") == []


async def enter(saver: HoldfastSaver) -> None:
    async with saver.alease("t"):
        raise AssertionError


def test_who_waits_when_the_checkpointer_is_closed_is_told(wire: Wire, line: tuple[Wire, str]) -> None:
    with ThreadPoolExecutor(1) as threads:
        with open_checkpointer(line[1]) as saver:
            begin(saver, "t")
            wire.cut(down=True)
            waiting = threads.submit(lambda: asyncio.run(saver.aget_tuple(thread("t"))))
            while saver._backend.patience._since is None:
                pass
            started = time.monotonic()
        with pytest.raises(Unreachable):
            waiting.result(5)
        assert time.monotonic() - started < 2


PASSING = ["57P01", "57P03", "08006", "40001", "40P01"]
LASTING = ["53100", "25006", "57014", "42P01", "53200"]


@pytest.mark.parametrize("state", PASSING + LASTING)
def test_only_what_passes_is_repeated(saver: HoldfastSaver, state: str) -> None:
    attempts = 0

    def work() -> None:
        nonlocal attempts
        attempts += 1
        with saver._backend.writing() as transaction:
            if attempts == 1:
                trouble = f"DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{state}'; END $$"
                transaction.run([(Statement("trouble", trouble), {})])

    if state in PASSING:
        persist(saver._backend, work)
        assert attempts == 2
    else:
        with pytest.raises(DatabaseUnavailable, match="trouble") as error:
            persist(saver._backend, work)
        assert not isinstance(error.value, Unreachable)
        assert attempts == 1


# --- leases


def expired(other: HoldfastSaver) -> None:
    """Wait until the lease of thread `t` has expired."""
    left = "SELECT count(*) FROM holdfast_leases WHERE expires_at > extract(epoch FROM clock_timestamp())"
    deadline = time.monotonic() + 10
    while rows(other, left) != [(0,)]:
        assert time.monotonic() < deadline


def test_a_lease_lives_over_an_outage_that_is_longer_than_its_time(
    wire: Wire, saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    with saver.lease("t", ttl=0.4) as lease:
        wire.cut(down=True)
        expired(other)
        wire.mend()
        deadline = time.monotonic() + 5
        while rows(other, "SELECT expires_at > extract(epoch FROM clock_timestamp()) FROM holdfast_leases") != [
            (True,)
        ]:
            assert time.monotonic() < deadline
        assert not lease.lost.is_set()
        put_more(saver, "t") if head(saver, "t") else begin(saver, "t")
    assert rows(other, "SELECT * FROM holdfast_leases") == []


def test_who_was_cut_off_is_told_when_somebody_else_took_the_lease(
    wire: Wire, saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    begin(saver, "t")
    with saver.lease("t", ttl=0.4) as lease:
        found = head(saver, "t")
        wire.cut(down=True)
        expired(other)
        with other.lease("t", wait=5):
            put_more(other, "t")
        wire.mend()
        assert lease.lost.wait(5)
        with pytest.raises(ThreadConflict):
            put_after(saver, thread("t"), found, HumanMessage("late"))
    assert texts(other, "t") == ["one", "two", "yes", "yes"]


def test_a_place_in_line_that_one_does_not_know_of_is_given_back(wire: Wire, line: tuple[Wire, str]) -> None:
    with open_checkpointer(f"{line[1]}&timeout=0") as saver:
        wire.lose_commits = 1
        with pytest.raises(Unreachable, match="not known"), saver.lease("t"):
            raise AssertionError
        with saver.lease("t", wait=0):
            pass


# --- a real server that really restarts


def talking(saver: HoldfastSaver, url: str) -> Any:
    """A graph whose nodes say something, the first after the server has restarted."""

    def say(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) == 1:
            restart(url)
        return {"messages": [AIMessage(f"{len(state['messages'])}")]}

    builder = StateGraph(MessagesState)
    for name in ("first", "second"):
        builder.add_node(name, say)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder.compile(checkpointer=saver)


def test_runs_go_on_while_their_server_restarts_and_restarts(postgres_url_with_tables: str) -> None:
    with open_checkpointer(postgres_url_with_tables) as saver, ThreadPoolExecutor(2) as threads:
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
        graph = talking(saver, postgres_url_with_tables)
        said = {"messages": [HumanMessage("hello", id="m-1")]}
        assert len(graph.invoke(said, thread("sync"), durability="sync")["messages"]) == 3
        assert len(asyncio.run(graph.ainvoke(said, thread("async"), durability="async"))["messages"]) == 3
        restart(postgres_url_with_tables)
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


# --- SQLite


def test_a_sqlite_file_that_somebody_holds_for_too_long_is_an_error_and_nothing_is_half_written(
    sqlite_url: str,
) -> None:
    with open_checkpointer(f"{sqlite_url}?timeout=0.1") as saver:
        begin(saver, "t")
        before = rows(saver, "SELECT * FROM holdfast_messages")
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            for work in (put_more, write, delete, lease):
                with pytest.raises(
                    DatabaseUnavailable, match=r"locked.*Nothing of this step.*another process that holds it.*0.1 s"
                ):
                    work(saver, "t")
            assert texts(saver, "t") == ["one"], "who reads does not wait"
            holder.execute("ROLLBACK")
        assert rows(saver, "SELECT * FROM holdfast_messages") == before
        put_more(saver, "t")
        with saver.lease("t", wait=0):
            assert texts(saver, "t") == ["one", "two", "yes", "yes"]


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_who_stands_in_a_threads_line_while_the_database_is_away_can_give_up(
    wire: Wire, saver: HoldfastSaver, how: str
) -> None:
    config = put(saver, thread(), checkpoint([HumanMessage("one", id="one")]))

    def both_wait() -> None:
        while saver._backend.patience._since is None or len(saver._store.lines._lines.get("ada-1", ())) < 2:
            time.sleep(0.005)  # nothing tells that somebody waits

    async def run() -> None:
        wire.cut(down=True)
        first, second = (
            asyncio.ensure_future(saver.aput_writes(config, [("messages", AIMessage("two"))], f"task-{number}"))
            for number in (1, 2)
        )
        await asyncio.to_thread(both_wait)
        if how == "cancelled":
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(second), 5)
            assert not first.done()
            wire.mend()
            await first
        else:
            await asyncio.to_thread(saver.close)
            for found in await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5):
                assert isinstance(found, DatabaseUnavailable)

    asyncio.run(run())
    assert saver._store.lines._lines == {}
