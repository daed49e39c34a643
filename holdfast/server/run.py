"""Starting LangGraph's server so that it keeps what it is told and tells nobody.

Its own command, `langgraph dev`, works too; it takes another port when the one it should take is busy, keeps pickled
threads in the working directory, runs one turn at a time, and asks the package index for newer versions.
"""

from __future__ import annotations

import ipaddress
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
from holdfast.checkpoints import urls
from holdfast.settings import Settings

_HERE = Path(__file__).resolve().parent

# As in `langgraph.json`, which is not there where Holdfast was installed as a package.
OURS: dict[str, Any] = {
    "graphs": {"agent": "holdfast.server.entrypoint:agent"},
    "checkpointer": {"path": f"{_HERE}/entrypoint.py:checkpointer"},
    "http": {"app": "holdfast.server.http:app", "disable_mcp": True, "disable_a2a": True},
}

# No connection but those that the user's agent makes.
_QUIET = {"LANGGRAPH_NO_VERSION_CHECK": "true", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
_TRACING = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")


class CannotServe(Exception):
    """The server was not started, for a reason that the message says."""


def serve(settings: Settings, config: Path | None = None, *, say: Callable[[str], object] = print) -> None:
    """Serve the agents of a `langgraph.json` until the process is told to stop.

    Args:
        settings: where to listen, and what the agent and the checkpointer are told.
        config: the `langgraph.json`; Holdfast's own by default.
        say: is given the lines that a person reads.

    Raises:
        CannotServe: the port is taken, the config cannot be used, or the server is not installed.
        HoldfastError: the database cannot be used.
    """
    try:
        from langgraph_api.cli import run_server
    except ImportError as error:
        raise CannotServe(
            f"The server is not installed ({error}). Install it: pip install 'holdfast[server]'"
        ) from None
    settings = settings.in_full()
    wanted = _with_ours({} if config is None else _of_ones_own(config))
    _check_port(settings.host, settings.port)
    with factory.make_checkpointer(settings):
        pass  # a database that cannot be opened is one clear error here, and a page of them from inside the server
    factory.make_agent(settings)  # and so is a model without its key
    for line in _introduction(settings, wanted["graphs"]):
        say(line)
    logging.getLogger("langgraph_api.cli").setLevel(logging.WARNING)  # its welcome names a site on the web
    with _environment(settings), _private_folder(), suppress(KeyboardInterrupt):
        run_server(
            settings.host,
            settings.port,
            reload=False,
            n_jobs_per_worker=settings.workers,
            disable_persistence=True,
            **wanted,
        )


def _of_ones_own(config: Path) -> dict[str, Any]:
    """What somebody's own `langgraph.json` says.

    Raises:
        CannotServe: it says where threads are kept, and that is what `holdfast serve` is for.
    """
    found = _read(config)
    if "checkpointer" in found or "app" in found.get("http", {}):
        raise CannotServe(
            f"{config} names a checkpointer or an HTTP app of its own. `holdfast serve` keeps threads where "
            "HOLDFAST_DATABASE says, and brings both: leave them out, or serve it with `langgraph dev`."
        )
    return found


def _with_ours(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**OURS, **found, "http": {**found.get("http", {}), **OURS["http"]}}


def _read(config: Path) -> dict[str, Any]:
    """What the server is told of a `langgraph.json`, with every path in full."""
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
    full: dict[str, Any] = _in_full(taken, folder)
    return full


def _in_full(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_full(inner, folder) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith(("./", "../")):
        return str(folder / value)
    return value


def _check_port(host: str, port: int) -> None:
    # The server would take another port without a word, and clients would talk to whoever has this one.
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise CannotServe(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Name another by --port or HOLDFAST_PORT."
        ) from None


def _introduction(settings: Settings, graphs: Mapping[str, Any]) -> Iterator[str]:
    where = urls.parse(settings.database)
    yield f"Holdfast serves {', '.join(graphs)} on http://{settings.host}:{settings.port} (what it can: /docs)"
    yield f"   conversations   {where}"
    yield f"   model           {settings.model_name}"
    yield f"   at once         {settings.workers} runs"
    if not _only_here(settings.host):
        yield "   Nobody is asked who they are: who reaches this address can read every thread and approve every call"
    if _traces():
        yield "   Tracing is on: LangSmith is sent the texts of the conversations"
    if isinstance(where, urls.MemoryURL):
        yield "Ctrl-C stops it, and all is gone: memory:// is kept nowhere. sqlite:///holdfast.db is."
    else:
        yield "Ctrl-C stops it; threads and pauses stay in the database."


def _only_here(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _traces() -> bool:
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in _TRACING)


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    before = dict(os.environ)
    # A key alone would turn tracing on; who wants it says so.
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.update(settings.environment() | _QUIET | ({} if _traces() else {"LANGSMITH_TRACING": "false"}))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _private_folder() -> Iterator[None]:
    """A working directory of the server's own, gone when it ends: whatever the runtime writes there is no one's."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # Uvicorn ends in order when it gets this signal, and then passes it on; without this, that would end the process
    # before the folder is gone.
    previous = signal.signal(signal.SIGTERM, stop)
    home = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="holdfast-serve-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(home)
            signal.signal(signal.SIGTERM, previous)
