"""PostgreSQL, over a pool of connections. Each save is two round trips: read and lock, then write and commit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Final

import psycopg
from langgraph.checkpoint.postgres.base import BasePostgresSaver
from psycopg.generators import send
from psycopg_pool import ConnectionPool, PoolTimeout

from checkpoints import migrate
from checkpoints.errors import DatabaseUnavailable, HoldfastError, NotOpen, NotStorable
from checkpoints.port import (
    Call,
    OnStatement,
    Row,
    Transaction,
    check_process,
)
from checkpoints.postgres_tables import PostgresTables
from checkpoints.sql import Statement, Statements
from checkpoints.urls import PostgresURL

_NOW: Final = "extract(epoch FROM clock_timestamp())"

# A server that does not answer is reported within 5 s, unless the URL says otherwise.
_CONNECT_TIMEOUT: Final = 4

# For each statement that waits for a free connection: longer than the longest queue that a busy program should have.
_POOL_TIMEOUT: Final = 30.0

# Any number that no other program is likely to use: the try-lock that is held while tables are made.
_MIGRATION_LOCK: Final = 0x486F6C6466617374

# Several processes that start at once wait in turn for the one that makes the tables.
_MIGRATION_PATIENCE: Final = 60.0

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


class _PostgresTransaction:
    """Statements in libpq's pipeline: sent as they come, and waited for only when their rows are asked for."""

    def __init__(
        self, connection: psycopg.Connection[Row], pipeline: psycopg.Pipeline | None, on_statement: OnStatement | None
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._on_statement = on_statement

    def run(self, calls: Sequence[Call]) -> list[list[Row]]:
        cursors = self._execute(calls)
        if self._pipeline is not None:
            # psycopg 3.3 goes over to waiting for rows although the end of a large statement is not sent yet, and then
            # both sides wait for ever.
            self._connection.wait(send(self._connection.pgconn))
            self._pipeline.sync()
        return [cursor.fetchall() if cursor.description is not None else [] for cursor in cursors]

    def send(self, calls: Sequence[Call]) -> None:
        self._execute(calls)

    def _execute(self, calls: Sequence[Call]) -> list[psycopg.Cursor[Row]]:
        cursors = []
        for statement, params in calls:
            if self._on_statement is not None:
                self._on_statement(statement.name)
            cursor = self._connection.cursor(binary=True)
            cursors.append(cursor.execute(_dialect(statement.text), params))
        return cursors


class PostgresBackend(PostgresTables):
    """A PostgreSQL database."""

    def __init__(self, url: PostgresURL, *, pool_size: int = 10, on_statement: OnStatement | None = None) -> None:
        self._url = url
        self.on_statement = on_statement
        self.workers = pool_size
        self.sql = Statements("postgres", now=_NOW)
        self._pool: ConnectionPool[psycopg.Connection[Row]] | None = None
        self._opened_by = 0

    def __str__(self) -> str:
        return str(self._url)

    def open(self) -> None:
        # One connection first, whose error says what is wrong; a pool only says that it got none.
        options: dict[str, Any] = {"autocommit": True}
        if "connect_timeout" not in self._url.dsn:
            options["connect_timeout"] = _CONNECT_TIMEOUT
        try:
            with psycopg.connect(self._url.dsn, **options) as connection:
                self._prepare(connection)
            pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
                self._url.dsn,
                kwargs=options,
                min_size=1,  # a process that does little holds little
                max_size=self.workers,
                timeout=_POOL_TIMEOUT,
                open=False,
                name="holdfast",
            )
            pool.open()
        except psycopg.Error as error:
            raise self._unavailable(error) from None  # the driver's own error may hold the password
        self._pool, self._opened_by = pool, os.getpid()

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        # One state of the database for all statements: a thread that is deleted meanwhile is there, or is not.
        with self._transaction(Statement("begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")) as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        # Each statement after the thread's lock must see what was committed before the lock was got.
        with self._transaction(Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED")) as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, begin: Statement) -> Iterator[Transaction]:
        if self._pool is None:
            raise NotOpen(
                "This checkpointer is not open. Use it inside `with open_checkpointer(url) as checkpointer:`."
            )
        check_process(self._opened_by)
        try:
            with self._connection(self._pool) as connection, connection.pipeline() as pipeline:
                transaction = _PostgresTransaction(connection, pipeline, self.on_statement)
                transaction.send([(begin, {})])
                yield transaction  # when this raises, the pool rolls back before it takes the connection
                transaction.send([(Statement("commit", "COMMIT"), {})])  # the pipeline's end waits for it
        except psycopg.Error as error:
            raise self._failed(error) from None  # the driver's own error may hold the password, or what was said

    @contextmanager
    def _connection(self, pool: ConnectionPool[psycopg.Connection[Row]]) -> Iterator[psycopg.Connection[Row]]:
        """A connection that works. One that the server has closed is given back, and the pool replaces it.

        The pool's own check sleeps for a second or more for each dead connection, and after a restart of the server all
        of them are dead.
        """
        connection = pool.getconn()
        for _ in range(self.workers):
            if _is_quiet(connection):
                break
            try:
                pool.check_connection(connection)
            except psycopg.OperationalError:
                pool.putconn(connection)
                connection = pool.getconn()
            else:
                break
        try:
            with connection:  # commits, or rolls back; a connection of a pool stays open
                yield connection
        finally:
            pool.putconn(connection)

    def _prepare(self, connection: psycopg.Connection[Row]) -> None:
        deadline = time.monotonic() + _MIGRATION_PATIENCE
        while not self._prepared(connection):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"Another process has been making the tables of {self._url} for {_MIGRATION_PATIENCE:.0f} s. "
                    "Look for a session that is idle in transaction, end it, and start again."
                )
            time.sleep(0.05)  # a lock that is polled works through a transaction pooler too, and cannot deadlock

    def _prepared(self, connection: psycopg.Connection[Row]) -> bool:
        """Whether the tables are there, after making them if nobody else is doing so."""
        transaction = _PostgresTransaction(connection, None, None)
        with connection.transaction():
            if migrate.is_current(transaction, self.sql):
                return True
            # The lock belongs to the transaction, not to the session: it ends with it, whatever happens.
            [(mine,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_MIGRATION_LOCK]).fetchall()
            if mine:
                _upgrade_langgraph(connection)
                migrate.upgrade(transaction, self.sql, "postgres")
            return bool(mine)

    def _failed(self, error: psycopg.Error) -> HoldfastError:
        """What went wrong in a transaction, for people."""
        said = self._url.hide(error.diag.message_primary or str(error))
        match error:
            case PoolTimeout():
                return DatabaseUnavailable(
                    f"No connection to {self._url} within {_POOL_TIMEOUT:.0f} s. Either the server cannot be reached, "
                    f"or all {self.workers} connections are in use: raise pool_size, or run less at once."
                )
            case psycopg.DataError():  # whose words quote the value
                return NotStorable(
                    f"PostgreSQL cannot hold a value of this step ({type(error).__name__}), such as an id with a NUL "
                    "character in it. Nothing of this step was saved."
                )
            case psycopg.OperationalError():
                return DatabaseUnavailable(
                    f"The connection to {self._url} failed: {said}. A step that was being saved was saved as a whole "
                    "or not at all. The next one gets a new connection."
                )
            case _:
                return DatabaseUnavailable(
                    f"{self._url} refused a statement: {said}. Nothing of this step was saved. Needed: a server that "
                    "takes writes, which a standby does not, and the tables as this program made them."
                )

    def _unavailable(self, error: Exception) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"Cannot open the PostgreSQL database {self._url}: {self._url.hide(str(error))}. Needed: a server that "
            "answers there, and a user who may log in and make tables."
        )


