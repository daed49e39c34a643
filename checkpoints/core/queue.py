"""FIFO queues of the saves of this process, one for each thread.

LangGraph saves in the background, from several OS threads. The save that was asked for first must get its rows first.
Otherwise an answer could stand before the message that it answers, and every later checkpoint would repeat that order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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

    @contextmanager
    def join(self, name: str) -> Iterator[Ticket]:
        """Take the last place in a queue, and leave the queue when the block ends."""
        ticket = Ticket(self, name)
        with self._lock:
            queue = self._queues.setdefault(name, deque())
            queue.append(ticket)
            if len(queue) == 1:
                ticket.is_first.set()
        try:
            yield ticket
        finally:
            ticket.release()

    def leave(self, name: str, ticket: Ticket) -> None:
        """Remove a ticket from its queue, and let the next one begin."""
        with self._lock:
            queue = self._queues[name]
            queue.remove(ticket)
            if queue:
                queue[0].is_first.set()
            else:
                del self._queues[name]
