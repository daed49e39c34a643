"""PostgreSQL, over a pool of connections. Each save is two round trips: read and lock, then write and commit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import psycopg
from langgraph.checkpoint.postgres.base import BasePostgresSaver
from psycopg.generators import send

from holdfast.checkpoints.backends import migrations
from holdfast.checkpoints.backends.base import (
    NOT_OPEN,
    Call,
    Changed,
    FullText,
    OnStatement,
    Transaction,
    check_process,
    refuse_use,
)
from holdfast.checkpoints.backends.postgres import faults
from holdfast.checkpoints.backends.postgres.at_once import combine
from holdfast.checkpoints.backends.postgres.encodings import KNOWN, Repertoire
from holdfast.checkpoints.backends.postgres.full_text import PostgresFullText
from holdfast.checkpoints.backends.postgres.pool import Closed, Connection, Exhausted, Pool
from holdfast.checkpoints.backends.postgres.scrub import UNREACHABLE, scrub_tables
from holdfast.checkpoints.backends.postgres.session import (
    connect,
    pipeline,
    quoted,
    read_role,
    settings,
    takes_writes,
)
from holdfast.checkpoints.backends.postgres.session import transaction as begun
from holdfast.checkpoints.backends.postgres.tables import PostgresTables
from holdfast.checkpoints.backends.records import Row, RowNames
from holdfast.checkpoints.backends.retry import Patience
from holdfast.checkpoints.errors import DatabaseUnavailable, DriverFault, NotOpen
from holdfast.checkpoints.sql import Statement, load_statements
from holdfast.checkpoints.urls import PostgresURL

_NOW: Final = "extract(epoch FROM clock_timestamp())"

# The key of the lock that is held while tables are made: a number that other programs are unlikely to use.
_MIGRATION_LOCK: Final = 0x486F6C6466617374

# Seconds. Processes that start at once wait for the one that makes the tables.
_MIGRATION_PATIENCE: Final = 60.0

# The length of a save in one statement that may be prepared: each row that it adds takes 20 kB of the server's memory
# in each session, and few saves of many rows have as many as another.
_LONGEST_PREPARED: Final = 4000

# An index on a large table may take longer than a role's statements may.
_UNLIMITED: Final = "SET LOCAL statement_timeout = 0"

# The levels are always named: the default of a server or a role may be any.
_BEGIN_READING: Final = Statement("begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_BEGIN_WRITING: Final = Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED")
_COMMIT: Final = Statement("commit", "COMMIT")

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
        self._connection.cursor(binary=True).executemany(psycopg_text(statement.text), rows)

    def _execute(self, calls: Sequence[Call]) -> list[psycopg.Cursor[tuple[Any, ...]]]:
        cursors = []
        for statement, params in calls:
            if self._on_statement is not None:
                self._on_statement(statement.name)
            cursor = self._connection.cursor(binary=True)
            cursors.append(cursor.execute(psycopg_text(statement.text), params))
        return cursors


def _rows(statement: Statement, cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[Row]:
    result = cursor.pgresult
    if result is None or not result.ntuples:
        return []
    try:
        values = cursor.fetchall()
    except ValueError as error:  # such as a number of 5,000 digits in JSON
        raise DriverFault(
            f"A value that the statement {statement.name!r} has found cannot be read ({error}). Nothing was changed. "
            "`holdfast db check --deep` names the threads that are damaged; restore them from a backup."
        ) from error
    return _names.name(statement, lambda: [column.name for column in cursor.description or ()], values)


@dataclass(slots=True)
class _Session:
    """A connection in use, and whether an error now would leave open whether the transaction was committed."""

    connection: Connection
    committing: bool = False


class PostgresBackend(PostgresTables):
    """A PostgreSQL database."""

    unreachable: Sequence[str] = UNREACHABLE
    is_exclusive = False

    def __init__(self, url: PostgresURL, *, pool_size: int = 10, on_statement: OnStatement | None = None) -> None:
        self._url = url
        self.on_statement = on_statement
        self.on_use: Callable[[], None] = refuse_use
        self.on_lost: Callable[[], None] = lambda: None
        self.workers = pool_size
        self.sql = load_statements("postgres", now=_NOW)
        self.full_text: FullText = PostgresFullText(self.sql)
        self.patience = Patience(url.timeout)
        self._settings: list[Statement] = []
        self._repertoire: Repertoire | None = None
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
                raise faults.not_opened(self._url, error) from None  # the driver's own error may hold the password
            raise
        self.patience.begin()
        self._pool, self._opened_by = pool, os.getpid()

    def close(self) -> None:
        self.patience.end()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return 0 if self._pool is None else len(self._pool)

    def takes_writes(self) -> bool:
        with self._session() as session:
            return takes_writes(session.connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        # One snapshot for all statements: a thread that is deleted meanwhile exists for all of them or for none.
        with self._transaction(_BEGIN_READING) as transaction:
            yield transaction

    @contextmanager
    def glancing(self) -> Iterator[Transaction]:
        if self._settings:  # they last as long as a transaction
            with self.reading() as transaction:
                yield transaction
            return
        with self._session() as session:
            yield _PostgresTransaction(session.connection, None, self.on_statement)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        # Each statement after the thread's lock must see everything that was committed before the lock was taken.
        with self._transaction(_BEGIN_WRITING) as transaction:
            yield transaction

    def scrub(self) -> list[str]:
        with self._session() as session:
            return list(scrub_tables(session.connection, self._url.schema, self._url.timeout))

    @contextmanager
    def borrowed(self, *, alone: bool) -> Iterator[Connection]:
        """Lend a connection to code that has statements of its own, in a transaction that ends with the block.

        Args:
            alone: the block runs one statement, or only reads: it needs no transaction if the role needs no settings.
        """
        with self._session() as session:
            if alone and not self._settings:
                yield session.connection
                return
            with begun(session.connection, self._settings):
                yield session.connection
                session.committing = True

    @contextmanager
    def making_tables(self) -> Iterator[Connection | None]:
        """Lend a connection, in a transaction, to the one process that makes tables; `None` while another one does."""
        with self.borrowed(alone=False) as connection:
            mine = _lock_tables(connection)
            if mine:
                connection.execute(_UNLIMITED)
            yield connection if mine else None

    def save_at_once(
        self,
        required: Sequence[Call],
        calls: Sequence[Call],
        *,
        is_current: Callable[[], bool],
        written: Callable[[int], None],
    ) -> bool:
        text, params = combine(required, calls)
        try:
            with self._session() as session:
                if not is_current():  # the other connections were lost
                    return False
                if self.on_statement is not None:
                    # The statement begins and commits by itself.
                    parts = [statement for statement, _ in (*required, *calls)]
                    for statement in (_BEGIN_WRITING, *parts, _COMMIT):
                        self.on_statement(statement.name)
                session.committing = True
                generation = self._run_alone(session, text, params)
        except Changed:
            return False
        written(generation)
        return True

    def _run_alone(self, session: _Session, text: bytes, params: Sequence[Any]) -> int:
        """Run a statement of `combine`, in a transaction of its own.

        Raises:
            Changed: nothing was changed.
        """
        connection = session.connection
        cursor = psycopg.RawCursor(connection)
        prepare = None if len(text) <= _LONGEST_PREPARED else False
        try:
            if self._settings:  # they last as long as the transaction
                with pipeline(connection):
                    for statement in (_BEGIN_WRITING, *self._settings):
                        connection.execute(statement.text.encode())
                    cursor.execute(text, params, prepare=prepare)
                    connection.execute(_COMMIT.text.encode())
            else:
                cursor.execute(text, params, prepare=prepare)
        except (psycopg.errors.DivisionByZero, psycopg.errors.SerializationFailure):
            raise Changed from None
        [(generation, _)] = cursor.fetchall()
        return int(generation)

    @contextmanager
    def _transaction(self, begin: Statement) -> Iterator[Transaction]:
        with self._session() as session, pipeline(session.connection) as sending:
            transaction = _PostgresTransaction(session.connection, sending, self.on_statement)
            transaction.send([(statement, {}) for statement in (begin, *self._settings)])
            yield transaction  # on an error, the pool rolls back when the connection is returned
            session.committing = True
            transaction.send([(_COMMIT, {})])  # the pipeline's end waits for it

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        """Take a connection for the block, and explain the errors of the driver."""
        if self._pool is None:
            self.on_use()
        pool = self._pool
        if pool is None:  # closed meanwhile
            raise NotOpen(NOT_OPEN)
        check_process(self._opened_by)
        session: _Session | None = None
        try:
            with pool.connection(self._url.timeout) as connection:
                session = _Session(connection)
                yield session
        except psycopg.Error as error:
            is_lost = session is None or session.connection.closed  # or could not be made
            committing = session is not None and session.committing
            # The driver's own error may hold the password.
            raise faults.failed(self._url, error, is_lost=is_lost, committing=committing) from None
        except Exhausted:
            raise DatabaseUnavailable(
                f"All {self.workers} connections to {self._url} were in use for {self._url.timeout:.0f} s. Raise "
                "pool_size (with `holdfast serve`, HOLDFAST_POOL_SIZE), or run less at once."
            ) from None
        except Closed:
            raise NotOpen(NOT_OPEN) from None

    def _connect(self) -> Connection:
        return connect(self._url, self._repertoire)

    def _prepare(self, connection: Connection) -> None:
        deadline = time.monotonic() + _MIGRATION_PATIENCE
        self._read_role(connection)
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
        with begun(connection, self._settings):
            if migrations.is_current(transaction, self.sql):
                return True
            mine = _lock_tables(connection)
            if mine:
                connection.execute(_UNLIMITED)
                if self._url.schema is not None:
                    _make_schema(connection, self._url.schema)
                _upgrade_langgraph(connection)
                migrations.upgrade(transaction, self.sql, "postgres")
            return mine

    def _read_role(self, connection: Connection) -> None:
        """Read what the server has set for this role: what each transaction sets for itself, and which texts fit.

        Raises:
            DatabaseUnavailable: the encoding of the database cannot hold every text.
        """
        role = read_role(connection)
        if role.encoding not in KNOWN:
            raise faults.unknown_encoding(self._url, role.encoding)
        self._settings, self._repertoire = settings(self._url, role), Repertoire.of(role.encoding)
        if self._repertoire is not None:
            self._repertoire.register(connection)


@cache
def psycopg_text(text: str) -> str:
    """Return a statement with its named parameters in the syntax of psycopg."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


def _lock_tables(connection: Connection) -> bool:
    """Try to become the one process that makes tables. The lock ends with the transaction, not with the session."""
    [(mine,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_MIGRATION_LOCK]).fetchall()
    return bool(mine)


def _make_schema(connection: Connection, name: str) -> None:
    """Make a schema if it is not there; else the role needs no right to make one."""
    is_there = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %s)"
    [(there,)] = connection.execute(is_there, [name]).fetchall()
    if not there:
        connection.execute(_own(f"CREATE SCHEMA {quoted(name)}"))


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
