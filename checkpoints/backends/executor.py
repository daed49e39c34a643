"""Blocking work for callers on an event loop.

The saver is written once, synchronously, and its asynchronous methods run it in threads: measured on PostgreSQL with 64
conversations at once that is faster than an asynchronous driver, and one class serves `invoke` and `ainvoke`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from threading import Event
from typing import ParamSpec, TypeVar

from holdfast.checkpoints.backends.retry import until

P = ParamSpec("P")
T = TypeVar("T")


class Executor:
    """A bounded set of threads of its own, for any number of event loops."""

    def __init__(self, threads: int, *, wait_for_it: bool = True) -> None:
        # Bounded, and not the loop's default executor: a busy database must not starve the rest of the program.
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="holdfast")
        self._wait_for_it = wait_for_it

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and wait for it.

        A thread cannot be stopped. So a cancelled caller waits until the work is done, and is cancelled then; otherwise
        a save could take effect after its caller had gone on to undo it. A wait for a database that is out of reach
        ends at once.
        """
        context, cancelled = copy_context(), Event()

        def work() -> T:
            with until(cancelled):
                return function(*args, **kwargs)

        future = asyncio.get_running_loop().run_in_executor(self._executor, lambda: context.run(work))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancelled.set()
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()  # seen, so that asyncio does not report it as lost
            raise

    def close(self) -> None:
        """End the threads, after waiting until they are idle unless `wait_for_it` is false."""
        self._executor.shutdown(wait=self._wait_for_it)


async def run_in_own_executor(function: Callable[[Event], T]) -> T:
    """Call a function that may wait for a long time in a thread of its own.

    In a shared pool such waiting calls would soon take every thread, and the work they wait for would find none.

    Args:
        function: is passed an event that is set when the caller is cancelled, and returns soon after that.
    """
    give_up = Event()
    with closing(Executor(1, wait_for_it=False)) as executor:
        task = asyncio.ensure_future(executor.run(function, give_up))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            give_up.set()
            await asyncio.gather(task, return_exceptions=True)
            raise


async def in_a_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own, without blocking the event loop, not even for the end of the thread."""
    with closing(Executor(1, wait_for_it=False)) as executor:
        return await executor.run(function)


class Done:
    """An awaitable of something that is done."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
