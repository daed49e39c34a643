"""FIFO queues of the saves of this process, one for each thread, and the saves that are under way.

LangGraph saves in the background, from several OS threads. The save that was asked for first must get its rows first.
Otherwise an answer could stand before the message that it answers, and every later checkpoint would repeat that order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Event, Lock
from typing import Self, TypeVar

from holdfast.checkpoints import times

T = TypeVar("T")


class _UnderWay:
    """A save that is not over. What others wait with is made only when one of them does."""

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over: Future[None] | None = None

    def over(self) -> Future[None]:
        """Return a future of the end of the save. Called with the lock of the queues."""
        if self._over is None:
            self._over = Future()
            self._over.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it
        return self._over

    def end(self) -> None:
        if self._over is not None:
            self._over.set_result(None)


class Ticket(_UnderWay):
    """A place in a queue, which is left when the block ends."""

    __slots__ = ("_first", "_is_first", "_is_released", "_name", "_queues")

    def __init__(self, queues: SaveQueues, name: str) -> None:
        super().__init__()
        self._first: Event | None = None
        self._is_first = False
        self._is_released = False
        self._name = name
        self._queues = queues

    def __enter__(self) -> Self:
        self._queues.enter(self._name, self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
        self._queues.end(self._name, self)

    def wait(self, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until this ticket is the first of its queue, and return true; return false once `give_up` says so."""
        if self._is_first:
            return True
        first = self._queues.event_of(self)
        while not first.wait(times.GIVE_UP_POLL):
            if give_up():
                return False
        return True

    def release(self) -> None:
        """Let the next save of the queue begin. Idempotent."""
        if not self._is_released:
            self._is_released = True
            self._queues.leave(self._name, self)

    def event(self) -> Event:
        """Return the event that is set when the ticket is the first. Called with the lock of the queues."""
        if self._first is None:
            self._first = Event()
            if self._is_first:
                self._first.set()
        return self._first

    def become_first(self) -> None:
        """Let the save begin. Called with the lock of the queues."""
        self._is_first = True
        if self._first is not None:
            self._first.set()


class SaveQueues:
    """The queues of a process, by name. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queues: dict[str, deque[Ticket]] = {}
        self._begun: dict[str, set[Ticket]] = {}
        self._asked: dict[str, set[_UnderWay]] = {}

    def join(self, name: str) -> Ticket:
        """Return a ticket. Its `with` block takes the last place in a queue, and leaves the queue when it ends."""
        return Ticket(self, name)

    @contextmanager
    def asked_for(self, name: str) -> Iterator[None]:
        """Note, until the block ends, that a save was asked for which has to wait for a thread before it can begin."""
        save = _UnderWay()
        with self._lock:
            self._asked.setdefault(name, set()).add(save)
        try:
            yield
        finally:
            with self._lock:
                _remove(self._asked, name, save)
            save.end()

    def under_way(self, name: str) -> list[Future[None]]:
        """Return a future for each save that was asked for and is not over."""
        if name not in self._asked and name not in self._begun:
            return []
        with self._lock:
            return [save.over() for save in (*self._asked.get(name, ()), *self._begun.get(name, ()))]

    def settle(self, name: str, give_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the saves that have begun are over, or until `give_up` says so.

        What is loaded after that is not overtaken by a save that began before. Saves that wait for a thread are not
        waited for: they may wait for the one that the caller holds.
        """
        if name not in self._begun:
            return
        with self._lock:
            saves = [save.over() for save in self._begun.get(name, ())]
        while wait(saves, times.GIVE_UP_POLL).not_done and not give_up():
            pass

    # --- for tickets

    def enter(self, name: str, ticket: Ticket) -> None:
        """Add a ticket to its queue."""
        with self._lock:
            queue = self._queues.setdefault(name, deque())
            queue.append(ticket)
            self._begun.setdefault(name, set()).add(ticket)
            if len(queue) == 1:
                ticket.become_first()

    def event_of(self, ticket: Ticket) -> Event:
        """Return the event that is set when a ticket is the first of its queue."""
        with self._lock:
            return ticket.event()

    def leave(self, name: str, ticket: Ticket) -> None:
        """Remove a ticket from its queue, and let the next one begin."""
        with self._lock:
            queue = self._queues[name]
            queue.remove(ticket)
            if queue:
                queue[0].become_first()
            else:
                del self._queues[name]

    def end(self, name: str, ticket: Ticket) -> None:
        """Note that a save is over."""
        with self._lock:
            _remove(self._begun, name, ticket)
        ticket.end()


def _remove(saves: dict[str, set[T]], name: str, save: T) -> None:
    saves[name].remove(save)
    if not saves[name]:
        del saves[name]
