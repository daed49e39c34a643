"""The router: all routes for one agent, and the worker behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends

from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.server.web import agent as of_agent
from holdfast.server.web import threads, turns
from holdfast.server.web.api import Api
from holdfast.server.web.caller import FindUser, find_caller
from holdfast.server.web.problems import RESPONSES, ProblemRoute
from holdfast.server.web.responses import AnyTextResponse
from holdfast.server.web.streams.live import Live
from holdfast.worker import AT_ONCE, TurnWorker, Worker


def router(
    agent: AnyAgent,
    *,
    user: FindUser | None = None,
    context: Any = None,
    messages_key: str | None = None,
    at_once: int = AT_ONCE,
) -> APIRouter:
    """Return the routes of an agent, for `app.include_router`.

    With the application a worker starts and stops, which carries out accepted turns, recorded answers, and the turns of
    processes that died. Any number of replicas may share the database.

    Args:
        agent: a compiled graph with a checkpointer of `open_checkpointer`.
        user: returns the user of a request, or `None` to refuse it (401). Without it there is no access control: every
            caller reads and changes every thread.
        context: the context of each run, for an agent with a `context_schema`.
        messages_key: the name of the messages in the agent's state, if it is not "messages".
        at_once: the maximum number of turns at the same time in this process.

    Raises:
        NeedsOwnDatabase: the agent has another checkpointer.
    """
    return routes_of(make_api(agent, user=user, context=context, messages_key=messages_key, at_once=at_once))


def make_api(
    agent: AnyAgent,
    *,
    user: FindUser | None = None,
    context: Any = None,
    messages_key: str | None = None,
    at_once: int = AT_ONCE,
) -> Api:
    """Return what the routes of an agent share, with its worker. The arguments are those of `router`."""
    saver, live = own_saver(agent.checkpointer, "The router"), Live()
    options: dict[str, Any] = {"context": context, "messages_key": messages_key}
    turn_worker = TurnWorker(agent, at_once=at_once, listener=live, **options)
    worker = Worker(agent, context=context, turns=turn_worker)
    return Api(agent, saver, worker, live, find_caller(user), options)


def routes_of(api: Api) -> APIRouter:
    """Return the routes of an agent. The worker is at work as long as their application."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await api.saver.asetup()
        async with api.worker:
            yield

    routes = APIRouter(
        dependencies=[Depends(api.enter)],
        lifespan=lifespan,
        route_class=ProblemRoute,
        default_response_class=AnyTextResponse,
        responses=RESPONSES,
    )
    for part in (threads.routes, turns.routes, of_agent.routes):
        routes.include_router(part)
    return routes
