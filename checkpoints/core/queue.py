"""Lines: of those who want to save in the same thread, each begins in the order in which they came.

LangGraph saves in the background, from several threads. What it saves first must get its rows first: an answer that
overtakes what it answers would stand before it for ever, and every later checkpoint would have to say so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from holdfast.checkpoints import times


class Ticket:
    """A place in a line."""

    def __init__(self, lines: SaveQueues, name: str) -> None:
        self._lines = lines
        self._name = name
        self._comes = Event()

    def wait(self, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until all who came before have begun, or `give_up` says not to. Gives whether they have."""
        while not self._comes.wait(times.GIVE_UP_POLL):
            if give_up():
                return False
        return True

    def over(self) -> None:
        """One has begun: the next one may. Twice is once."""
        self._lines._leave(self._name, self)  # noqa: SLF001 - a line and its places are one

    def _come(self) -> None:
        self._comes.set()


class SaveQueues:
    """The lines of a process, by name."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lines: dict[str, deque[Ticket]] = {}

    @contextmanager
    def join(self, name: str) -> Iterator[Ticket]:
        """Take the last place in a line, and give it up when the block ends."""
        turn = Ticket(self, name)
        with self._lock:
            line = self._lines.setdefault(name, deque())
            line.append(turn)
            if len(line) == 1:
                turn._come()  # noqa: SLF001
        try:
            yield turn
        finally:
            turn.over()

    def _leave(self, name: str, turn: Ticket) -> None:
        with self._lock:
            line = self._lines.get(name, deque())
            if turn not in line:
                return
            line.remove(turn)
            if not line:
                del self._lines[name]
            else:
                line[0]._come()  # noqa: SLF001 - it may have come already
