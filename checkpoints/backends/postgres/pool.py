"""A pool of connections to PostgreSQL.

The caller that needs a connection makes it. So it learns at once why that fails, and after an outage the first retry
reaches the server, however long it was away. (psycopg's own pool connects in background threads, which retry after 1,
2, 4, 8 … seconds, and all callers wait for them.)
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Condition
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

# Seconds. A process that does little keeps few connections.
_MOST_IDLE: Final = 10 * 60.0

# Seconds. A session of the server grows with time, and after a failover some connections should move to the new server.
_LONGEST_LIFE: Final = 60 * 60.0

# Seconds. For so long after the server has refused one more connection, this process asks for no more than it has.
_LIMITED: Final = 5.0


class Exhausted(Exception):
    """All connections were in use until the timeout."""


class Closed(Exception):
    """The pool is closed."""


@dataclass(slots=True)
class _Held:
    connection: Connection
    made: float
    used: float


class Pool:
    """At most `size` connections, each for one thread at a time. Safe for threads."""

    def __init__(
        self, connect: Callable[[], Connection], size: int, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            connect: makes a connection, or raises the error of the driver.
            size: the maximum number of connections.
            on_lost: called when the other side has closed a connection, before another one replaces it: the server may
                be another one, or may have been restored.
        """
        self._connect = connect
        self._on_lost = on_lost
        self._size = size
        self._idle: deque[_Held] = deque()  # the one that was used last is at the end
        self._in_use = 0
        self._making = 0  # of these, connections that are being made
        self._limit, self._limited_until = size, 0.0
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        """Return the number of open connections."""
        with self._changed:
            return self._in_use + len(self._idle)

    @contextmanager
    def connection(self, timeout: float) -> Iterator[Connection]:
        """Take a working connection for the block. A transaction that is open at its end is rolled back.

        Args:
            timeout: seconds to wait while all connections are in use.

        Raises:
            Exhausted: all connections were in use until the timeout.
            Closed: the pool is closed.
            psycopg.OperationalError: no connection could be made, and none of the others was returned in time.
        """
        held = self._take(timeout)
        try:
            yield held.connection
        finally:
            self._give_back(held)

    def close(self) -> None:
        """Close all connections, those in use when they are returned. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._drop(0.0)

    def _take(self, timeout: float) -> _Held:
        deadline = time.monotonic() + timeout
        refused: psycopg.OperationalError | None = None
        while True:
            try:
                self._enter(deadline)
            except Exhausted:
                raise refused or Exhausted from None
            try:
                return self._reuse() or self._make()
            except BaseException as error:
                self._leave()
                if not isinstance(error, psycopg.OperationalError) or not self._has_others():
                    raise
                refused = error

    def _enter(self, deadline: float) -> None:
        """Wait until this thread may have a connection, and count it in."""
        with self._changed:
            if not self._changed.wait_for(self._may_enter, max(deadline - time.monotonic(), 0)):
                raise Exhausted
            if self._closed:
                raise Closed
            self._in_use += 1

    def _may_enter(self) -> bool:
        limit = self._limit if time.monotonic() < self._limited_until else self._size
        return self._closed or self._in_use < limit

    def _has_others(self) -> bool:
        """Return whether other connections are there while no more can be made, and keep to their number for a while.

        The server, the role or a pooler may allow fewer connections than this pool does.
        """
        with self._changed:
            others = self._in_use - self._making + len(self._idle)
            if others:
                self._limit, self._limited_until = others, time.monotonic() + _LIMITED
            return others > 0

    def _make(self) -> _Held:
        with self._changed:
            self._making += 1
        try:
            connection = self._connect()
        finally:
            with self._changed:
                self._making -= 1
        now = time.monotonic()
        return _Held(connection, now, now)

    def _reuse(self) -> _Held | None:
        """Take an idle connection that works, if there is one."""
        while (held := self._pop()) is not None:
            quiet = is_quiet(held.connection)
            if quiet and time.monotonic() - held.made < _LONGEST_LIFE:
                return held
            if not quiet:
                self._on_lost()
            held.connection.close()
        return None

    def _give_back(self, held: _Held) -> None:
        connection = held.connection
        try:
            with suppress(psycopg.Error):  # the connection is closed below
                if connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
                    connection.rollback()
            if connection.closed:
                self._on_lost()
            held.used = time.monotonic()
            with self._changed:
                keep = not self._closed and connection.info.transaction_status == TransactionStatus.IDLE
                if keep:
                    self._idle.append(held)
            if not keep:
                connection.close()
        finally:
            self._leave()
        self._drop(_MOST_IDLE)

    def _pop(self) -> _Held | None:
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _leave(self) -> None:
        with self._changed:
            self._in_use -= 1
            self._changed.notify()

    def _drop(self, idle: float) -> None:
        """Close connections that were idle for some number of seconds."""
        while True:
            with self._changed:
                if not self._idle or time.monotonic() - self._idle[0].used < idle:
                    return
                held = self._idle.popleft()
            held.connection.close()


def is_quiet(connection: Connection) -> bool:
    """Return whether the server has sent nothing since the last transaction.

    A server that closes a connection sends a message first, and checking for one needs no round trip.
    """
    socket = connection.pgconn.socket
    if not hasattr(select, "poll"):  # Windows, where `select` takes any socket
        return not select.select([socket], [], [], 0)[0]
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    return not poller.poll(0)
