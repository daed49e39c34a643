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

from holdfast.checkpoints import times


class Ticket:
    """A place in a queue."""

    def __init__(self, queues: SaveQueues, name: str) -> None:
        self.is_first = Event()
        self._queues = queues
        self._name = name
        self._is_released = False

    def wait(self, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until this ticket is the first of its queue, and return true; return false once `give_up` says so."""
        while not self.is_first.wait(times.GIVE_UP_POLL):
            if give_up():
                return False
        return True

    def release(self) -> None:
        """Leave the queue, so that the next save may begin. Idempotent."""
        if not self._is_released:
            self._is_released = True
            self._queues.leave(self._name, self)


class SaveQueues:
    """The queues of a process, by name. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queues: dict[str, deque[Ticket]] = {}
        self._begun: dict[str, set[Future[None]]] = {}
        self._asked: dict[str, set[Future[None]]] = {}

    @contextmanager
    def join(self, name: str) -> Iterator[Ticket]:
        """Take the last place in a queue, and leave the queue when the block ends."""
        ticket = Ticket(self, name)
        with self._lock:
            queue = self._queues.setdefault(name, deque())
            queue.append(ticket)
            if len(queue) == 1:
                ticket.is_first.set()
        with self._noted(self._begun, name):
            try:
                yield ticket
            finally:
                ticket.release()

    @contextmanager
    def asked_for(self, name: str) -> Iterator[None]:
        """Note, until the block ends, that a save was asked for which has to wait for a thread before it can begin."""
        with self._noted(self._asked, name):
            yield

    def under_way(self, name: str) -> list[Future[None]]:
        """Return a future for each save that was asked for and is not over."""
        with self._lock:
            return [*self._asked.get(name, ()), *self._begun.get(name, ())]

    def settle(self, name: str, give_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the saves that have begun are over, or until `give_up` says so.

        What is loaded after that is not overtaken by a save that began before. Saves that wait for a thread are not
        waited for: they may wait for the one that the caller holds.
        """
        if name not in self._begun:
            return
        with self._lock:
            saves = list(self._begun.get(name, ()))
        while wait(saves, times.GIVE_UP_POLL).not_done and not give_up():
            pass

    @contextmanager
    def _noted(self, saves: dict[str, set[Future[None]]], name: str) -> Iterator[None]:
        is_over: Future[None] = Future()
        is_over.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it
        with self._lock:
            saves.setdefault(name, set()).add(is_over)
        try:
            yield
        finally:
            with self._lock:
                saves[name].remove(is_over)
                if not saves[name]:
                    del saves[name]
            is_over.set_result(None)

    def leave(self, name: str, ticket: Ticket) -> None:
        """Remove a ticket from its queue, and let the next one begin."""
        with self._lock:
            queue = self._queues[name]
            queue.remove(ticket)
            if queue:
                queue[0].is_first.set()
            else:
                del self._queues[name]
