"""Run LangGraph's server with threads in the database, and without connections to outside services.

Its own command, `langgraph dev`, works too. But that takes another port if the given one is busy, keeps pickled threads
in the working directory, runs one turn at a time, and asks the package index for newer versions.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from holdfast import factory
from holdfast.checkpoints import RetentionPolicy, urls
from holdfast.checkpoints.extras import install_command
from holdfast.server import modules
from holdfast.server.access import InvalidAccess, check_address, make_authenticator
from holdfast.server.gates import known_names
from holdfast.settings import Settings

_HERE = Path(__file__).resolve().parent

# The same as `langgraph.json`, which an installed package does not have.
OURS: dict[str, Any] = {
    "graphs": {"agent": "holdfast.server.entrypoint:agent"},
    "checkpointer": {"path": f"{_HERE}/entrypoint.py:checkpointer"},
    "store": {"path": f"{_HERE}/store.py:store"},
    "auth": {
        "path": "holdfast.server.permissions.handlers:auth",
        "disable_studio_auth": True,
        "openapi": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "security": [{"token": []}]},
    },
    "http": {"app": "holdfast.server.langgraph.http:app", "disable_mcp": True, "disable_a2a": True},
}

# Turns off the connections that the server would make by itself.
_QUIET = {"LANGGRAPH_NO_VERSION_CHECK": "true", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
_TRACING = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")


class CannotServe(Exception):
    """The server cannot be started. The message says why."""


def serve(settings: Settings, config: Path | None = None, *, say: Callable[[str], object] = print) -> None:
    """Serve the agents of a `langgraph.json` until the process is stopped.

    Args:
        settings: the address to listen on, and the settings of the agent and the checkpointer.
        config: the `langgraph.json`; Holdfast's own by default.
        say: prints a line for the user.

    Raises:
        CannotServe: the port is taken, the config cannot be used, or the server is not installed.
        HoldfastError: the database cannot be used.
    """
    try:
        from langgraph_api.cli import run_server
    except ImportError as error:
        raise CannotServe(f"The server is not installed ({error}). Install it: {install_command('server')}") from None
    settings = settings.in_full()
    wanted = _with_ours({} if config is None else _read_user_config(config))
    access = _set_up_access(settings, wanted["auth"])
    check_port(settings.host, settings.port)
    logging.getLogger().setLevel(logging.WARNING)  # the import above has let each library tell what it does
    if isinstance(urls.parse_any(settings.database), urls.OtherURL):
        _trust_as_the_server()
        # It tells which methods a checkpointer lacks; docs/guides/databases.md has them.
        logging.getLogger("langgraph_api._checkpointer._adapter").setLevel(logging.ERROR)
    with factory.open_any_saver(settings):
        pass  # here a database that cannot be opened is one clear error; inside the server it is a page of them
    factory.make_agent(settings)  # likewise for a model without its key, and for an agent that cannot be loaded
    check_retention(settings)
    for line in _introduction(settings, wanted["graphs"], access):
        say(line)
    logging.getLogger("langgraph_api.cli").setLevel(logging.WARNING)  # its welcome links to a website
    with _environment(settings), _private_folder(), suppress(KeyboardInterrupt):
        run_server(
            settings.host,
            settings.port,
            reload=False,
            n_jobs_per_worker=settings.workers,
            disable_persistence=True,
            **wanted,
        )


def _set_up_access(settings: Settings, auth: dict[str, Any]) -> str:
    """Check access control, and that there is some if other machines can call. Return what to tell of it.

    Raises:
        CannotServe: it cannot be used, or is missing.
    """
    try:
        authenticator = make_authenticator(settings)
        is_own = auth["path"] != OURS["auth"]["path"]
        check_address(settings.host, has_access_control=is_own or authenticator is not None)
        known_names(settings)
    except InvalidAccess as error:
        raise CannotServe(str(error)) from None
    if is_own and authenticator is not None:
        raise CannotServe(
            "Both the langgraph.json and the settings name an access control. Leave out one: its auth, or "
            "HOLDFAST_TOKENS and HOLDFAST_JWT_KEYS."
        )
    if is_own:
        auth["disable_studio_auth"] = True  # else a header of the request would be enough
        return f"that of {auth['path']}"
    known = [f"the tokens in {settings.tokens}"] if settings.tokens else []
    known += [f"the tokens of {settings.jwt_issuer}"] if settings.jwt_keys else []
    return " and ".join(known) or "without tokens, from this machine only"


def check_retention(settings: Settings) -> None:
    """Check that the retention policy can be used, if there is one.

    Raises:
        CannotServe: it cannot be used.
    """
    try:
        if settings.retention is not None:
            RetentionPolicy.from_file(settings.retention)
    except ValueError as error:
        raise CannotServe(str(error)) from None


def _read_user_config(config: Path) -> dict[str, Any]:
    """Read the user's own `langgraph.json`.

    Raises:
        CannotServe: it cannot be read, or it names what `holdfast serve` provides itself.
    """
    found = _read(config)
    if "checkpointer" in found or "app" in found.get("http", {}):
        raise CannotServe(
            f"{config} names a checkpointer or an HTTP app. `holdfast serve` provides both, and keeps threads in "
            "HOLDFAST_DATABASE. Leave them out, or serve it with `langgraph dev`."
        )
    if "mount_prefix" in found.get("http", {}):
        raise CannotServe(
            f"{config} names a mount_prefix. With it the server answers some requests before access control. Leave it "
            "out, and let a reverse proxy add the prefix."
        )
    if "auth" in found and "path" not in found["auth"]:
        raise CannotServe(f'{config} names an auth without its path. Needed: {{"auth": {{"path": "./auth.py:auth"}}}}.')
    return found


def _with_ours(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**OURS, **found, "http": {**found.get("http", {}), **OURS["http"]}}


def _read(config: Path) -> dict[str, Any]:
    """Return the parts of a `langgraph.json` that the server is given, with absolute paths."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotServe(f"Cannot read {config} as a langgraph.json: {error}.") from None
    if not isinstance(found, dict) or not found.get("graphs"):
        raise CannotServe(f'{config} names no graph. Needed: {{"graphs": {{"agent": "module:graph"}}}}.')
    folder = config.resolve().parent
    for dependency in found.get("dependencies", []):
        if (place := folder / dependency).is_dir() and str(place) not in sys.path:
            sys.path.append(str(place))
    taken = {key: found[key] for key in ("graphs", "checkpointer", "http", "auth", "store") if found.get(key)}
    full: dict[str, Any] = _with_absolute_paths(taken, folder)
    full["graphs"] = {name: modules.by_module(graph) for name, graph in full["graphs"].items()}
    return full


