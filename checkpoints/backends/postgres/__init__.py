"""PostgreSQL, over a pool of connections. Each save is two round trips: read and lock, then write and commit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import psycopg
from langgraph.checkpoint.postgres.base import BasePostgresSaver
from psycopg.generators import send

from holdfast.checkpoints.backends import migrations
from holdfast.checkpoints.backends.base import (
    NOT_OPEN,
    Call,
    FullText,
    OnStatement,
    Row,
    Transaction,
    check_process,
    refuse_use,
)
from holdfast.checkpoints.backends.postgres.full_text import PostgresFullText
from holdfast.checkpoints.backends.postgres.pool import Closed, Connection, Exhausted, Pool
from holdfast.checkpoints.backends.postgres.tables import PostgresTables
from holdfast.checkpoints.backends.retry import Patience
from holdfast.checkpoints.backends.row_names import RowNames
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    HoldfastError,
    NotOpen,
    NotStorable,
    Unreachable,
)
from holdfast.checkpoints.sql import Statement, load_statements
from holdfast.checkpoints.urls import PostgresURL

_NOW: Final = "extract(epoch FROM clock_timestamp())"

# A server that does not answer is reported within 5 s, unless the URL says otherwise.
_CONNECT_TIMEOUT: Final = 4

# Without an answer, a broken network is noticed within half a minute, instead of after the system's 15 minutes or 2
# hours.
_NETWORK: Final = {"tcp_user_timeout": 30_000, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}

# The key of the lock that is held while tables are made: a number that other programs are unlikely to use.
_MIGRATION_LOCK: Final = 0x486F6C6466617374

# Seconds. Processes that start at once wait for the one that makes the tables.
_MIGRATION_PATIENCE: Final = 60.0

# Errors that may be gone a moment later (https://www.postgresql.org/docs/current/errcodes-appendix.html): beside
# class 08, "connection exception", the server is stopping, starting, recovering from a crash, has no connection to
# spare or has ended one for being idle; or it has chosen this transaction to be the one that is repeated. A full disk
# (53100), a server that takes no writes (25006) and a statement that takes too long (57014) are none of these.
_PASSING: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "53300", "40001", "40P01"})

_names: Final = RowNames()

_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")


class _PostgresTransaction:
    """Statements in libpq's pipeline: sent at once, and waited for only when their rows are needed."""

    def __init__(
        self, connection: Connection, pipeline: psycopg.Pipeline | None, on_statement: OnStatement | None
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._on_statement = on_statement

    def run(self, calls: Sequence[Call]) -> list[list[Row]]:
        cursors = self._execute(calls)
        if self._pipeline is not None:
            # psycopg 3.3 may wait for rows before the end of a large statement is sent: then both sides wait forever.
            self._connection.wait(send(self._connection.pgconn))
            self._pipeline.sync()
        return [_rows(statement, cursor) for (statement, _), cursor in zip(calls, cursors, strict=True)]

    def send(self, calls: Sequence[Call]) -> None:
        self._execute(calls)

    def send_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._on_statement is not None:
            self._on_statement(statement.name)
        self._connection.cursor(binary=True).executemany(_dialect(statement.text), rows)

    def _execute(self, calls: Sequence[Call]) -> list[psycopg.Cursor[tuple[Any, ...]]]:
        cursors = []
        for statement, params in calls:
            if self._on_statement is not None:
                self._on_statement(statement.name)
            cursor = self._connection.cursor(binary=True)
            cursors.append(cursor.execute(_dialect(statement.text), params))
        return cursors


def _rows(statement: Statement, cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[Row]:
    result = cursor.pgresult
    if result is None or not result.ntuples:
        return []
    return _names.name(statement, lambda: [column.name for column in cursor.description or ()], cursor.fetchall())


class PostgresBackend(PostgresTables):
    """A PostgreSQL database."""

    def __init__(self, url: PostgresURL, *, pool_size: int = 10, on_statement: OnStatement | None = None) -> None:
        self._url = url
        self.on_statement = on_statement
        self.on_use: Callable[[], None] = refuse_use
        self.on_lost: Callable[[], None] = lambda: None
        self.workers = pool_size
        self.sql = load_statements("postgres", now=_NOW)
        self.full_text: FullText = PostgresFullText(self.sql)
        self.patience = Patience(url.timeout)
        self._pool: Pool | None = None
        self._opened_by = 0

    def __str__(self) -> str:
        return str(self._url)

    def open(self) -> None:
        pool = Pool(self._connect, self.workers, self.on_lost)
        try:
            with pool.connection(0) as connection:
                self._prepare(connection)
        except BaseException as error:
            pool.close()
            if isinstance(error, psycopg.Error):
                raise self._unavailable(error) from None  # the driver's own error may hold the password
            raise
        self.patience.begin()
        self._pool, self._opened_by = pool, os.getpid()

    def close(self) -> None:
        self.patience.end()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        # One snapshot for all statements: a thread that is deleted meanwhile exists for all of them or for none.
        with self._transaction(Statement("begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")) as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        # Each statement after the thread's lock must see everything that was committed before the lock was taken.
        with self._transaction(Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED")) as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, begin: Statement) -> Iterator[Transaction]:
        if self._pool is None:
            self.on_use()
        pool = self._pool
        if pool is None:  # closed meanwhile
            raise NotOpen(NOT_OPEN)
        check_process(self._opened_by)
        connection: Connection | None = None
        committing = False
        try:
            with pool.connection(self._url.timeout) as connection, connection.pipeline() as pipeline:
                transaction = _PostgresTransaction(connection, pipeline, self.on_statement)
                transaction.send([(begin, {})])
                yield transaction  # on an error, the pool rolls back when the connection is returned
                committing = True
                transaction.send([(Statement("commit", "COMMIT"), {})])  # the pipeline's end waits for it
        except psycopg.Error as error:
            is_lost = connection is None or connection.closed  # or could not be made
            raise self._failed(error, is_lost=is_lost, committing=committing) from None  # it may hold the password
        except Exhausted:
            raise DatabaseUnavailable(
                f"All {self.workers} connections to {self._url} were in use for {self._url.timeout:.0f} s. Raise "
                "pool_size, or run less at once."
            ) from None
        except Closed:
            raise NotOpen(NOT_OPEN) from None

    def _connect(self) -> Connection:
        given = {"connect_timeout": _CONNECT_TIMEOUT, **_NETWORK}
        options: dict[str, Any] = {name: value for name, value in given.items() if name not in self._url.dsn}
        return psycopg.connect(self._url.dsn, autocommit=True, **options)

    def _prepare(self, connection: Connection) -> None:
        deadline = time.monotonic() + _MIGRATION_PATIENCE
        while not self._prepared(connection):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"Another process has been making the tables of {self._url} for {_MIGRATION_PATIENCE:.0f} s. "
                    "Look for a session that is idle in transaction, end it, and start again."
                )
            time.sleep(0.05)  # a lock that is polled works through a transaction pooler too, and cannot deadlock

    def _prepared(self, connection: Connection) -> bool:
        """Return whether the tables are current. Make them first, unless another process is making them."""
        transaction = _PostgresTransaction(connection, None, None)
        with connection.transaction():
            if migrations.is_current(transaction, self.sql):
                return True
            # The lock belongs to the transaction, not to the session, so it always ends.
            [(mine,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_MIGRATION_LOCK]).fetchall()
            if mine:
                _upgrade_langgraph(connection)
                migrations.upgrade(transaction, self.sql, "postgres")
            return bool(mine)

    def _failed(self, error: psycopg.Error, *, is_lost: bool, committing: bool) -> HoldfastError:
        """Return the error of this package for an error of the driver in a transaction."""
        said = " ".join(self._url.hide(error.diag.message_primary or str(error)).split()).rstrip(".")
        state = error.sqlstate
        if state in _PASSING or (state or "").startswith("08") or (state is None and is_lost):
            return Unreachable(f"The connection to {self._url} failed: {said}.", maybe_saved=committing)
        if isinstance(error, psycopg.DataError):  # whose words quote the value
            return NotStorable(
                f"PostgreSQL cannot hold a value of this step ({type(error).__name__}), such as an id with a NUL "
                "character in it. Nothing of this step was saved."
            )
        if isinstance(error, psycopg.OperationalError):
            return DatabaseUnavailable(
                f"{self._url} could not run a statement: {said}. Nothing of this step was saved. Check the space on "
                "the server's disk, and the limits of the server."
            )
        return DatabaseUnavailable(
            f"{self._url} refused a statement: {said}. Nothing of this step was saved. Needed: a server that "
            "takes writes, which a standby does not, and the tables as this program made them."
        )

    def _unavailable(self, error: Exception) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"Cannot open the PostgreSQL database {self._url}: {self._url.hide(str(error))}. Needed: a server that "
            "answers there, and a user who may log in and make tables."
        )


@cache
def _dialect(text: str) -> str:
    """Return a statement with its named parameters in the syntax of psycopg."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


def _upgrade_langgraph(connection: Connection) -> None:
    """Make LangGraph's tables with its own migrations, in this transaction.

    Its `setup()` fails in seven of eight processes that start at once, and makes indexes concurrently, which is
    impossible in a transaction.
    """
    first, *_ = BasePostgresSaver.MIGRATIONS
    connection.execute(_own(first))
    [(done,)] = connection.execute("SELECT coalesce(max(v), -1) FROM checkpoint_migrations").fetchall()
    for version, script in enumerate(BasePostgresSaver.MIGRATIONS):
        if version > done:
            connection.execute(_own(script.replace(" CONCURRENTLY ", " ")))
            connection.execute("INSERT INTO checkpoint_migrations (v) VALUES (%s)", [version])


def _own(script: str) -> bytes:
    """Return a script of the library as bytes: psycopg takes texts only if they are literals."""
    return script.encode()
