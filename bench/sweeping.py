"""How long eight conversations wait for a sweep: another process deletes 100,000 old threads beside them."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from bench.places import new_database
from bench.talking import Texts, graph_of
from holdfast import RetentionPolicy
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.sql import Statement

CONVERSATIONS: Final = 8
ASKED: Final = 1000
"""The threads that are as old, and wait for a person."""

_POLICY: Final = "[[rules]]\nkeep_days = 365\nkeep_checkpoints = 100\n"
_CHARACTERS: Final = 200
_TURNS: Final = 10
_PAUSE: Final = 0.25  # a person, and a model, think for longer
_YEARS: Final = 2 * 365 * 86_400.0

# Where the rows of a thread are. One thread is copied: 100,000 real conversations would take an hour.
_TABLES: Final = {
    "SQLite": ("checkpoints", "writes", "holdfast_messages", "holdfast_interrupts", "holdfast_threads"),
    "PostgreSQL": (
        "checkpoints",
        "checkpoint_writes",
        "checkpoint_blobs",
        "holdfast_messages",
        "holdfast_interrupts",
        "holdfast_threads",
    ),
}
_COLUMNS: Final = {
    "SQLite": "SELECT name FROM pragma_table_info(:name) WHERE name NOT IN ('thread_id', 'rid')",
    "PostgreSQL": "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name = :name AND column_name <> 'thread_id'",
}


def sweeping(database: str, folder: Path, server: str, many: int = 100_000, alone: float = 20.0) -> dict[str, Any]:
    """Return the times of the saves of eight conversations, alone and beside a sweep, and those of the sweep.

    Args:
        database: `SQLite` or `PostgreSQL`.
        folder: for files.
        server: the URL of a PostgreSQL server.
        many: the number of old threads.
        alone: the seconds for which the conversations go on without a sweep.
    """
    url = f"sqlite:///{folder / uuid.uuid4().hex}.db" if database == "SQLite" else new_database(server)
    path = folder / "retention.toml"
    path.write_text(_POLICY, "utf-8")
    policy = RetentionPolicy.from_file(path)
    with open_checkpointer(url) as saver:
        fill(saver, many, database)
        age(saver)
        dry = timed(lambda: saver.sweep(policy, dry_run=True))
        talk_until(saver, lambda: Event().wait(alone / 10))  # warms up
        before = talk_until(saver, lambda: Event().wait(alone))
        spent: list[float] = []
        command = ["-m", "holdfast", "db", "sweep", "--database", url, "--policy", str(path)]
        beside = talk_until(
            saver,
            lambda: spent.append(timed(lambda: subprocess.run([sys.executable, *command], check=True))),  # noqa: S603 - our own command
        )
        _check(saver)
        idle = timed(lambda: saver.sweep(policy))
    times = {"dry_s": dry, "sweep_s": spent[0], "idle_ms": idle * 1000}
    return {"database": database, "threads": many, **times, "alone_ms": before, "beside_ms": beside}


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _check(saver: HoldfastSaver) -> None:
    """Check that all old threads are deleted, but those that wait."""
    statement = Statement(
        "left", "SELECT count(*) AS number FROM holdfast_threads WHERE deleted_at IS NULL AND {where}"
    )
    left = {
        name: saver.database.read((statement.where(f"thread_id LIKE '{name}-%'"), {}))[0][0].number
        for name in ("old", "asked")
    }
    waiting = len(saver.interrupts.waiting(2 * ASKED))
    if left != {"old": 0, "asked": ASKED} or waiting != ASKED:
        raise AssertionError(f"threads left: {left}; requests that wait: {waiting}")


# --- old threads


def fill(saver: HoldfastSaver, many: int, database: str, *, asked: int = ASKED) -> None:
    """Fill a database with threads `old-1`, `old-2` … of one turn, and `asked-1` … that wait for a person."""
    say = Texts(_CHARACTERS)
    for name, graph, copies in (("old", graph_of(saver, say), many), ("asked", _asking(saver), asked)):
        config: Any = {"configurable": {"thread_id": name}}
        graph.invoke({"messages": [("user", say())]}, config)
        for table in _TABLES[database]:
            _copy(saver, table, name, copies, database)
        saver.delete_thread(name)
    if database == "PostgreSQL":
        saver.database.write((Statement("analyze", "ANALYZE"), {}))


def age(saver: HoldfastSaver) -> None:
    """Make all threads of a database old."""
    statement = Statement("age", "UPDATE holdfast_threads SET updated_at = updated_at - :by")
    saver.database.write((statement, {"by": _YEARS}))


def _copy(saver: HoldfastSaver, table: str, name: str, copies: int, database: str) -> None:
    [rows] = saver.database.read((Statement("columns", _COLUMNS[database]), {"name": table}))
    columns = ", ".join(row[0] for row in rows)
    text = (
        f"INSERT INTO {table} (thread_id, {columns})"
        " WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < :copies)"
        f" SELECT '{name}-' || n, {columns} FROM {table}, copies WHERE thread_id = :name"
    )
    saver.database.write((Statement("fill", text), {"copies": copies, "name": name}))


def _asking(saver: HoldfastSaver) -> Any:
    """Return a graph that asks a person."""
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda _: {"messages": [("ai", interrupt("May I?"))]})
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


# --- conversations


def talk_until(saver: HoldfastSaver, work: Callable[[], object]) -> dict[str, float]:
    """Let conversations go on while some work is done, and return the median and the longest times of their saves."""
    over = Event()
    with _timing(saver) as taken, ThreadPoolExecutor(CONVERSATIONS) as pool:
        talks = [pool.submit(_talk, saver, over) for _ in range(CONVERSATIONS)]
        try:
            work()
        finally:
            over.set()
        for talk in talks:
            talk.result()
    taken.sort()
    places = {"median": len(taken) // 2, "thousandth": len(taken) - 1 - len(taken) // 1000, "longest": -1}
    return {"saves": len(taken)} | {name: taken[place] * 1000 for name, place in places.items()}


def _talk(saver: HoldfastSaver, over: Event) -> None:
    say = Texts(_CHARACTERS)
    graph = graph_of(saver, say)
    while not over.is_set():
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for turn in range(1, _TURNS + 1):
            said = graph.invoke({"messages": [("user", say())]}, config, durability="sync")
            if len(said["messages"]) != 2 * turn:
                raise AssertionError(f"{len(said['messages'])} messages in the state after {turn} turns")
            if over.wait(_PAUSE):
                return


@contextmanager
def _timing(saver: Any) -> Iterator[list[float]]:
    """Time each save of a checkpointer in the block."""
    taken: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            found = method(*args, **kwargs)
            taken.append(time.perf_counter() - begin)
            return found

        return call

    saver.put, saver.put_writes = timed(saver.put), timed(saver.put_writes)
    try:
        yield taken
    finally:
        del saver.put, saver.put_writes