def _with_absolute_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_absolute_paths(inner, folder) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith(("./", "../")):
        return str(folder / value)
    return value


def check_port(host: str, port: int) -> None:
    """Check that a server can listen on a port.

    Raises:
        CannotServe: it cannot.
    """
    # LangGraph's server would silently take another port, and clients would talk to the process that has this one.
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        is_address = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        what = (
            "an address of this machine by --host or HOLDFAST_HOST"
            if is_address
            else "another by --port or HOLDFAST_PORT"
        )
        raise CannotServe(f"Cannot listen on {host}, port {port}: {error.strerror or error}. Set {what}.") from None


def _introduction(settings: Settings, graphs: Mapping[str, Any], access: str) -> Iterator[str]:
    where = urls.parse_any(settings.database)
    yield f"Holdfast serves {', '.join(graphs)} on http://{settings.host}:{settings.port} (API: /docs)"
    yield f"   conversations   {where}"
    if settings.agent is None:
        yield f"   model           {settings.model_name}"
    else:
        yield f"   agent           {settings.agent}"
    yield f"   runs at once    {settings.workers}"
    if isinstance(where, urls.OtherURL):
        yield (
            "   not there       a list of threads (after a restart a thread is found by its id), leases, a record of "
            "answers, a ledger of tool calls, long-term memory. "
            f"To have them, copy it: holdfast db copy {where} sqlite:///chat.db"
        )
    yield f"   access          {access}"
    if _traces():
        yield "   Tracing is on: the texts of the conversations are sent to LangSmith"
    if isinstance(where, urls.MemoryURL):
        yield "Ctrl-C stops it, and all threads are lost: memory:// is not saved. To keep them: sqlite:///holdfast.db"
    else:
        yield "Ctrl-C stops it. Threads and pending approvals stay in the database."


def _trust_as_the_server() -> None:
    """Let TLS use the system's certificates now, as the server does later.

    A driver that was imported in between, such as boto3, would hold the class that this replaces, and fail.
    """
    if os.environ.get("DISABLE_TRUSTSTORE", "").lower() != "true":
        import truststore

        truststore.inject_into_ssl()


def _traces() -> bool:
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in _TRACING)


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    before = dict(os.environ)
    # A key alone would turn tracing on. It is on only if it was asked for.
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.update(settings.environment() | _QUIET | ({} if _traces() else {"LANGSMITH_TRACING": "false"}))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _private_folder() -> Iterator[None]:
    """Give the server a temporary working directory, for the files that the runtime writes."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # Uvicorn shuts down when it gets this signal, and then raises it again. Without this handler that would end the
    # process before the folder is deleted.
    previous = signal.signal(signal.SIGTERM, stop)
    home = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="holdfast-serve-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(home)
            signal.signal(signal.SIGTERM, previous)
