"""LangGraph's `SqliteStore` on a connection like those of the checkpointer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import sqlite_vec  # type: ignore[import-untyped]
from langgraph.store.base import IndexConfig, PutOp, TTLConfig
from langgraph.store.sqlite import SqliteStore

from holdfast.checkpoints.backends.sqlite import SqliteBackend
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.store.guard import ErasureGuard, refused


class SqliteItems(SqliteStore):
    """LangGraph's store, with transactions that are rolled back on an error, and with tables made by one process.

    The stock store commits what an error has left of a batch, and its `setup` fails in all processes but one if several
    begin at once.
    """

    def __init__(
        self, backend: SqliteBackend, *, index: IndexConfig | None, ttl: TTLConfig | None, writes: bool
    ) -> None:
        """
        Args:
            backend: the open database.
            index: how items are indexed by meaning.
            ttl: how long items are kept.
            writes: whether to lock the file when a transaction begins. With an index it is locked at the first change,
                so that other processes do not wait for the embeddings.
        """
        self._backend = backend
        super().__init__(backend.connect(), index=_with_fields(index), ttl=ttl)
        self._begin = "BEGIN IMMEDIATE" if writes and not index else "BEGIN"
        if index:
            self._load_extension()
        self._guard = ErasureGuard.of(backend)
        self.is_setup = True  # by `make_tables`
        self._is_closed = False

    def close(self) -> None:
        """Close the connection, after the batch in progress."""
        with self.lock:
            self._is_closed = True
            self.conn.close()

    def make_tables(self) -> None:
        """Make the tables, or bring them up to date, in one transaction that other processes wait for."""
        with self._transaction("BEGIN IMMEDIATE") as cursor:
            _migrate(cursor, "store_migrations", self.MIGRATIONS)
            if self.index_config:
                _migrate(cursor, "vector_migrations", self.VECTOR_MIGRATIONS)

    def _batch_put_ops(self, put_ops: Sequence[tuple[int, PutOp]], cur: sqlite3.Cursor) -> None:
        super()._batch_put_ops(put_ops, cur)
        for user, (statement, params) in self._guard.checks(put_ops):
            if cur.execute(statement.text, params).fetchone() is not None:
                raise refused(user)

    def _cursor(self, *, transaction: bool = True) -> Any:
        return self._transaction(self._begin)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Cursor]:
        with self._backend.explained, self.lock:
            if self._is_closed:  # since this batch began
                self._backend.on_use()
            with closing(self.conn.cursor()) as cursor:
                cursor.execute(begin)
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException as error:
                    if self.conn.in_transaction:
                        cursor.execute("ROLLBACK")
                    # The stock store puts an error of the driver into a ValueError, with the values.
                    if isinstance(error, ValueError) and isinstance(error.__cause__, sqlite3.Error):
                        raise self._backend.explain(error.__cause__) from error.__cause__
                    raise

    def _load_extension(self) -> None:
        """Load the functions for vectors.

        Raises:
            DatabaseUnavailable: this Python cannot load extensions of SQLite.
        """
        try:
            self.conn.enable_load_extension(True)
            sqlite_vec.load(self.conn)
            self.conn.enable_load_extension(False)
        except (AttributeError, sqlite3.Error) as error:
            self.conn.close()
            raise DatabaseUnavailable(
                f"An index of long-term memory on SQLite needs an extension that this Python cannot load ({error}). "
                "Use PostgreSQL or memory://, a Python whose sqlite3 loads extensions, or no index."
            ) from error


def _with_fields(index: IndexConfig | None) -> Any:
    """Return the index with its fields under the name that `SqliteStore` reads."""
    return None if index is None else {"text_fields": index.get("fields"), **index}


def _migrate(cursor: sqlite3.Cursor, table: str, scripts: Sequence[str]) -> None:
    """Apply the migrations of LangGraph's store that its table does not record."""
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} (v INTEGER PRIMARY KEY)")
    [(done,)] = cursor.execute(f"SELECT coalesce(max(v), -1) FROM {table}").fetchall()  # noqa: S608 - our own name
    for version, script in enumerate(scripts):
        if version > done:
            cursor.execute(script)
            cursor.execute(f"INSERT INTO {table} (v) VALUES (?)", [version])  # noqa: S608