def _is_quiet(connection: psycopg.Connection[Row]) -> bool:
    """Whether the server has said nothing since the last transaction. A server that closes a connection says so, and
    looking whether there is something to read costs no round trip."""
    with DefaultSelector() as selector:
        selector.register(connection.fileno(), EVENT_READ)
        return not selector.select(0)


@cache
def _dialect(text: str) -> str:
    """Named parameters as psycopg writes them."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


def _upgrade_langgraph(connection: psycopg.Connection[Row]) -> None:
    """Make LangGraph's tables by its own migrations, in this transaction.

    Its `setup()` fails in seven of eight processes that start at once, and makes indexes concurrently, which cannot be
    part of a transaction.
    """
    first, *_ = BasePostgresSaver.MIGRATIONS
    connection.execute(_own(first))
    [(done,)] = connection.execute("SELECT coalesce(max(v), -1) FROM checkpoint_migrations").fetchall()
    for version, script in enumerate(BasePostgresSaver.MIGRATIONS):
        if version > done:
            connection.execute(_own(script.replace(" CONCURRENTLY ", " ")))
            connection.execute("INSERT INTO checkpoint_migrations (v) VALUES (%s)", [version])


def _own(script: str) -> bytes:
    """A script of the library's, as psycopg wants what is not a literal of this program."""
    return script.encode()
