"""Those who wait for SQLite's one writer share a commit: whatever happens to one, the others are as they were told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, current_thread

import pytest

from holdfast.checkpoints.backends.sqlite import SqliteBackend, group_commit
from holdfast.checkpoints.errors import DatabaseUnavailable, NotOpen
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.urls import SqliteURL

SAY = Statement("say", "INSERT INTO said VALUES (:n)")
FAIL = Statement("fail", "INSERT INTO no_such_table VALUES (:n)")
LOSE_ALL = Statement("lose_all", "INSERT OR ROLLBACK INTO said VALUES (:n)")


class Writers:
    """Threads that write a number each, in one queue behind the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backend = SqliteBackend(SqliteURL(path, "NORMAL", 5.0))
        self.backend.open()
        self.queue = self.backend._writers
        with self.backend.writing() as transaction:
            transaction.run([(Statement("make", "CREATE TABLE said (n INTEGER UNIQUE)"), {})])
        self.statements: list[str] = []
        self.trouble: dict[str, Callable[[], None]] = {}
        """By statement: what happens when the thread `trouble` runs it."""
        self.backend.on_statement = self.on_statement
        self.threads = ThreadPoolExecutor(16)
        self.may_go = Event()

    def on_statement(self, name: str) -> None:
        self.statements.append(name)
        if current_thread().name in {"trouble", "all"} and name in self.trouble:
            self.trouble[name]()

    def first(self, n: int = 0) -> Future[None]:
        """Writes, and does not end its turn before `go`."""

        def work() -> None:
            with self.backend.writing() as transaction:
                transaction.run([(SAY, {"n": n})])
                entered.set()
                assert self.may_go.wait(10)

        entered = Event()
        future = self.threads.submit(work)
        assert entered.wait(10)
        return future

    def next(self, n: int, *statements: Statement, name: str = "") -> Future[None]:
        """Return when the writer is in the queue."""

        def work() -> None:
            current_thread().name = name
            with self.backend.writing() as transaction:
                transaction.run([(statement, {"n": n}) for statement in (SAY, *statements)])

        before = self.queue._waiting
        future = self.threads.submit(work)
        deadline = time.monotonic() + 10
        while self.queue._waiting == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # there is no signal that a writer is in the queue
        return future

    def kept(self) -> list[int]:
        """Return what another connection finds."""
        with sqlite3.connect(self.path) as connection:
            found = connection.execute("SELECT n FROM said ORDER BY n").fetchall()
        connection.close()
        return [n for (n,) in found]


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    writers = Writers(tmp_path / "said.db")
    yield writers
    writers.may_go.set()
    writers.backend.close()
    writers.threads.shutdown()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No member commits because it has waited: on a busy machine one may, while the others still write."""
    monkeypatch.setattr(group_commit, "_PATIENCE", 10.0)


@pytest.mark.usefixtures("unhurried")
def test_writers_in_the_queue_share_a_commit(writers: Writers) -> None:
    futures = [writers.first(), *(writers.next(n) for n in range(1, 8))]
    writers.may_go.set()
    assert [future.result(10) for future in futures] == [None] * 8
    assert writers.kept() == list(range(8))
    assert writers.statements.count("commit") == 1


@pytest.mark.usefixtures("unhurried")
def test_nobody_is_told_before_the_commit(writers: Writers) -> None:
    seen: list[list[int]] = []
    writers.trouble["commit"] = lambda: seen.append([future.done() for future in futures])
    futures = [writers.first(), *(writers.next(n, name="all") for n in (1, 2, 3))]  # any of these may be the last
    writers.may_go.set()
    assert [future.result(10) for future in futures] == [None] * 4
    assert seen, "there was a commit"
    assert all(not any(done) for done in seen)


def test_one_that_fails_costs_the_others_nothing(writers: Writers) -> None:
    first, before, failing, after = writers.first(), writers.next(1), writers.next(2, FAIL), writers.next(3)
    writers.may_go.set()
    assert [future.result(10) for future in (first, before, after)] == [None] * 3
    with pytest.raises(DatabaseUnavailable, match="no_such_table"):
        failing.result(10)
    assert writers.kept() == [0, 1, 3]


def test_the_last_one_fails_and_the_others_are_committed_nevertheless(writers: Writers) -> None:
    first, failing = writers.first(), writers.next(1, FAIL)
    writers.may_go.set()
    assert first.result(10) is None
    with pytest.raises(DatabaseUnavailable):
        failing.result(10)
    assert writers.kept() == [0]


@pytest.mark.usefixtures("unhurried")
def test_a_commit_that_fails_fails_for_each_of_them(writers: Writers) -> None:
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    writers.trouble["commit"] = full
    futures = [writers.first(), *(writers.next(n, name="all") for n in (1, 2))]
    writers.may_go.set()
    for future in futures:
        with pytest.raises(DatabaseUnavailable, match="disk is full"):
            future.result(10)
    assert writers.kept() == []
    del writers.trouble["commit"]
    assert writers.first(3).result(10) is None
    assert writers.kept() == [3]


def test_when_sqlite_takes_all_of_it_back_everybody_is_told(writers: Writers) -> None:
    first, losing = writers.first(), writers.next(1, LOSE_ALL)  # the number is there already: a conflict
    writers.may_go.set()
    with pytest.raises(DatabaseUnavailable, match=r"UNIQUE.*Try again"):
        first.result(10)
    with pytest.raises(sqlite3.IntegrityError):
        losing.result(10)
    assert writers.first(2).result(10) is None
    assert writers.kept() == [2]


@pytest.mark.parametrize("where", ["begin_part", "say", "commit"])
def test_one_that_is_interrupted_leaves_nobody_waiting(writers: Writers, where: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    writers.trouble[where] = interrupt
    first, interrupted = writers.first(), writers.next(1, name="trouble")
    writers.may_go.set()
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(10)
    if where == "commit":
        with pytest.raises(DatabaseUnavailable, match="KeyboardInterrupt"):
            first.result(10)
        assert writers.kept() == []
    else:
        assert first.result(10) is None
        assert writers.kept() == [0]


def test_who_waits_for_somebody_who_never_comes_commits_himself(writers: Writers) -> None:
    writers.queue._count(1)  # as when a thread is interrupted in the queue
    writers.may_go.set()
    assert writers.first().result(10) is None
    assert writers.kept() == [0]


def test_closing_commits_what_is_written_and_refuses_the_others(writers: Writers) -> None:
    futures = [writers.first(), *(writers.next(n) for n in (1, 2))]
    closing = writers.threads.submit(writers.backend.close)
    writers.may_go.set()
    closing.result(10)
    told = [future.exception(10) for future in futures]
    assert all(error is None or isinstance(error, NotOpen) for error in told)
    assert writers.kept() == [n for n, error in enumerate(told) if error is None]
    assert told[0] is None


def test_a_writer_does_not_wait_when_the_queue_is_empty(writers: Writers) -> None:
    for n in range(3):
        with writers.backend.writing() as transaction:
            transaction.run([(SAY, {"n": n})])
        assert writers.kept() == list(range(n + 1))
