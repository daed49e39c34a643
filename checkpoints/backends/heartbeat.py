"""A heartbeat: a daemon thread that renews what this process holds in the database.

It has a thread of its own, so it beats while a tool or a model blocks the thread, or the event loop, of the holder.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread


class Heartbeat:
    """A thread that calls a function at an interval, until it is stopped or the function returns false."""

    def __init__(self, name: str, interval: float, beat: Callable[[], bool]) -> None:
        """Prepare the thread; `start` starts it.

        Args:
            name: the name of the thread.
            interval: seconds before the first call, and from the end of a call to the next one.
            beat: renews what is held, and returns whether to go on.
        """
        self.stopping = Event()
        """Set by `stop`, so that a call that waits for the database can give up."""
        self._interval = interval
        self._beat = beat
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Possible once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a call that is under way."""
        self.stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.stopping.wait(self._interval) and self._beat():
            pass
