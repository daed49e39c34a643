"""Run the router as a server of its own: `holdfast serve --router`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver, RetentionPolicy, urls
from holdfast.checkpoints.extras import install_command
from holdfast.server.access import InvalidAccess, make_authenticator
from holdfast.server.gates import principal_of
from holdfast.server.observed import configure_logs
from holdfast.server.protection import protect
from holdfast.server.run import CannotServe, check_port, check_retention
from holdfast.settings import Settings
from holdfast.worker import AT_ONCE, RetentionWorker, Worker

if TYPE_CHECKING:
    from fastapi import FastAPI


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
        from holdfast.server.web.draining import run
    except ImportError as error:
        raise CannotServe(f"The router is not installed ({error}). Install it: {install_command('web')}") from None
    settings = settings.in_full()
    if isinstance(where := urls.parse_any(settings.database), urls.OtherURL):
        raise CannotServe(f"The router needs a database of Holdfast's own, and {where} is one of another checkpointer.")
    check_port(settings.host, settings.port)
    check_retention(settings)
    app = make_app(settings)
    with factory.open_any_saver(settings):
        pass  # here a database that cannot be opened is one clear error; inside the server it is a page of them
    for line in _introduction(settings):
        say(line)
    if settings.logs == "json":
        configure_logs()
    run(app, settings.host, settings.port, begin=app.state.worker.stop, seconds=settings.drain)


def make_app(settings: Settings) -> FastAPI:
    """Make the application, with access control, known names, limits and metrics as the settings have them.

    Raises:
        CannotServe: access control cannot be used, or is missing where others can call.
        ValueError, ImportError: see `factory.make_agent`.
    """
    from holdfast.server.web import create_app

    saver = factory.make_checkpointer(settings)
    is_set = "workers" in settings.model_fields_set
    try:
        has_access_control = make_authenticator(settings) is not None
        app = create_app(
            factory.make_agent(settings, saver),
            user=principal_of if has_access_control else None,
            beside=_sweeping(settings, saver),
            at_once=settings.workers if is_set else AT_ONCE,
        )
        worker: Worker = app.state.worker
        protect(app, saver, settings, is_stopping=lambda: worker.is_stopping)
    except InvalidAccess as error:
        raise CannotServe(str(error)) from None
    app.add_api_route("/ok", lambda: {"ok": True}, include_in_schema=False)
    return app


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
