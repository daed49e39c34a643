"""Transactions on SQLite, with group commit for the writers of several threads.

A commit waits for the disk, and SQLite has one writer. So a writer that has others behind it in the queue does not
commit: the next one continues in the same transaction, behind a savepoint, and the last one in the queue commits for
all. No writer returns before that commit, so a save that was acknowledged is on disk, as without a group. A writer that
fails is rolled back to its savepoint and does not affect the others; a commit that fails, fails for all of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, Changed, OnStatement
from holdfast.checkpoints.backends.records import Row, RowNames
from holdfast.checkpoints.sql import Statement

_BEGIN: Final = Statement("begin", "BEGIN IMMEDIATE")  # a deferred one fails when it turns into a writer too late
_BEGIN_READING: Final = Statement("begin", "BEGIN")
_COMMIT: Final = Statement("commit", "COMMIT")
_BEGIN_PART: Final = Statement("begin_part", "SAVEPOINT part")

# The maximum size of a group, since the first member waits for all that follow.
MOST: Final = 32

# Seconds that a member waits for the commit before it checks that a writer is left that will commit: the next one in
# the queue may have been interrupted.
_PATIENCE: Final = 0.1

_names: Final = RowNames()


class SqliteTransaction:
    """Statements on a connection; see `Transaction`."""

    def __init__(self, connection: sqlite3.Connection, on_statement: OnStatement | None) -> None:
        self.connection = connection
        self._on_statement = on_statement

    def run(self, calls: Sequence[Call]) -> list[list[Row]]:
        found: list[list[Row]] = []
        for statement, params in calls:
            if self._on_statement is not None:
                self._on_statement(statement.name)
            cursor = self.connection.execute(statement.text, params)
            rows = cursor.fetchall()
            found.append(_names.name(statement, partial(_columns, cursor), rows) if rows else [])
        return found

    def require(self, calls: Sequence[Call], is_current: Callable[[], bool]) -> int:
        """Run calls that must find exactly one row each, and return the first column of the first.

        Raises:
            Changed: one has found none, or a save that they build on was not committed.
        """
        if not is_current() or not all(found := self.run(calls)):
            raise Changed
        generation: int = found[0][0][0]
        return generation

    def send(self, calls: Sequence[Call]) -> None:
        self.run(calls)

    def send_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._on_statement is not None:
            self._on_statement(statement.name)
        self.connection.executemany(statement.text, rows)

    def do(self, statement: Statement) -> None:
        if self._on_statement is not None:
            self._on_statement(statement.name)
        self.connection.execute(statement.text)

    def roll_back(self) -> None:
        with suppress(sqlite3.Error):  # it may not have begun, or SQLite has rolled back by itself
            self.connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read one snapshot in the block."""
        try:
            self.do(_BEGIN_READING)
            yield
            self.do(_COMMIT)
        except BaseException:
            self.roll_back()
            raise


def _columns(cursor: sqlite3.Cursor) -> list[str]:
    return [column[0] for column in cursor.description]


@dataclass(slots=True)
class _Group:
    """A transaction that is open for writing."""

    transaction: SqliteTransaction
    members: int = 0
    """The number of writers that have written in it and wait for its commit."""
    is_over: bool = False
    over: Event | None = None
    """Set when it is over; made by the first member that waits for that."""
    error: sqlite3.Error | None = None


class WriterQueue:
    """A queue of writers.

    The writer holds `_lock`. `_group` is used only under the lock, and ended by the last writer in the queue, by a
    member that has waited long enough, or by a caller of `alone`.
    """

    def __init__(self, most: int = MOST, on_lost: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            most: the maximum size of a group.
            on_lost: called before the next writer when what others have written was not committed.
        """
        self._on_lost = on_lost
        self._lock = Lock()
        self._group: _Group | None = None
        self._most = most
        self._counting = Lock()
        self._waiting = 0  # writers in the queue; a wrong number costs only time

    @contextmanager
    def turn(self, connect: Callable[[], SqliteTransaction]) -> Iterator[SqliteTransaction]:
        """Wait for the turn to write. The writes of the block are on disk when it ends, and rolled back if it raises.

        Args:
            connect: called at the turn; returns a transaction on the only connection that writes.

        Raises:
            sqlite3.Error: the transaction could not begin, or not be committed.
        """
        self._count(1)
        counted = True
        try:
            with self._lock:
                self._count(-1)
                counted = False
                transaction = connect()
                group = self._group or self._begin(transaction)
                begun = False
                try:
                    if group.members:
                        transaction.do(_BEGIN_PART)
                    begun = True
                    yield transaction
                except BaseException as error:
                    self._undo(group, error, begun=begun)
                    raise
                group.members += 1
                if self._waiting <= 0 or group.members >= self._most:
                    self._commit(group)
        finally:
            if counted:
                self._count(-1)
        if not group.is_over:
            self._wait_for(group)
        if group.error is not None:
            raise group.error

    def _wait_for(self, group: _Group) -> None:
        with self._counting:
            over = group.over = group.over or Event()
        while not group.is_over and not over.wait(_PATIENCE):
            with self._lock:
                if self._group is group:
                    self._commit(group)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for the turn, and commit the open transaction."""
        with self._lock:
            if self._group is not None:
                self._commit(self._group)
            yield

    def _count(self, more: int) -> None:
        with self._counting:
            self._waiting += more

    def _begin(self, transaction: SqliteTransaction) -> _Group:
        try:
            transaction.do(_BEGIN)
        except BaseException:
            transaction.roll_back()  # interrupted, it may have begun
            raise
        self._group = _Group(transaction)
        return self._group

    def _undo(self, group: _Group, error: BaseException, *, begun: bool) -> None:
        """Roll back the writes of one member, and commit those of the others if no writer follows."""
        connection = group.transaction.connection
        if not group.members:
            group.transaction.roll_back()
        elif begun:
            try:
                connection.execute("ROLLBACK TO part")
            except sqlite3.Error:
                group.transaction.roll_back()
        if not connection.in_transaction:  # on some errors SQLite rolls back the whole transaction
            self._end(group, error)
        elif self._waiting <= 0:
            self._commit(group)

    def _commit(self, group: _Group) -> None:
        transaction = group.transaction
        try:
            transaction.do(_COMMIT)
        except BaseException as error:
            by_sqlite = isinstance(error, sqlite3.Error)
            committed = not by_sqlite and not transaction.connection.in_transaction
            transaction.roll_back()
            self._end(group, None if committed else error)
            if not by_sqlite:
                raise
        else:
            self._end(group, None)

    def _end(self, group: _Group, error: BaseException | None) -> None:
        self._group = None
        if error is not None and group.members:
            self._on_lost()
        if error is not None and not isinstance(error, sqlite3.OperationalError):
            error = _lost_with(error)
        group.error = error
        with self._counting:
            group.is_over = True
            if group.over is not None:
                group.over.set()


def _lost_with(error: BaseException) -> sqlite3.OperationalError:
    """Return the error for the other members when one of them, or the one that commits, was interrupted."""
    lost = sqlite3.OperationalError(f"another thread that shared the transaction failed ({error!r})")
    lost.sqlite_errorcode = sqlite3.SQLITE_ABORT
    return lost
