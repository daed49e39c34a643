"""How long one waits for a database that is away, who gives up, and what becomes of leases meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.errors import DatabaseUnavailable, ThreadConflict, Unreachable
from holdfast.checkpoints.sql import Statement
from tests.support.children import put_after
from tests.support.kit import checkpoint, put, rows, texts, thread
from tests.support.outages import Once, Wire, begin, delete, head, lease, put_more, write

PASSING = ["57P01", "57P03", "08006", "40001", "40P01", "55P03"]
LASTING = ["53100", "25006", "57014", "42P01", "53200"]


@pytest.fixture
def saver(line: tuple[Wire, str]) -> Iterator[HoldfastSaver]:
    with open_checkpointer(line[1]) as saver:
        yield saver


@pytest.mark.sweep
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


async def enter(saver: HoldfastSaver) -> None:
    async with saver.alease("t"):
        raise AssertionError


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


def expired(uncut: HoldfastSaver) -> None:
    """Wait until the lease of thread `t` has expired."""
    left = "SELECT count(*) FROM holdfast_leases WHERE expires_at > extract(epoch FROM clock_timestamp())"
    deadline = time.monotonic() + 10
    while rows(uncut, left) != [(0,)]:
        assert time.monotonic() < deadline


@pytest.mark.sweep
def test_a_lease_lives_over_an_outage_that_is_longer_than_its_time(
    wire: Wire, saver: HoldfastSaver, uncut: HoldfastSaver
) -> None:
    with saver.lease("t", ttl=0.4) as lease:
        wire.cut(down=True)
        expired(uncut)
        wire.mend()
        deadline = time.monotonic() + 5
        while rows(uncut, "SELECT expires_at > extract(epoch FROM clock_timestamp()) FROM holdfast_leases") != [
            (True,)
        ]:
            assert time.monotonic() < deadline
        assert not lease.lost.is_set()
        put_more(saver, "t") if head(saver, "t") else begin(saver, "t")
    assert rows(uncut, "SELECT * FROM holdfast_leases") == []


@pytest.mark.sweep
def test_a_lease_holder_that_was_cut_off_is_told_when_another_took_the_lease(
    wire: Wire, saver: HoldfastSaver, uncut: HoldfastSaver
) -> None:
    begin(saver, "t")
    with saver.lease("t", ttl=0.4) as lease:
        found = head(saver, "t")
        wire.cut(down=True)
        expired(uncut)
        with uncut.lease("t", wait=5):
            put_more(uncut, "t")
        wire.mend()
        assert lease.lost.wait(5)
        with pytest.raises(ThreadConflict):
            put_after(saver, thread("t"), found, HumanMessage("late"))
    assert texts(uncut, "t") == ["one", "two", "yes", "yes"]


def test_a_ticket_that_its_caller_does_not_know_is_given_back(wire: Wire, line: tuple[Wire, str]) -> None:
    with open_checkpointer(f"{line[1]}&timeout=0") as saver:
        wire.lose_commits = 1
        with pytest.raises(Unreachable, match="unknown whether this step was saved"), saver.lease("t"):
            raise AssertionError
        with saver.lease("t", wait=0):
            pass


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
        while saver._backend.patience._since is None or len(saver._database.queues._queues.get("ada-1", ())) < 2:
            time.sleep(0.005)  # there is no signal that a caller waits

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
    assert saver._database.queues._queues == {}
