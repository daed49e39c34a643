"""Work that an application or a server does again and again, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import plans
from holdfast.graph.plans import BLOCKING, Io, OnLoop


class Periodic(ABC):
    """Makes passes until it is stopped; a subclass says what a pass does.

    Use it as `with` or `async with`, or call `run` or await `arun`.

    Args:
        saver: the checkpointer.
        period: seconds between two passes.
    """

    def __init__(self, saver: HoldfastSaver, *, period: float) -> None:
        if period <= 0:
            raise ValueError(f"The period of a worker must be above 0 seconds; found {period}.")
        self._saver = saver
        self._period = period
        self._on_loop: Io = OnLoop(saver)
        self._stopped = Event()
        self._awake = Event()
        self._wake_loop: Callable[[], object] = lambda: None
        self._running: Thread | asyncio.Task[None] | None = None

    @abstractmethod
    async def _pass(self, io: Io) -> float:
        """Make a pass, and return the seconds until the next one. A database that is out of reach is no error."""

    def run(self) -> None:
        """Make passes until another thread calls `stop`. A database that is out of reach does not end it."""
        while self._goes_on(self._awake):
            self._awake.wait(plans.run(self._pass(BLOCKING)))

    async def arun(self) -> None:
        """Make passes until `stop` is called. A database that is out of reach does not end it."""
        loop, awake = asyncio.get_running_loop(), asyncio.Event()
        self._wake_loop = lambda: loop.call_soon_threadsafe(awake.set)
        while self._goes_on(awake):
            rest = await self._pass(self._on_loop)
            with suppress(TimeoutError):
                await asyncio.wait_for(awake.wait(), rest)

    def _goes_on(self, awake: Event | asyncio.Event) -> bool:
        """Return whether another pass is to be made. What wakes the worker from now on begins the one after it."""
        awake.clear()
        return not self._stopped.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let `run` or `arun` end after what it is at work on. It may be called from any thread."""
        self._stopped.set()
        self.wake()

    def wake(self) -> None:
        """Let the next pass begin at once. It may be called from any thread."""
        self._awake.set()
        with suppress(RuntimeError):  # the loop is closed
            self._wake_loop()

    def __enter__(self) -> Self:
        self._running = Thread(target=self.run, name="holdfast-worker", daemon=True)
        self._running.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if isinstance(self._running, Thread):
            self._running.join()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.arun())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(self._running, asyncio.Task):
            await self._running
