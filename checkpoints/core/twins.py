"""The methods for event loops: each is made of the one that blocks, and runs it in a thread of the checkpointer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from holdfast.checkpoints.core.database import Database

P = ParamSpec("P")
T = TypeVar("T")


class _OfDatabase(Protocol):
    @property
    def _database(self) -> Database: ...


S = TypeVar("S", bound=_OfDatabase)


def async_twin(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make the method that does the same as `method` without blocking the event loop.

    A cancelled caller still waits until the work is done.
    """
    name = method.__name__

    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        bound: Callable[P, T] = getattr(self, name)
        return await self._database.run_in_executor(bound, *args, **kwargs)

    return named_as_twin(twin, method)


def named_as_twin(twin: Callable[P, T], method: Callable[..., Any]) -> Callable[P, T]:
    """Give a twin the name and the documentation that follow from its method's."""
    update_wrapper(twin, method)
    twin.__name__ = f"a{method.__name__}"
    twin.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{twin.__name__}"
    twin.__doc__ = f"Do as `{method.__name__}`, without blocking the event loop.\n\n{method.__doc__}"
    return twin
