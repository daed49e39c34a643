"""An application around the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.server.web.problems import no_route
from holdfast.server.web.routes import make_api, routes_of


def create_app(
    agent: AnyAgent,
    *,
    beside: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    **options: Any,
) -> FastAPI:
    """Return an application that serves an agent. It opens the agent's checkpointer, and closes it.

    Args:
        agent: a compiled graph with a checkpointer of `open_checkpointer`.
        beside: returns the context of what is at work while it runs.
        **options: those of `router`.

    Returns:
        The application. Its `state.worker` is the worker behind the routes.
    """
    saver = own_saver(agent.checkpointer, "The application")
    api = make_api(agent, **options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with saver, beside():
            yield

    app = FastAPI(title="Holdfast", lifespan=lifespan)
    app.state.worker = api.worker
    app.add_exception_handler(HTTPException, no_route)
    app.include_router(routes_of(api))
    return app
