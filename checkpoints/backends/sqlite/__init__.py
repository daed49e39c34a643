"""SQLite: a file, or `memory://`, which is SQLite in memory.

Writers of one process wait in a queue, and processes wait for SQLite's own lock. A queue is several times as fast as 32
writers that poll for the file, and the writers in it share commits. Readers have connections of their own and do not
wait.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

from langgraph.checkpoint.sqlite import SqliteSaver

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
from holdfast.checkpoints.backends.retry import Patience
from holdfast.checkpoints.backends.sqlite.full_text import SqliteFullText, relevance
from holdfast.checkpoints.backends.sqlite.group_commit import MOST, SqliteTransaction, WriterQueue
from holdfast.checkpoints.backends.sqlite.scrub import UNREACHABLE, scrub_file
from holdfast.checkpoints.backends.sqlite.tables import SqliteTables
from holdfast.checkpoints.errors import DatabaseUnavailable, NotOpen
from holdfast.checkpoints.serde.jsonb import text_contains
from holdfast.checkpoints.sql import load_statements
from holdfast.checkpoints.urls import MemoryURL, SqliteURL

# Julian day 2440587.5 is 1970-01-01; `unixepoch('subsec')` is NULL before SQLite 3.42.
_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

# A save writes each page that it changes into the log. With pages of 4 KB a turn writes half as much as with 8 KB, and
# about what a turn of the stock saver writes. Messages of 2,000 characters, of which a page holds one, take 2.75 bytes
# a byte of text and not 2.13.
PAGE_SIZE: Final = 4096


class _Explained:
    """Makes errors in a block say what to do, if they are about the file or the tables. Safe for threads."""

    def __init__(self, explain: Callable[[sqlite3.Error], DatabaseUnavailable]) -> None:
        self._explain = explain

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, sqlite3.DatabaseError) and (
            kind is sqlite3.DatabaseError or isinstance(error, sqlite3.OperationalError)
        ):
            raise self._explain(error) from error


class SqliteBackend(SqliteTables):
    """A SQLite database."""

    workers = 12  # writers wait in a queue, and a longer queue needs fewer commits

    def __init__(self, url: SqliteURL | MemoryURL, on_statement: OnStatement | None = None) -> None:
        self._url = url
        self._memory = self.is_exclusive = isinstance(url, MemoryURL)
        self._path = ":memory:" if isinstance(url, MemoryURL) else str(url.path)
        self._timeout = 0.0 if isinstance(url, MemoryURL) else url.timeout
        self._synchronous = "OFF" if isinstance(url, MemoryURL) else url.synchronous
        self.unreachable: Sequence[str] = () if self._memory else UNREACHABLE
        self.on_statement = on_statement
        self.on_use: Callable[[], None] = refuse_use
        self.on_lost: Callable[[], None] = lambda: None  # nothing tells that a file was replaced
        self.sql = load_statements("sqlite", now=_NOW)
        self.full_text: FullText = SqliteFullText(self.sql)
        self.patience = Patience(0.0)  # SQLite waits by itself, and a file is never out of reach for a moment
        self._writer: sqlite3.Connection | None = None
        self._opened_by = 0
        # Memory waits for no disk.
        self._writers = WriterQueue(1 if self._memory else MOST, self._lose)
        self._readers: deque[sqlite3.Connection] = deque()  # safe for threads, as it is used here
        self.explained = _Explained(self.explain)
        """Explains the errors of the driver in a `with` block."""

    def __str__(self) -> str:
        return str(self._url)

    def open(self) -> None:
        path = Path(self._path)
        if path.is_file() and not os.access(path, os.W_OK):
            # SQLite would open it, refuse the first save, and leave read-only files beside it.
            raise self._unavailable(PermissionError("the file is read-only"))
        if not self._memory:
            with suppress(OSError):  # SQLite says what is wrong
                # Readable by its owner only. The files beside it get the same permissions.
                path.touch(mode=0o600, exist_ok=False)
        try:
            connection = self.connect()
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error
        try:
            if self._memory:
                _copy_tables(connection)
            else:
                self.prepare(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        self._writer, self._opened_by = connection, os.getpid()

    def close(self) -> None:
        with self._writers.alone():
            writer, self._writer = self._writer, None
            self._close_readers()
            if writer is not None:
                writer.close()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        if self._writer is None:
            self.on_use()  # before it enters the queue of writers, because `close` waits for that queue
        if self._memory:  # one connection, so readers wait in the queue as well
            with self._writers.alone():
                yield self._on(self._open_writer())
            return
        self._open_writer()
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self.connect()
        try:
            transaction = self._on(connection)
            with self.explained, transaction.reading():
                yield transaction
        finally:
            if len(self._readers) < self.workers:
                self._readers.append(connection)
            else:
                connection.close()
            if self._writer is None:  # closed meanwhile
                self._close_readers()

    def glancing(self) -> AbstractContextManager[Transaction]:
        return self.reading()

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        if self._writer is None:
            self.on_use()
        with self.explained, self._writers.turn(self._begin_writing) as transaction:
            yield transaction

    def save_at_once(
        self,
        required: Sequence[Call],
        calls: Sequence[Call],
        *,
        is_current: Callable[[], bool],
        written: Callable[[int], None],
    ) -> bool:
        if self._writer is None:
            self.on_use()
        try:
            with self.explained, self._writers.turn(self._begin_writing) as transaction:
                generation = transaction.require(required, is_current)
                transaction.run(calls)
                written(generation)
        except Changed:
            return False
        return True

    def scrub(self) -> list[str]:
        if self._memory:
            return []
        self._open_writer()
        # With a connection of its own, and in the queue of writers: writers of this process wait there, and not for
        # SQLite's lock, which they would poll for.
        with self._writers.alone(), self.explained, closing(self.connect()) as connection:
            return list(scrub_file(connection, self.sql, self._timeout))

    def _lose(self) -> None:
        self.on_lost()

    def _on(self, connection: sqlite3.Connection) -> SqliteTransaction:
        return SqliteTransaction(connection, self.on_statement)

    def _begin_writing(self) -> SqliteTransaction:
        return self._on(self._open_writer())

    def explain(self, error: sqlite3.Error) -> DatabaseUnavailable:
        """Return the error of this package for an error of the driver."""
        return DatabaseUnavailable(
            f"The SQLite database {self._url} could not be used: {error}. Nothing of this step was saved. "
            f"{self._advice(error)}"
        )

    def _advice(self, error: sqlite3.Error) -> str:
        if "invalid fts5 file format" in str(error):  # the format with "secure-delete"
            return "Its index of full text was written by a newer SQLite: use a Python with SQLite 3.42 or newer."
        # The first byte of SQLite's code is the kind: https://www.sqlite.org/rescode.html
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return f"Look for another process that holds it for longer than {self._timeout:g} s, and try again."
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                return "Look for space on its disk, and for the state of that disk."
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return f"This process must be allowed to write {self._path}, {self._path}-wal and {self._path}-shm."
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return "The file is damaged: restore it from a backup."
            case sqlite3.SQLITE_ABORT:
                return "Try again."
            case _:
                return "Its tables were changed by another program: restore it from a backup, or open another file."

    def _close_readers(self) -> None:
        with suppress(IndexError):
            while True:
                self._readers.pop().close()

    def _open_writer(self) -> sqlite3.Connection:
        writer = self._writer
        if writer is None:  # closed meanwhile
            raise NotOpen(NOT_OPEN)
        check_process(self._opened_by)
        return writer

    def connect(self) -> sqlite3.Connection:
        """Make a connection of its own, for one thread at a time."""
        connection = sqlite3.connect(
            self._path,
            timeout=self._timeout,  # wait for another process that is writing, instead of failing at once
            isolation_level=None,  # transactions begin and end where this module says so
            check_same_thread=False,  # a connection is used by one thread at a time, but not always the same
            cached_statements=256,  # all our statements stay compiled
        )
        connection.create_function("holdfast_contains", 2, text_contains, deterministic=True)
        # As PostgreSQL has them: SQLite's own `lower` knows only the letters from A to Z.
        connection.create_function("lower", 1, _lower, deterministic=True)
        connection.create_function("strpos", 2, _strpos, deterministic=True)
        connection.create_function("holdfast_rank", 2, relevance, deterministic=True)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Create or migrate the tables."""
        # Takes effect only before the first table is made.
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        # With a write-ahead log readers do not wait for the writer.
        self._insist(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        # The log is moved into the file when it has 4 MB, also of pages that an older version has chosen.
        [(page_size,)] = connection.execute("PRAGMA page_size")
        connection.execute(f"PRAGMA wal_autocheckpoint = {4 * 2**20 // page_size}")
        self._insist(SqliteSaver(connection).setup)
        with self.explained, WriterQueue().turn(lambda: self._on(connection)) as transaction:
            migrations.upgrade(transaction, self.sql, "sqlite")

    def _insist(self, action: Callable[[], object]) -> None:
        """Repeat an action while the file is locked: SQLite's own wait does not apply to these steps."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                action()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)  # there is no signal that another process has released the file
            else:
                return

    def _unavailable(self, error: Exception) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"Cannot open the SQLite database {self._url}: {error}. Needed: a file that this process may write, or a "
            "folder in which it may make one."
        )


_copying: Final = Lock()


def _copy_tables(connection: sqlite3.Connection) -> None:
    """Fill a new database in memory with the empty tables, in a twentieth of the time it takes to make them."""
    with _copying:
        _empty_database().backup(connection)


@cache
def _empty_database() -> sqlite3.Connection:
    """Make a database in memory with all tables and no row in them. It is kept for as long as the process lives."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    atexit.register(connection.close)  # Python 3.13 warns of one that is left open
    SqliteBackend(MemoryURL()).prepare(connection)
    return connection


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _strpos(text: str | None, part: str) -> int | None:
    return None if text is None else text.find(part) + 1
