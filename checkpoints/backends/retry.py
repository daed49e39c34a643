"""Retries while a database is out of reach.

A server that restarts, fails over or drops its connections is back in seconds, and should not end a run that has called
models and tools for minutes. So each unit of work is repeated from its beginning until the database answers, or has
been out of reach for longer than the limit.

The time counts for the database and not for each unit of work: when the database has been away for 30 s, the next
caller gets an error after one attempt, and a run of ten saves does not take ten times 30 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import Protocol, TypeVar

from holdfast.checkpoints import times
from holdfast.checkpoints.errors import Unreachable

T = TypeVar("T")

_cancelled: ContextVar[Event | None] = ContextVar("holdfast_cancelled", default=None)


class Patience:
    """The outage of an open database, and the limit of the wait for it. Safe for threads."""

    def __init__(self, limit: float = times.OUTAGE_WAIT) -> None:
        """
        Args:
            limit: seconds to wait; 0: do not wait.
        """
        self.limit = limit
        self._since: float | None = None
        self._last = 0.0
        self._over = Event()

    def begin(self) -> None:
        """Note that the database was opened."""
        self._since = None
        self._over.clear()

    def end(self) -> None:
        """Note that the database is about to be closed, and end all waits."""
        self._over.set()

    def reached(self) -> None:
        """Note that the database has answered."""
        self._since = None

    def missed(self) -> float:
        """Note that the database has not answered. Return when the outage began, on the clock `time.monotonic`."""
        now = time.monotonic()
        if self._since is None or now - self._last > self.limit:  # the last attempt was long ago: a new outage
            self._since = now
        self._last = now
        return self._since

    def wait(self, seconds: float, *give_up: Event | None) -> bool:
        """Wait. Return whether to go on: false if one of the events is set, or the database is being closed."""
        events = [self._over, *(event for event in give_up if event is not None)]
        end = time.monotonic() + seconds
        while not any(event.is_set() for event in events):
            left = end - time.monotonic()
            if left <= 0:
                return True
            self._over.wait(min(left, times.GIVE_UP_POLL))
        return False

    def is_lost(self) -> bool:
        """Return whether to stop waiting for other callers that wait for the database.

        True if the database is out of reach, and it is being closed or the caller on an event loop was cancelled. When
        the database answers, the other callers are done soon.
        """
        cancelled = _cancelled.get()
        return self._since is not None and (self._over.is_set() or (cancelled is not None and cancelled.is_set()))


class Patient(Protocol):
    """An object with a `Patience`: a backend."""

    patience: Patience


def persist(
    backend: Patient,
    work: Callable[[], T],
    *,
    give_up: Event | None = None,
    limit: float | None = None,
    repeatable: bool = True,
) -> T:
    """Run a unit of work on a database, and repeat it as often as the database was out of reach.

    Args:
        backend: the database.
        work: a whole transaction with everything that leads to it. When the connection is lost during COMMIT, the
            outcome is unknown. So `work` must be idempotent, also after other writers have changed something in
            between; otherwise `repeatable` must be false.
        give_up: ends the wait when another thread sets it. The wait also ends when the caller on an event loop is
            cancelled (see `Executor.run`), and when the database is being closed.
        limit: the maximum number of seconds to wait, if less than the limit of the database.
        repeatable: whether to repeat `work` when the outcome of its COMMIT is unknown. If it certainly was not
            committed, it is repeated in any case.

    Returns:
        The result of `work`.

    Raises:
        Unreachable: the database was out of reach for longer than the limit, the wait was ended, or `work` may have
            been committed and must not be repeated.
        Exception: any other error of `work`, at once.
    """
    patience = backend.patience
    limit = patience.limit if limit is None else min(limit, patience.limit)
    since, pause, maybe_saved = float("inf"), 0.0, False
    while True:
        try:
            found = work()
        except Unreachable as error:
            since = min(since, patience.missed())
            maybe_saved = maybe_saved or error.maybe_saved
            left = since + limit - time.monotonic()
            may_go_on = left > 0 and (repeatable or not maybe_saved)
            if not may_go_on or not patience.wait(min(pause, left), give_up, _cancelled.get()):
                away = time.monotonic() - since
                raise Unreachable(error.what, maybe_saved=maybe_saved, away=away) from None
            pause = min(max(pause * 2, times.FIRST_RETRY_PAUSE), times.LONGEST_RETRY_PAUSE)
        else:
            patience.reached()
            return found


@contextmanager
def until(cancelled: Event) -> Iterator[None]:
    """Within the block, end waits for the database once the event is set."""
    token = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(token)
