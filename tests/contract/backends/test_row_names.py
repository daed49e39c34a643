"""Rows have the names of their columns, the same on every database, and still unpack."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from keyword import iskeyword
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.store.sqlite import SqliteStore
from psycopg.pq import ExecStatus

from holdfast import open_store
from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.sql import Statement

HOW_A_CHECKPOINT_LIES = {"chain", "find_checkpoints", "page_of_checkpoint", "values_of_thread"}
"""A checkpoint is one row on SQLite, and a document with many values on PostgreSQL."""


LEAST = {
    **dict.fromkeys(("limit", "most", "looked_at"), 1),
    **dict.fromkeys(("checkpoint_ids", "channels", "digests", "interrupt_ids", "terms"), "[]"),
    **dict.fromkeys(("bytes", "next_seq", "said", "unfinished", "key_no"), 1),
    **dict.fromkeys(("thread_id", "master_id", "wrapped"), "a"),
    "query": 'words : "a"',
    "skip": 0,
}
"""Parameters that must not be NULL on SQLite."""


class _Params(dict[str, Any]):
    """Any parameter."""

    def __missing__(self, name: str) -> Any:
        return LEAST.get(name)


def sqlite_columns(backend: Any) -> dict[str, list[str]]:
    with backend.writing() as transaction:
        backend.full_text.make(transaction)
    connection = backend.connect()
    found = {}
    for statement in backend.sql.values():
        connection.execute("BEGIN")
        try:
            cursor = connection.execute(_text(statement), _Params())
            found[statement.name] = [column[0] for column in cursor.description or ()]
        except sqlite3.Error:
            assert not re.search(r"\bRETURNING\b|^(WITH|SELECT)\b", statement.text), statement.name
            found[statement.name] = []
        finally:
            connection.execute("ROLLBACK")
    connection.close()
    return found


def postgres_columns(backend: Backend, url: str) -> dict[str, list[str]]:
    found = {}
    with psycopg.connect(url) as connection:
        for statement in backend.sql.values():
            names: list[str] = []

            def numbered(match: re.Match[str], names: list[str] = names) -> str:
                names.extend({match[1]} - set(names))
                return f"${names.index(match[1]) + 1}"

            name = statement.name.encode()
            text = re.sub(r"(?<!:):([a-z_]+)", numbered, _text(statement))
            prepared = connection.pgconn.prepare(name, text.encode())
            assert prepared.status == ExecStatus.COMMAND_OK, (statement.name, prepared.error_message)
            described = connection.pgconn.describe_prepared(name)
            found[statement.name] = [(described.fname(place) or b"").decode() for place in range(described.nfields)]
    return found


def _text(statement: Statement) -> str:
    table = "holdfast_threads AS t"
    takes_query = statement.name in {"threads", "retention_facts"}
    return statement.among(f"SELECT t.* FROM {table}" if takes_query else table).where().text


@pytest.fixture
def columns(tmp_path: Path, postgres_url: str) -> dict[str, dict[str, list[str]]]:
    with open_store(f"sqlite:///{tmp_path / 'a.db'}"), closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        for script in SqliteStore.VECTOR_MIGRATIONS:  # not every Python can open such a store
            connection.execute(script)
    with open_checkpointer(f"sqlite:///{tmp_path / 'a.db'}") as saver:
        on_sqlite = sqlite_columns(saver._backend)
    with open_store(postgres_url, index={"dims": 1, "embed": lambda texts: [[0.0] for _ in texts]}):
        pass
    with open_checkpointer(postgres_url) as saver:
        return {"sqlite": on_sqlite, "postgres": postgres_columns(saver._backend, postgres_url)}


def test_every_column_of_every_statement_has_a_name(columns: dict[str, dict[str, list[str]]]) -> None:
    for by_name in columns.values():
        for statement, names in by_name.items():
            assert len(set(names)) == len(names), statement
            assert all(name.isidentifier() and not iskeyword(name) for name in names), (statement, names)


def test_a_statement_has_the_same_columns_on_every_database(columns: dict[str, dict[str, list[str]]]) -> None:
    sqlite, postgres = columns["sqlite"], columns["postgres"]
    different = {name for name in sqlite.keys() & postgres.keys() if sqlite[name] != postgres[name]}
    assert different == HOW_A_CHECKPOINT_LIES


def test_a_row_has_names_and_unpacks(url: str) -> None:
    with open_checkpointer(url) as saver, saver._backend.reading() as transaction:
        [[*rows, last]] = transaction.run([(saver._backend.sql["schema_versions"], {})])
        version, name, min_reader = last
        assert (last.version, last.name, last.min_reader) == (version, name, min_reader)
        assert len(rows) == version - 1
        assert isinstance(last, tuple)
        assert last == (version, name, min_reader)
