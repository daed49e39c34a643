"""Plans: procedures that are written once, and run with or without an event loop.

A plan is a coroutine function that takes an `Io`, and awaits nothing but what that offers. `BLOCKING` makes each call
on the spot, so such a coroutine never suspends and `run` takes it to its end without an event loop. `OnLoop` waits for
the same calls without blocking the loop.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    closing,
)
from functools import update_wrapper
from inspect import Signature, signature
from threading import Event
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.core.arguments import checked
from holdfast.checkpoints.runtime import run_in_own_executor

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Io(Protocol):
    """The calls that a plan may await."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that blocks for a moment, such as for a query."""
        ...

    async def wait(self, function: Callable[[Event | None], T]) -> T:
        """Call a function that may block for long.

        Args:
            function: is passed an event that is set when its caller is cancelled; None where that cannot happen.
        """
        ...

    async def either(
        self, blocking: Callable[..., T], awaiting: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T:
        """Call the one of two forms of a function that fits: the one that blocks, or its coroutine function."""
        ...

    def holding(
        self,
        blocking: Callable[..., AbstractContextManager[T]],
        awaiting: Callable[..., AbstractAsyncContextManager[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AbstractAsyncContextManager[T]:
        """Enter the one of two forms of a context manager that fits."""
        ...

    def each(
        self,
        blocking: Callable[..., Iterator[T]],
        awaiting: Callable[..., AsyncIterator[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[T, None]:
        """Iterate over the one of two forms of a stream that fits, and close it at the end."""
        ...


class Blocking:
    """Calls in the caller's thread, for `run` and `iterate`."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    async def wait(self, function: Callable[[Event | None], T]) -> T:
        return function(None)

    async def either(
        self, blocking: Callable[..., T], awaiting: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T:
        return blocking(*args, **kwargs)

    @asynccontextmanager
    async def holding(
        self,
        blocking: Callable[..., AbstractContextManager[T]],
        awaiting: Callable[..., AbstractAsyncContextManager[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[T]:
        with blocking(*args, **kwargs) as held:
            yield held

    async def each(
        self,
        blocking: Callable[..., Iterator[T]],
        awaiting: Callable[..., AsyncIterator[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[T, None]:
        items: Any = blocking(*args, **kwargs)
        with closing(items):
            for item in items:
                yield item


class OnLoop:
    """Calls that do not block the event loop.

    Args:
        saver: the checkpointer in use. Only a `HoldfastSaver` has blocking calls, and threads for them.
    """

    def __init__(self, saver: Any) -> None:
        self._saver = saver

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if isinstance(self._saver, HoldfastSaver):
            return await self._saver.run_in_executor(function, *args, **kwargs)
        return function(*args, **kwargs)

    async def wait(self, function: Callable[[Event | None], T]) -> T:
        return await run_in_own_executor(function)

    async def either(
        self, blocking: Callable[..., T], awaiting: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T:
        return await awaiting(*args, **kwargs)

    def holding(
        self,
        blocking: Callable[..., AbstractContextManager[T]],
        awaiting: Callable[..., AbstractAsyncContextManager[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AbstractAsyncContextManager[T]:
        return awaiting(*args, **kwargs)

    async def each(
        self,
        blocking: Callable[..., Iterator[T]],
        awaiting: Callable[..., AsyncIterator[T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[T, None]:
        items: Any = awaiting(*args, **kwargs)
        # Closed here and not by the garbage collector, which would let a run go on when its lease has ended.
        async with aclosing(items):
            async for item in items:
                yield item


BLOCKING: Final[Io] = Blocking()


def run(plan: Coroutine[Any, Any, T]) -> T:
    """Take a plan over `BLOCKING` to its end."""
    try:
        plan.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    plan.close()
    raise RuntimeError("A plan waited for an event loop. It may await only what its Io offers.")


def iterate(plan: AsyncGenerator[T, None]) -> Iterator[T]:
    """Take a plan over `BLOCKING` to its end, and yield what it yields."""
    try:
        while True:
            try:
                item = run(plan.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(plan.aclose())


# --- methods made of plans


class Planned(Protocol):
    """A class whose methods are plans."""

    _on_loop: Io
    """Passed to the plans by the methods for event loops."""


C = TypeVar("C", bound=Planned)


def blocking(plan: Callable[Concatenate[C, Io, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[C, P], T]:
    """Turn a plan into a method that blocks. It has the plan's parameters but for the `Io`, and checks their types."""
    plan = checked(plan)

    def method(self: C, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(plan(self, BLOCKING, *args, **kwargs))

    return _described(method, plan)


def streaming(
    plan: Callable[Concatenate[C, Io, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[C, P], Iterator[T]]:
    """Turn a plan that yields into a method that blocks; see `blocking`."""
    plan = checked(plan)

    def method(self: C, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return iterate(plan(self, BLOCKING, *args, **kwargs))

    item = signature(plan).return_annotation.removeprefix("AsyncGenerator[").removesuffix(", None]")
    return _described(method, plan, returns=f"Iterator[{item}]")


def twin(method: Callable[Concatenate[C, P], T]) -> Callable[Concatenate[C, P], Coroutine[Any, Any, T]]:
    """Return the form for event loops of a method made by `blocking`."""
    plan = _plan_of(method)

    async def awaiting(self: C, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await plan(self, self._on_loop, *args, **kwargs)  # type: ignore[no-any-return]

    return _described(awaiting, plan, is_twin=True)


def stream_twin(
    method: Callable[Concatenate[C, P], Iterator[T]],
) -> Callable[Concatenate[C, P], AsyncGenerator[T, None]]:
    """Return the form for event loops of a method made by `streaming`."""
    plan = _plan_of(method)

    def awaiting(self: C, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        return plan(self, self._on_loop, *args, **kwargs)  # type: ignore[no-any-return]

    return _described(awaiting, plan, is_twin=True)


_PLAN: Final = "__plan__"
"""Attribute of a method that is made of a plan: the plan."""


def _plan_of(method: Callable[..., Any]) -> Callable[..., Any]:
    plan: Callable[..., Any] = getattr(method, _PLAN)
    return plan


def _described(method: F, plan: Callable[..., Any], *, is_twin: bool = False, returns: str | None = None) -> F:
    """Give a method the plan's name, docstring and signature, so that `help` and `inspect` show what callers see."""
    update_wrapper(method, plan)
    made: Any = method  # with attributes that callables in general do not have
    del made.__wrapped__  # else the plan's own signature would be shown
    setattr(made, _PLAN, plan)
    if is_twin:
        made.__doc__ = f"`{plan.__name__}`, without blocking the event loop."
        made.__name__ = f"a{plan.__name__}"
        made.__qualname__ = f"{plan.__qualname__.rpartition('.')[0]}.{made.__name__}"
    of_plan = signature(plan)
    parameters = [parameter for name, parameter in of_plan.parameters.items() if name != "io"]
    made.__signature__ = Signature(parameters, return_annotation=returns or of_plan.return_annotation)
    made.__annotations__ = {name: type_ for name, type_ in plan.__annotations__.items() if name != "io"}
    made.__annotations__["return"] = made.__signature__.return_annotation
    return method
