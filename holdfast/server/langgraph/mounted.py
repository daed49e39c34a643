"""Our own router beside LangGraph's routes, under `/holdfast`: a client of it works in production as it is."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.extras import install_command
from holdfast.server.access import make_authenticator
from holdfast.server.gates import principal_of
from holdfast.server.gates.problems import refuse
from holdfast.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX: Final = "/holdfast"

# How the server is told which graphs it serves; ours is the agent of the settings.
_GRAPHS: Final = "LANGSERVE_GRAPHS"
_OURS: Final = "holdfast.server.entrypoint:agent"


class MountedRouter:
    """The router of `holdfast.server.router`, as an application that begins with its server.

    It cannot be made before: it needs the server's checkpointer. Until then, and where it cannot be had, requests are
    told why.

    Args:
        settings: of the server, which name the agent.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: ASGIApp | None = None
        self._why_not = "The server has not started yet."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            await refuse(scope, receive, send, 501, self._why_not)
        else:
            await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self, saver: object) -> AsyncIterator[None]:
        """Serve the agent of the settings, and carry its accepted turns out, until the block is left.

        Args:
            saver: the server's checkpointer.
        """
        app = await asyncio.to_thread(self._make, saver)
        if app is None:
            yield
            return
        async with app.router.lifespan_context(app):
            self._app = app
            yield
        self._app = None

    def _make(self, saver: object) -> FastAPI | None:
        """Make the application; `None` if it cannot be had, and `_why_not` says why."""
        if not isinstance(saver, HoldfastSaver):
            self._why_not = "The router needs a database of Holdfast's own, and this one is another checkpointer's."
        elif _OURS not in json.loads(os.environ.get(_GRAPHS) or "{}").values():
            self._why_not = "The router serves the agent of HOLDFAST_AGENT, and this server serves a langgraph.json."
        else:
            try:
                return self._around_router(saver)
            except ImportError as error:
                self._why_not = f"The router is not installed ({error}). Install it: {install_command('web')}"
        return None

    def _around_router(self, saver: HoldfastSaver) -> FastAPI:
        from fastapi import FastAPI

        from holdfast.server.web import router

        app = FastAPI(title="Holdfast")
        agent = factory.make_agent(self._settings, saver)
        user = principal_of if make_authenticator(self._settings) is not None else None
        app.include_router(router(agent, user=user, at_once=self._settings.workers))
        return app


def is_mounted(path: str) -> bool:
    """Return whether a request is one for the router."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
