"""Finish a turn in the background when its client has gone away, for example in a web application.

    async with BackgroundTurns() as turns:                        # in the lifespan of the application
        ...
        async for event in turns.astream(ada.astream("Hello")):   # in a request
            yield event

If the loop is left, because the client has closed the connection, the turn goes on to its end, and its outcome is in
the thread. If the process dies, the turn is unfinished, and `Conversation.retry` goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final, NamedTuple, Self, TypeVar

from holdfast.checkpoints.errors.logged import for_log

__all__ = ["BackgroundTurns"]

T = TypeVar("T")

_END: Final = object()

_log = logging.getLogger(__name__)


class BackgroundTurns:
    """Turns that are finished whether or not someone still reads their events.

    With an event loop (`astream`, `astop`, `async with`) each turn is a task, and without (`stream`, `stop`, `with`) a
    thread. Stopping waits until the turns that have begun are finished.
    """

    def __init__(self) -> None:
        self._threads: set[Thread] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = Lock()
        self._stopped = False

    def stream(self, events: Iterator[T]) -> Iterator[T]:
        """Begin a turn, and return an iterator over its events. It may be left early, or never begun.

        Args:
            events: the events of the turn, such as `Conversation.stream` returns.

        Raises:
            RuntimeError: `stop` was called.
            any error of the turn, where its events are read. It is also logged, since they may not be read.
        """
        read: SimpleQueue[Any] = SimpleQueue()
        context = copy_context()
        thread = Thread(target=lambda: context.run(_finish, events, read), name="holdfast-turn", daemon=True)
        with self._lock:
            self._check_open()
            self._threads = {*filter(Thread.is_alive, self._threads), thread}
            thread.start()
        return _each(iter(read.get, _END))

    def astream(self, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Begin a turn, as `stream` does, in a task of the running event loop."""
        self._check_open()
        read: asyncio.Queue[Any] = asyncio.Queue()
        task = asyncio.create_task(_afinish(events, read))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _aeach(read)

    def stop(self, wait: float | None = None) -> bool:
        """Begin no more turns, and wait for those in threads. Return whether all of them are finished.

        Args:
            wait: the maximum of seconds to wait; by default without limit. A turn that is not finished then ends with
                its process.
        """
        with self._lock:
            self._stopped, threads = True, list(self._threads)
        end = None if wait is None else monotonic() + wait
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - monotonic()))
        return not any(thread.is_alive() for thread in threads)

    async def astop(self, wait: float | None = None) -> bool:
        """Begin no more turns, and wait for those in tasks. Return whether all of them are finished.

        Args:
            wait: the maximum of seconds to wait; by default without limit. A turn that is not finished then is
                cancelled, and `Conversation.retry` goes on with it.
        """
        self._stopped = True
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=wait)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return not late

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.astop()

    def _check_open(self) -> None:
        if self._stopped:
            raise RuntimeError("No turn can begin: these BackgroundTurns were stopped. Make new ones.")


class _Failure(NamedTuple):
    """The end of a turn that failed."""

    error: Exception


def _finish(events: Iterator[Any], read: SimpleQueue[Any]) -> None:
    try:
        for event in events:
            read.put(event)
    except Exception as error:  # noqa: BLE001 - raised where the events are read
        read.put(_failed(error))
    finally:
        read.put(_END)


async def _afinish(events: AsyncGenerator[Any, None], read: asyncio.Queue[Any]) -> None:
    try:
        async with aclosing(events):
            async for event in events:
                read.put_nowait(event)
    except Exception as error:  # noqa: BLE001 - raised where the events are read
        read.put_nowait(_failed(error))
    finally:
        read.put_nowait(_END)


def _failed(error: Exception) -> _Failure:
    _log.warning("A turn in the background failed: %s", for_log(error))
    _log.debug("A turn in the background failed.", exc_info=error)
    return _Failure(error)


def _each(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, _Failure):
            raise item.error
        yield item


async def _aeach(read: asyncio.Queue[Any]) -> AsyncGenerator[Any, None]:
    while (item := await read.get()) is not _END:
        if isinstance(item, _Failure):
            raise item.error
        yield item
