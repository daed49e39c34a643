"""An application around the router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.server.web.routes import router


def create_app(agent: AnyAgent, **options: Any) -> FastAPI:
    """Return an application that serves an agent. It opens the agent's checkpointer, and closes it.

    Args:
        agent: a compiled graph with a checkpointer of `open_checkpointer`.
        **options: those of `router`.
    """
    saver = own_saver(agent.checkpointer, "The application")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with saver:
            yield

    app = FastAPI(title="Holdfast", lifespan=lifespan)
    app.include_router(router(agent, **options))
    return app
