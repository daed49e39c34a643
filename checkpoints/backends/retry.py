"""What to do while a database is out of reach: wait, and repeat what was cut off.

A server that restarts, fails over or drops its connections is back in seconds, and a run that has called models and
tools for minutes should not end for that. So each unit of work is repeated from its beginning until the database
answers, or has been out of reach for longer than the limit.

How long is counted for the database and not for each unit: when it has been away for 30 s, whoever comes next is told
after one attempt, and a run of ten saves does not take ten times 30 s.
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
    """How long an open database has been out of reach, and how long one waits for it. Safe for threads."""

    def __init__(self, limit: float = times.OUTAGE_WAIT) -> None:
        """
        Args:
            limit: seconds that one waits; 0: not at all.
        """
        self.limit = limit
        self._since: float | None = None
        self._last = 0.0
        self._over = Event()

    def begin(self) -> None:
        """The database was opened."""
        self._since = None
        self._over.clear()

    def end(self) -> None:
        """The database is about to be closed: nobody waits any more."""
        self._over.set()

    def reached(self) -> None:
        """The database has answered."""
        self._since = None

    def missed(self) -> float:
        """The database has not answered. Gives the time since when it does not, on the clock `time.monotonic`."""
        now = time.monotonic()
        if self._since is None or now - self._last > self.limit:  # nobody has asked for long: that was another outage
            self._since = now
        self._last = now
        return self._since

    def wait(self, seconds: float, *give_up: Event | None) -> bool:
        """Wait, and say whether to go on: not when one of the events is set, nor when the database is being closed."""
        events = [self._over, *(event for event in give_up if event is not None)]
        end = time.monotonic() + seconds
        while not any(event.is_set() for event in events):
            left = end - time.monotonic()
            if left <= 0:
                return True
            self._over.wait(min(left, times.GIVE_UP_POLL))
        return False

    def is_lost(self) -> bool:
        """Whether it is no use to wait for others who wait: the database is out of reach, and it is being closed or the
        caller on an event loop was cancelled. With a database that answers, what has begun is soon done."""
        cancelled = _cancelled.get()
        return self._since is not None and (self._over.is_set() or (cancelled is not None and cancelled.is_set()))


class Patient(Protocol):
    """What has a `Patience`: a backend."""

    patience: Patience


def persist(
    backend: Patient,
    work: Callable[[], T],
    *,
    give_up: Event | None = None,
    limit: float | None = None,
    repeatable: bool = True,
) -> T:
    """Do a unit of work on a database, and do it again as often as the database was out of reach meanwhile.

    Args:
        backend: the database.
        work: one transaction, begun and ended by this, with all that leads to it. When the connection is lost during
            COMMIT nobody knows whether it took place. So doing all of it again must come to the same as doing it once,
            also after others have changed something in between; or else `repeatable` is to be false.
        give_up: when this is set by another thread, nobody waits any more. That the caller on an event loop was
            cancelled (see `Executor.run`), or that the database is being closed, does the same.
        limit: seconds to wait at the most, if that is to be less than the database's own.
        repeatable: whether `work` may be repeated when nobody knows whether it took place. When it certainly did not
            it is repeated in any case.

    Returns:
        What `work` returns.

    Raises:
        Unreachable: the database was out of reach for longer than the limit, or one is to give up, or `work` may have
            taken place and must not be repeated.
        whatever else `work` raises, at once.
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
    """Within the block nobody waits any more once the event is set."""
    token = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(token)
