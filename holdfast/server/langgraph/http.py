"""The app that LangGraph's server mounts. It serves no page; it makes every thread of the database known."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.checkpoints import HoldfastSaver
from holdfast.server.gates.access import is_up
from holdfast.server.langgraph import registry
from holdfast.server.langgraph.mounted import PREFIX, MountedRouter, is_mounted
from holdfast.server.langgraph.worker import workers_of
from holdfast.server.observed import Metrics, configure_logs
from holdfast.server.permissions import requests
from holdfast.server.permissions.gate import BypassGate, PermissionGate
from holdfast.server.permissions.routes import begins_turn, is_stream
from holdfast.server.protection import ROUTER, Requests, gates_before, outer_gates
from holdfast.settings import load

AUTH = "holdfast.server.permissions.handlers:auth"
"""The access control that `langgraph.json` names. A user's own takes its place."""

_THREAD = re.compile(r"/threads/([0-9a-fA-F-]{32,36})(?:/|$)")
_COPY = re.compile(r"/threads/[0-9a-fA-F-]{32,36}/copy/?$")
_RUN = re.compile(r"/threads/([0-9a-fA-F-]{32,36})/runs/[0-9a-fA-F-]{32,36}/?$")


_settings = load()
_metrics = Metrics()
_router = MountedRouter(_settings)


class KnowThreads:
    """Enter the thread that a request names into the server's registry before the server looks for it.

    Otherwise another user could create a thread anew that the server no longer knows, and would own it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_mounted(scope["path"]):
            found = _THREAD.search(scope["path"])
            if found:
                await registry.restore(found[1])
            elif scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/threads"):
                receive = await _restore_named(receive)
            send = _restore_changed(scope["method"], scope["path"], send)
        await self._app(scope, receive, send)


def _restore_changed(method: str, path: str, send: Send) -> Send:
    """Return a channel that brings an entry up to date before the client is answered.

    The server itself has changed the entry then, and left it without the state of its thread.
    """
    is_copy, deleted = method == "POST" and _COPY.search(path), method == "DELETE" and _RUN.search(path)
    if not (is_copy or deleted):
        return send

    async def restore_first(message: Message) -> None:
        if message["type"] == "http.response.start":
            await (registry.restore_after_deletion(deleted[1]) if deleted else registry.restore_copies())
        await send(message)

    return restore_first


async def _restore_named(receive: Receive) -> Receive:
    """Restore the thread that a request to create one names. Return the channel to read the request from."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    try:
        thread_id = json.loads(b"".join(message.get("body", b"") for message in messages))["thread_id"]
    except (ValueError, LookupError, TypeError):
        thread_id = None  # the server refuses the request itself
    if isinstance(thread_id, str):
        await registry.restore(thread_id)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again


@asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[None]:
    if _settings.logs == "json":  # by now LangGraph's server has set up its own
        configure_logs()
    await registry.restore_newest()
    saver = await registry.server_saver()
    if isinstance(saver, HoldfastSaver):
        _metrics.watch(saver)
    # Another checkpointer has no record of answers to carry out, and no list of threads to sweep.
    workers = await asyncio.to_thread(workers_of, saver) if isinstance(saver, HoldfastSaver) else []
    at_work = [asyncio.create_task(worker.arun()) for worker in workers]
    try:
        async with _router.running(saver):
            yield
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


def _gates() -> list[Middleware]:
    """Return what stands in front of the server: our access control, or what the user's own leaves open."""
    from langgraph_api.config import LANGGRAPH_AUTH

    if LANGGRAPH_AUTH and LANGGRAPH_AUTH.get("path") != AUTH:
        return [*outer_gates(_settings, _REQUESTS, registry.server_saver, _metrics), Middleware(BypassGate)]
    return [*gates_before(_settings, _REQUESTS, registry.server_saver, _metrics), Middleware(PermissionGate)]


def _is_public(scope: Scope) -> bool:
    """Return whether a request is answered whoever makes it: if the server is up, and what the server asks itself."""
    # A request cannot set it; the server does for its client without an address, which the worker uses.
    return is_up(scope) or scope.get("root_path", "").startswith("/noauth")


def _begins_turn(scope: Scope) -> bool:
    return begins_turn(scope["method"], scope["path"]) or ROUTER.begins_turn(scope)


def _is_stream(scope: Scope) -> bool:
    return is_stream(scope["path"]) or ROUTER.is_stream(scope)


_REQUESTS = Requests(_begins_turn, _is_stream, _is_public)

app = Starlette(
    routes=[*requests.ROUTES, Mount(PREFIX, _router)],
    lifespan=_lifespan,
    middleware=[*_gates(), Middleware(KnowThreads)],
)
