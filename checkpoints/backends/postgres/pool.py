"""Connections to PostgreSQL that are kept open for the next transaction.

A connection is made by the one who needs it, when it is needed. So whoever cannot be served learns at once why, and
after an outage the first who tries again finds the server, however long it was away. (psycopg's own pool connects in
threads of its own, which try again after 1, 2, 4, 8 … seconds, and everybody waits for them.)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from threading import Condition
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

# A process that does little holds little.
_MOST_IDLE: Final = 10 * 60.0

# A session of the server grows with what it has seen, and after a failover some should come to the new one.
_LONGEST_LIFE: Final = 60 * 60.0


class Exhausted(Exception):
    """All connections were in use for as long as one was willing to wait."""


class Closed(Exception):
    """The pool was closed."""


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
            connect: makes a connection, or raises what the driver says.
            size: how many there may be.
            on_lost: called when a connection was not closed by this side, before another one is given out in its place:
                what answers next may be another server, or one that was restored.
        """
        self._connect = connect
        self._on_lost = on_lost
        self._size = size
        self._idle: deque[_Held] = deque()  # the one that was used last is at the end
        self._in_use = 0
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        """How many connections are open."""
        with self._changed:
            return self._in_use + len(self._idle)

    @contextmanager
    def connection(self, timeout: float) -> Iterator[Connection]:
        """A connection that works, for as long as the block takes. What is left open in it is rolled back.

        Args:
            timeout: seconds to wait while all are in use.

        Raises:
            Exhausted: all were in use.
            Closed: the pool is closed.
            psycopg.OperationalError: no connection could be made.
        """
        held = self._take(timeout)
        try:
            yield held.connection
        finally:
            self._give_back(held)

    def close(self) -> None:
        """Close all connections; those that are in use when they are given back. Twice is once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._drop(0.0)

    def _take(self, timeout: float) -> _Held:
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._in_use < self._size, timeout):
                raise Exhausted
            if self._closed:
                raise Closed
            self._in_use += 1
        try:
            while (held := self._pop()) is not None:
                quiet = is_quiet(held.connection)
                if quiet and time.monotonic() - held.made < _LONGEST_LIFE:
                    return held
                if not quiet:
                    self._on_lost()
                held.connection.close()
            now = time.monotonic()
            return _Held(self._connect(), now, now)
        except BaseException:
            self._leave()
            raise

    def _give_back(self, held: _Held) -> None:
        connection = held.connection
        try:
            with suppress(psycopg.Error):  # then it is closed below
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
        """Close those that nobody has used for so many seconds."""
        while True:
            with self._changed:
                if not self._idle or time.monotonic() - self._idle[0].used < idle:
                    return
                held = self._idle.popleft()
            held.connection.close()


def is_quiet(connection: Connection) -> bool:
    """Whether the server has said nothing since the last transaction. A server that closes a connection says so, and
    looking whether there is something to read costs no round trip."""
    with DefaultSelector() as selector:
        selector.register(connection.fileno(), EVENT_READ)
        return not selector.select(0)
