"""Run the router as a server of its own: `holdfast serve --router`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.middleware import Middleware
from starlette.types import Scope

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver, RetentionPolicy, urls
from holdfast.checkpoints.extras import install_command
from holdfast.retention import RetentionWorker
from holdfast.server.access import Authenticator, InvalidAccess, check_address, make_authenticator
from holdfast.server.gates import AccessGate, HostGate, LimitGate, known_names, make_limits, principal_of
from holdfast.server.observed import HealthGate, Metrics, MetricsGate, WatchGate, configure_logs
from holdfast.server.run import CannotServe, check_port, check_retention
from holdfast.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

# Seconds that a stopping server waits for connections, before it closes them. Their turns have the grace of the worker.
_GRACE: Final = 10

_BEGINS_TURN: Final = re.compile(r"/threads/[^/]+/(messages|retry|pending/[^/]+)(/wait|/stream)?/?$")
_WAITS: Final = re.compile(r"/(wait|stream)/?$")


def serve_router(settings: Settings, *, say: Callable[[str], object] = print) -> None:
    """Serve the agent of the settings by the router, until the process is stopped.

    Args:
        settings: the address to listen on, and the settings of the agent, the checkpointer and access.
        say: prints a line for the user.

    Raises:
        CannotServe: the port is taken, a setting cannot be used, or a package is not installed.
        HoldfastError: the database cannot be used.
    """
    try:
        import uvicorn

        from holdfast.server import web  # noqa: F401 - it needs FastAPI
    except ImportError as error:
        raise CannotServe(f"The router is not installed ({error}). Install it: {install_command('web')}") from None
    settings = settings.in_full()
    if isinstance(where := urls.parse_any(settings.database), urls.OtherURL):
        raise CannotServe(f"The router needs a database of Holdfast's own, and {where} is one of another checkpointer.")
    check_port(settings.host, settings.port)
    check_retention(settings)
    app = make_app(settings)
    for line in _introduction(settings):
        say(line)
    if settings.logs == "json":
        configure_logs()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE,
    )


def make_app(settings: Settings) -> FastAPI:
    """Make the application, with access control, known names and limits as the settings have them.

    Raises:
        CannotServe: access control cannot be used, or is missing where others can call.
        ValueError, ImportError: see `factory.make_agent`.
    """
    from holdfast.server.web import create_app

    try:
        authenticator = make_authenticator(settings)
        check_address(settings.host, has_access_control=authenticator is not None)
        saver = factory.make_checkpointer(settings)
        gates = _gates(settings, authenticator, saver)
    except InvalidAccess as error:
        raise CannotServe(str(error)) from None
    is_set = "workers" in settings.model_fields_set
    app = create_app(
        factory.make_agent(settings, saver),
        user=None if authenticator is None else principal_of,
        beside=_sweeping(settings, saver),
        middleware=gates,
        **({"at_once": settings.workers} if is_set else {}),
    )
    app.add_api_route("/ok", lambda: {"ok": True}, include_in_schema=False)
    return app


def _gates(settings: Settings, authenticator: Authenticator | None, saver: HoldfastSaver) -> list[Middleware]:
    """Return what stands in front of the router, outermost first."""

    async def find_saver() -> HoldfastSaver:
        return saver

    limits, metrics = make_limits(settings, has_access_control=authenticator is not None), _metrics()
    gates = [
        Middleware(WatchGate, metrics),
        Middleware(HealthGate, find_saver),
        Middleware(HostGate, known_names(settings)),
        Middleware(AccessGate, authenticator),
        Middleware(LimitGate, limits, _begins_turn, _waits),
    ]
    return gates if metrics is None else [*gates, Middleware(MetricsGate, metrics, find_saver)]


def _metrics() -> Metrics | None:
    """Return the metrics; `None` if the package for them is not installed."""
    try:
        return Metrics()
    except ImportError:
        return None


def _begins_turn(scope: Scope) -> bool:
    return scope["method"] == "POST" and _BEGINS_TURN.search(scope["path"]) is not None


def _waits(scope: Scope) -> bool:
    return _WAITS.search(scope["path"]) is not None


def _sweeping(settings: Settings, saver: HoldfastSaver) -> Callable[[], Any]:
    """Return the context of what is at work beside the router: the retention policy, if the settings name one."""

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if settings.retention is not None:
                policy = RetentionPolicy.from_file(settings.retention)
                await stack.enter_async_context(RetentionWorker(saver, policy, period=settings.retention_interval))
            yield

    return beside


def _introduction(settings: Settings) -> Iterator[str]:
    where = urls.parse_any(settings.database)
    yield f"Holdfast's router is on http://{settings.host}:{settings.port} (API: /docs)"
    yield f"   conversations   {where}"
    yield f"   agent           {settings.agent or settings.model_name}"
    if isinstance(where, urls.MemoryURL):
        yield "Ctrl-C stops it, and all threads are lost: memory:// is not saved. To keep them: sqlite:///holdfast.db"
    else:
        yield "Ctrl-C stops it. What was accepted goes on when it, or another server of the database, runs again."
