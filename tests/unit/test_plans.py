"""Plans are written once and run with and without an event loop. Callers see ordinary methods."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from holdfast.graph import Conversation
from holdfast.graph.plans import BLOCKING, Io, OnLoop, blocking, iterate, run, stream_twin, streaming, twin


class Counter:
    """A class with a plan for each thing that plans can do: call, wait, hold something, stream, and fail."""

    def __init__(self) -> None:
        self._on_loop = OnLoop(None)
        self.log: list[str] = []

    @blocking
    async def add(self, io: Io, first: int, *, second: int = 1) -> int:
        """Add two numbers."""
        return await io.call(lambda: first + second) + await io.wait(lambda _: 0)

    @streaming
    async def count(self, io: Io, to: int) -> AsyncGenerator[int, None]:
        """Count from one on."""
        async with io.holding(self._held, self._aheld):
            async for number in io.each(self._numbers, self._anumbers, to):
                yield number

    aadd = twin(add)
    acount = stream_twin(count)

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.log.append("begin")
        yield
        self.log.append("end")

    @asynccontextmanager
    async def _aheld(self) -> AsyncIterator[None]:
        with self._held():
            yield

    def _numbers(self, to: int) -> Iterator[int]:
        try:
            yield from range(1, to + 1)
        finally:
            self.log.append("closed")

    async def _anumbers(self, to: int) -> AsyncGenerator[int, None]:
        for number in self._numbers(to):
            await asyncio.sleep(0)
            yield number


def test_a_plan_runs_without_an_event_loop_and_on_one() -> None:
    counter = Counter()
    assert counter.add(2, second=3) == 5
    assert list(counter.count(3)) == [1, 2, 3]

    async def on_a_loop() -> tuple[int, list[int]]:
        return await counter.aadd(2, second=3), [number async for number in counter.acount(3)]

    assert asyncio.run(on_a_loop()) == (5, [1, 2, 3])
    assert counter.log == ["begin", "closed", "end"] * 2


async def test_a_plan_blocks_in_a_thread_that_has_an_event_loop_too() -> None:
    assert Counter().add(1) == 2
    assert list(Counter().count(2)) == [1, 2]


def test_a_stream_that_is_left_early_is_closed_at_once() -> None:
    counter = Counter()
    numbers: Any = counter.count(3)
    assert next(numbers) == 1
    numbers.close()
    assert counter.log == ["begin", "closed"], "the context manager saw the exit as an exception"


def test_an_error_reaches_the_caller_through_both_forms() -> None:
    async def fail(io: Io) -> None:
        await io.call(lambda: {}["x"])

    with pytest.raises(KeyError):
        run(fail(BLOCKING))
    with pytest.raises(KeyError):
        asyncio.run(fail(OnLoop(None)))

    async def fail_late(io: Io) -> AsyncGenerator[int, None]:
        yield 1
        await fail(io)

    numbers = iterate(fail_late(BLOCKING))
    assert next(numbers) == 1
    with pytest.raises(KeyError):
        next(numbers)


def test_a_plan_that_waits_for_an_event_loop_is_refused() -> None:
    async def sleep() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for an event loop"):
        run(sleep())


def test_callers_see_ordinary_methods() -> None:
    assert str(inspect.signature(Counter.add)) == "(self, first: 'int', *, second: 'int' = 1) -> 'int'"
    assert str(inspect.signature(Counter.aadd)) == str(inspect.signature(Counter.add))
    assert str(inspect.signature(Counter.count)) == "(self, to: 'int') -> 'Iterator[int]'"
    assert str(inspect.signature(Counter.acount)) == "(self, to: 'int') -> 'AsyncGenerator[int, None]'"
    assert inspect.getdoc(Counter.add) == "Add two numbers."
    assert inspect.getdoc(Counter.aadd) == "`add`, without blocking the event loop."
    assert [Counter.add.__qualname__, Counter.acount.__qualname__] == ["Counter.add", "Counter.acount"]
    assert inspect.iscoroutinefunction(Counter.aadd)
    assert not inspect.iscoroutinefunction(Counter.add)


def test_every_method_of_a_conversation_has_a_twin_for_event_loops() -> None:
    methods = {name for name, _ in inspect.getmembers(Conversation, inspect.isfunction) if not name.startswith("_")}
    twins = {name for name in methods if name.startswith("a") and name[1:] in methods}
    assert {f"a{name}" for name in methods - twins} == twins
    for name in methods:
        method = getattr(Conversation, name)
        assert "io" not in inspect.signature(method).parameters
        assert method.__doc__
        assert method.__qualname__.endswith(f".{name}")
