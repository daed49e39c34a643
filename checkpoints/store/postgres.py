"""LangGraph's `PostgresStore` on the connections of a PostgreSQL backend."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from langgraph.store.base import IndexConfig, PutOp, TTLConfig
from langgraph.store.postgres import PostgresStore
from psycopg import Cursor
from psycopg.rows import DictRow, dict_row

from holdfast.checkpoints.backends.postgres import PostgresBackend, psycopg_text
from holdfast.checkpoints.backends.postgres.pool import Connection
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.store.guard import ErasureGuard, refused

# Seconds. Processes that start at once wait for the one that makes the tables.
_PATIENCE: Final = 60.0

_VERSION: Final = "SELECT coalesce(max(v), -1) FROM"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"


class PostgresItems(PostgresStore):
    """LangGraph's store, on connections that are the checkpointer's in kind: with its pool, schema and settings.

    Its tables are made in one transaction, by one of the processes that begin at once.
    """

    # An index cannot be made concurrently in a transaction.
    MIGRATIONS = tuple(script.replace(" CONCURRENTLY ", " ") for script in PostgresStore.MIGRATIONS)
    VECTOR_MIGRATIONS = tuple(
        migration._replace(sql=migration.sql.replace(" CONCURRENTLY ", " "))
        for migration in PostgresStore.VECTOR_MIGRATIONS
    )

    def __init__(
        self, backend: PostgresBackend, *, index: IndexConfig | None, ttl: TTLConfig | None, writes: bool
    ) -> None:
        """
        Args:
            backend: the open database.
            index: how items are indexed by meaning.
            ttl: how long items are kept.
            writes: whether the statements of a batch are one transaction.
        """
        self._backend = backend
        self._writes = writes
        self._making: Connection | None = None
        self._guard = ErasureGuard.of(backend)
        super().__init__(cast("Any", None), index=cast("Any", index), ttl=ttl)  # the backend lends the connections

    def close(self) -> None:
        """Do nothing: the connections are the backend's."""

    def make_tables(self) -> None:
        """Make the tables, or bring them up to date.

        Raises:
            DatabaseUnavailable: another process has been doing so for a minute, or the role may not.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self._is_current() and not self._made():
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"Another process has been making the tables of long-term memory in {self._backend} for "
                    f"{_PATIENCE:.0f} s. Look for a session that is idle in transaction, end it, and start again."
                )
            time.sleep(0.05)  # a lock that is polled works through a transaction pooler too, and cannot deadlock

    def _is_current(self) -> bool:
        with self._backend.borrowed(alone=False) as connection:
            if _version(connection, "store_migrations") < len(self.MIGRATIONS) - 1:
                return False
            return not self.index_config or _version(connection, "vector_migrations") >= self._last_for_vectors()

    def _last_for_vectors(self) -> int:
        migrations = enumerate(self.VECTOR_MIGRATIONS)
        return max(version for version, found in migrations if not found.condition or found.condition(self))

    def _made(self) -> bool:
        """Make the tables, unless another process is making them. Return whether they were made."""
        with self._backend.making_tables() as connection:
            if connection is None:
                return False
            self._making = connection
            try:
                self.setup()
            finally:
                self._making = None
            return True

    def _batch_put_ops(self, put_ops: Sequence[tuple[int, PutOp]], cur: Cursor[DictRow]) -> None:
        super()._batch_put_ops(put_ops, cur)
        for user, (statement, params) in self._guard.checks(put_ops):
            if cur.execute(psycopg_text(statement.text).encode(), params).fetchone() is not None:
                raise refused(user)

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        if self._making is not None:
            with self._making.cursor(binary=True, row_factory=dict_row) as cursor:
                yield cursor
            return
        with (
            self._backend.borrowed(alone=not self._writes) as connection,
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            yield cursor


def _version(connection: Connection, table: str) -> int:
    [(is_there,)] = connection.execute(_IS_THERE, [table]).fetchall()
    if not is_there:
        return -1
    [(version,)] = connection.execute(f"{_VERSION} {table}".encode()).fetchall()
    return int(version)
