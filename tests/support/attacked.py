"""A database whose rows someone alters one at a time, and all that reads them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, Self

import psycopg
from langchain_core.tools import tool

from holdfast import Conversation, build_graph, needs_approval, once
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.transfer import export_thread, thread_digest
from holdfast.errors import HoldfastError
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.hostile import Hostile
from tests.support.kit import change, forget, rows, thread

_OF_OURS: Final = ("threads", "messages", "events", "interrupts", "effects", "run_writes", "members", "leases")

# What is read most has most of the code.
_OFTEN: Final = {"holdfast_messages": 6, "checkpoints": 4, "checkpoint_blobs": 4, "writes": 4, "checkpoint_writes": 4}

_COLUMNS: Final = {
    "sqlite": "SELECT name, '' AS kind, pk FROM pragma_table_info('{table}')",
    "postgres": """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), CAST(a.attnum = ANY(i.indkey) AS INTEGER)
        FROM pg_attribute AS a
        LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = CAST('{table}' AS REGCLASS) AND a.attnum > 0 AND NOT a.attisdropped
    """,
}

Reader = Callable[[], object]


def scene(saver: HoldfastSaver) -> Conversation:
    """Return a conversation that has something in every table that a turn writes to."""

    @needs_approval(description="Pay {amount}")
    @tool
    def pay(amount: int) -> str:
        """Pay."""
        return "It is paid."

    @once()
    @tool
    def ship(order: int) -> str:
        """Ship."""
        return "It is shipped."

    lines = [says("Hello, Ada."), calls(("ship", {"order": 1})), says("It is on its way.")]
    lines += [calls(("pay", {"amount": 5})), says("It is paid."), calls(("pay", {"amount": 7}))]
    agent = build_graph(model=ScriptedModel(lines=lines), tools=[pay, ship], checkpointer=saver)
    talk = Conversation(agent, "ada-1", "ada", metadata={"lang": "de"})
    talk.send("Hello.")
    talk.send("Ship it.")
    [waiting] = talk.send("Pay.").pending
    talk.approve(waiting.interrupt_id, by="Grace")
    talk.send("Pay again.")
    saver.threads.share("ada-1", "bob")
    saver.search.refresh()
    return talk


def readers(saver: HoldfastSaver, talk: Conversation) -> dict[str, Reader]:
    """Return everything that reads a thread, by name."""
    threads = saver.threads
    return {
        "get_tuple": lambda: saver.get_tuple(thread()),
        "list": lambda: list(saver.list(thread(), limit=3)),
        "threads.list": threads.list,
        "threads.get": lambda: threads.get("ada-1"),
        "threads.messages": lambda: threads.messages("ada-1"),
        "threads.prompt": lambda: threads.prompt("ada-1"),
        "threads.salvage": lambda: threads.salvage("ada-1"),
        "transcript": lambda: list(saver.transcript("ada-1")),
        "interrupts.waiting": saver.interrupts.waiting,
        "interrupts.todo": saver.interrupts.todo,
        "effects.in_doubt": saver.effects.in_doubt,
        "search.find": lambda: saver.search.find("ship"),
        "export": lambda: list(export_thread(saver.database, "ada-1")),
        "digest": lambda: thread_digest(saver.database, "ada-1"),
        "Conversation.history": talk.history,
        "Conversation.context": talk.context,
        "Conversation.pending": talk.pending,
    }


class Attacked:
    """The rows of thread `ada-1`, which can be altered and restored."""

    def __init__(self, saver: HoldfastSaver, random: Random) -> None:
        self._saver, self._random, self._hostile = saver, random, Hostile(random)
        self._dialect = dialect_of(saver)
        named = [*STOCK_TABLES[self._dialect], *(f"holdfast_{name}" for name in _OF_OURS)]
        self._columns = {table: rows(saver, _COLUMNS[self._dialect].format(table=table)) for table in named}
        self._count = {table: self._counted(table) for table in named}
        self._tables = [table for table in named for _ in range(_OFTEN.get(table, 1)) if self._count[table]]

    def __enter__(self) -> Self:
        for table in set(self._tables):
            change(self._saver, f"CREATE TABLE saved_{table} AS SELECT * FROM {table}")
        return self

    def __exit__(self, *_: object) -> None:
        for table in set(self._tables):
            change(self._saver, f"DROP TABLE saved_{table}")

    @contextmanager
    def altered(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Alter a row for the duration of the block, and give its table and new values; none if it cannot be."""
        table = self._random.choice(self._tables)
        columns = self._columns[table]
        keys = ", ".join(name for name, _, is_key in columns if is_key)
        place = f"SELECT {keys} FROM {table} WHERE thread_id = 'ada-1' ORDER BY {keys} LIMIT 1 OFFSET "
        place += str(self._random.randrange(self._count[table]))
        kinds = {name: kind for name, kind, _ in columns}
        read = ", ".join(f"CAST({name} AS TEXT)" if kind.startswith("json") else name for name, kind in kinds.items())
        [found] = rows(self._saver, f"SELECT {read} FROM {table} WHERE ({keys}) IN ({place})")
        row = dict(zip(kinds, found, strict=True))
        new = self._hostile.change(self._random.choice(self._candidates(row)), row)
        given = ", ".join(
            f"{name} = " + (f"CAST(:{name} AS {kinds[name]})" if kinds[name] else f":{name}") for name in new
        )
        try:
            change(self._saver, f"UPDATE {table} SET {given} WHERE ({keys}) IN ({place})", **new)
        except (HoldfastError, sqlite3.Error, psycopg.Error, OverflowError):  # the database refuses such a value
            yield table, {}
            return
        try:
            yield table, new
        finally:
            change(self._saver, f"DELETE FROM {table}")
            names = ", ".join(kinds)
            change(self._saver, f"INSERT INTO {table} ({names}) SELECT {names} FROM saved_{table}")
            forget(self._saver)

    def _candidates(self, row: dict[str, Any]) -> list[str]:
        values = [name for name, value in row.items() if isinstance(value, bytes) and name != "digest"]
        return [name for name in [*row, *values * 4] if name not in {"thread_id", "rid"}]

    def _counted(self, table: str) -> int:
        [(count,)] = rows(self._saver, f"SELECT count(*) FROM {table} WHERE thread_id = 'ada-1'")
        return int(count)
