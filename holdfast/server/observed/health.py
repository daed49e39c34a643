"""Whether the process lives (`/healthz`), and whether it wants requests: the database answers (`/readyz`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.checkpoints import HoldfastSaver

FindSaver = Callable[[], Awaitable[BaseCheckpointSaver[Any]]]
"""Returns the checkpointer, or raises an error while there is none."""

IsStopping = Callable[[], bool]
"""Returns whether the server is about to stop."""

PATIENCE: Final = 2.0
"""Seconds within which the database has to answer."""

# No thread: a database that answers finds nothing.
_NO_THREAD: Final[Any] = {"configurable": {"thread_id": "-", "checkpoint_ns": ""}}


def never() -> bool:
    """Return that the server is not about to stop."""
    return False


class HealthGate:
    """Answers `/healthz` and `/readyz`, for anyone: a balancer has no token.

    Args:
        app: the application behind it.
        find_saver: returns the checkpointer.
        patience: seconds within which the database has to answer.
        is_stopping: returns whether the server is about to stop. It is not ready then.
    """

    def __init__(
        self,
        app: ASGIApp,
        find_saver: FindSaver,
        patience: float = PATIENCE,
        is_stopping: IsStopping = never,
    ) -> None:
        self._app = app
        self._find_saver = find_saver
        self._patience = patience
        self._is_stopping = is_stopping
        # A database that does not answer must not have one thread more wait for it with each question.
        self._looking: asyncio.Task[bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in ("/healthz", "/readyz"):
            await self._app(scope, receive, send)
        elif scope["path"] == "/healthz":
            await JSONResponse({"status": "alive"})(scope, receive, send)
        else:
            problem = await self._problem()
            body = {"status": "ready"} if problem is None else {"status": "not ready", "problem": problem}
            await JSONResponse(body, 200 if problem is None else 503)(scope, receive, send)

    async def _problem(self) -> str | None:
        """Return why the server is not ready, without what the database says: anyone may ask."""
        if self._is_stopping():
            return "The server is stopping."
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            takes_writes = await asyncio.wait_for(asyncio.shield(self._looking), self._patience)
        except TimeoutError:
            return f"The database has not answered within {self._patience:g} s."
        except Exception:  # noqa: BLE001 - each driver has its own
            return "The database cannot be used."
        return None if takes_writes else "The database takes no writes."

    async def _look(self) -> bool:
        """Return whether the database, which answers, takes writes.

        Raises:
            Exception: it does not answer.
        """
        saver = await self._find_saver()
        await asyncio.to_thread(saver.get_tuple, _NO_THREAD)
        # Only PostgreSQL has servers that answer and take no writes.
        ask = getattr(saver.database.backend, "takes_writes", None) if isinstance(saver, HoldfastSaver) else None
        return ask is None or await asyncio.to_thread(ask)
