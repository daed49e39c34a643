"""Transactions on SQLite. Those of several threads that write are committed as one.

A commit waits for the disk, and SQLite has one writer. So who has written, while others are in line already, does not
commit: the next one goes on in the same transaction, behind a savepoint, and the last in line commits for all. Nobody
returns before that commit, so what a caller is told is saved is on disk, as without a group. What fails is rolled back
to its savepoint and costs the others nothing; a commit that fails, fails for each of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, OnStatement, Row
from holdfast.checkpoints.backends.rows import RowNames
from holdfast.checkpoints.sql import Statement

_BEGIN: Final = Statement("begin", "BEGIN IMMEDIATE")  # a deferred one fails when it turns into a writer too late
_BEGIN_READING: Final = Statement("begin", "BEGIN")
_COMMIT: Final = Statement("commit", "COMMIT")
_BEGIN_PART: Final = Statement("begin_part", "SAVEPOINT part")

# Who was first waits for all that come after.
_MOST: Final = 32

# How long somebody waits for a commit before looking whether anybody is there to make it: who was next in line may have
# been interrupted. In seconds.
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

    def send(self, calls: Sequence[Call]) -> None:
        self.run(calls)

    def send_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._on_statement is not None:
            self._on_statement(statement.name)
        self.connection.executemany(statement.text, rows)

    def do(self, statement: Statement) -> None:
        self.run([(statement, {})])

    def roll_back(self) -> None:
        with suppress(sqlite3.Error):  # it may not have begun, or SQLite has rolled back by itself
            self.connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read in the block is all of one moment."""
        try:
            self.do(_BEGIN_READING)
            yield
            self.do(_COMMIT)
        except BaseException:
            self.roll_back()
            raise


def _columns(cursor: sqlite3.Cursor) -> list[str]:
    return [column[0] for column in cursor.description]


@dataclass
class _Group:
    """A transaction that is open for writing."""

    transaction: SqliteTransaction
    members: int = 0
    """How many have written in it and wait for its commit."""
    over: Event = field(default_factory=Event)
    error: sqlite3.Error | None = None


class WriterQueue:
    """Those who want to write, one after the other.

    `_lock` is held by who writes. `_group` is touched only under it, and ended by the last in line, by a member that
    has waited long enough, or by who wants to be `alone`.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._lock = Lock()
        self._group: _Group | None = None
        self._most = most
        self._counting = Lock()
        self._waiting = 0  # who is in line; one too many or too few costs time and nothing else

    @contextmanager
    def turn(self, connect: Callable[[], SqliteTransaction]) -> Iterator[SqliteTransaction]:
        """Wait for one's turn to write. What is written in the block is on disk when it ends; when it raises, nothing
        of it is kept.

        Args:
            connect: asked when it is this one's turn, for a transaction on the one connection that writes.

        Raises:
            sqlite3.Error: the transaction could not begin, or not be committed.
        """
        with self._place():
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
        while not group.over.wait(_PATIENCE):
            with self._lock:
                if self._group is group:
                    self._commit(group)
        if group.error is not None:
            raise group.error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for one's turn, with no transaction open."""
        with self._lock:
            if self._group is not None:
                self._commit(self._group)
            yield

    @contextmanager
    def _place(self) -> Iterator[None]:
        self._count(1)
        counted = True
        try:
            with self._lock:
                self._count(-1)
                counted = False
                yield
        finally:
            if counted:
                self._count(-1)

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
        """Take back what one has written, and see to the others' commit."""
        connection = group.transaction.connection
        if not group.members:
            group.transaction.roll_back()
        elif begun:
            try:
                connection.execute("ROLLBACK TO part")
            except sqlite3.Error:
                group.transaction.roll_back()
        if not connection.in_transaction:  # SQLite rolls back by itself on some errors, and all of it
            self._end(group, error)
        elif self._waiting <= 0:
            self._commit(group)

    def _commit(self, group: _Group) -> None:
        transaction = group.transaction
        try:
            transaction.do(_COMMIT)
        except BaseException as error:
            told = isinstance(error, sqlite3.Error)
            committed = not told and not transaction.connection.in_transaction
            transaction.roll_back()
            self._end(group, None if committed else error)
            if not told:
                raise
        else:
            self._end(group, None)

    def _end(self, group: _Group, error: BaseException | None) -> None:
        self._group = None
        if error is not None and not isinstance(error, sqlite3.OperationalError):
            error = _lost_with(error)
        group.error = error
        group.over.set()


def _lost_with(error: BaseException) -> sqlite3.OperationalError:
    """What the others are told when one of them, or who commits for them, could not go on."""
    lost = sqlite3.OperationalError(f"another thread that shared the transaction failed ({error!r})")
    lost.sqlite_errorcode = sqlite3.SQLITE_ABORT
    return lost
