"""The servers: a turn over HTTP beside one in the process, many streams at once, and a database of many threads."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.places import new_database
from bench.rounds import Meter, Step, compare
from bench.sizes import FULL, Sizes
from bench.sweeping import fill, timed
from bench.thinking import make_agent
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.sql import Statement
from holdfast.graph import Conversation
from holdfast.server.access import Role, TokenFile

_HOUSE: Final = Path(__file__).resolve().parent.parent
_AGENT: Final = "bench.thinking:make_agent"
_PATIENCE: Final = 120.0
_USERS: Final = 40
_DEEP: Final = 50
"""The pages behind which a deep page is."""


@dataclass
class Server:
    """A server that is up."""

    port: int
    pid: int
    ready_s: float
    """The seconds from the start of its process until it was ready."""
    connections: ExitStack
    """Those that are open."""

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection for many requests, which is kept until the server ends."""
        return self.connections.enter_context(_connection(self.port, _PATIENCE))


_SERVE: Final = ("holdfast", "serve", "--agent", _AGENT)

PROGRAMS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "router": ((*_SERVE, "--router"), "/readyz"),
    "langgraph": (_SERVE, "/ok"),
    "plain": (("uvicorn", "bench.plain_route:app", "--log-level", "warning"), "/readyz"),
}
"""The servers: what follows `python -m`, and the path that is answered when they are ready."""


@contextmanager
def started(url: str, program: str, folder: Path, **environment: str) -> Iterator[Server]:
    """Start a server as people do, and end it.

    Args:
        url: the database.
        program: which server, one of `PROGRAMS`.
        folder: its working directory.
        environment: what its environment has beside that of this process.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    words, path = PROGRAMS[program]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    theirs = {**ours, "PYTHONPATH": str(_HOUSE), "HOLDFAST_DATABASE": url, **environment}
    begin = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", *words, "--port", str(port)], cwd=folder, env=theirs, stdout=subprocess.DEVNULL
    )
    try:
        _wait_until(port, path, process)
        with ExitStack() as connections:
            yield Server(port, process.pid, time.perf_counter() - begin, connections)
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait_until(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server has ended with {process.returncode}")
        with suppress(OSError, http.client.HTTPException), _connection(port, 5) as connection:
            if _get(connection, path)[0] == 200:
                return
        time.sleep(0.02)  # nothing tells when it listens
    raise AssertionError(f"the server was not ready after {_PATIENCE:.0f} s")


def _connection(port: int, timeout: float) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout))


def _get(connection: http.client.HTTPConnection, path: str, token: str = "") -> tuple[int, Any]:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    body = response.read()
    return response.status, json.loads(body) if body else None


def _database(kind: str, folder: Path, server: str) -> str:
    return f"sqlite:///{folder / uuid.uuid4().hex}.db" if kind == "SQLite" else new_database(server)


# --- a turn


def turns(kind: str, thinks: float, folder: Path, server: str, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare turns over HTTP with turns in this process, each on a database of its own, in turn.

    `plain` compares a turn over the plainest route there is with a turn in the process: what HTTP and an event loop
    cost, if nothing is kept of what was accepted.

    Args:
        kind: `SQLite` or `PostgreSQL`.
        thinks: the seconds that the model takes.
        folder: for files.
        server: the URL of a PostgreSQL server.
        sizes: how much is measured.
    """
    rounds = sizes.served_rounds if thinks == 0 else sizes.served_rounds // 5
    with (
        started(_database(kind, folder, server), "router", folder) as served,
        started(_database(kind, folder, server), "plain", folder) as plain_route,
        open_checkpointer(_database(kind, folder, server)) as saver,
    ):
        sends, database = _sends(saver, thinks), server if kind == "PostgreSQL" else ""
        over_http, plain = (
            compare(_posts(each, thinks), sends, rounds=rounds, turns=1, meter=Meter(database, [each.pid]))
            for each in (served, plain_route)
        )
    return {"database": kind, "thinks": thinks, **over_http, "plain": plain}


def _in_threads(turn: Callable[[str], object]) -> Step:
    """Return the step that makes a turn. Every tenth begins a thread."""
    made, thread_id = 0, ""

    def step() -> None:
        nonlocal made, thread_id
        if made % 10 == 0:
            thread_id = str(uuid.uuid4())
        made += 1
        turn(thread_id)

    return step


def _sends(saver: HoldfastSaver, thinks: float) -> Step:
    agent, text = make_agent(saver), f"{thinks} Hello"
    return _in_threads(lambda thread_id: Conversation(agent, thread_id).send(text))


def _posts(served: Server, thinks: float) -> Step:
    connection, body = served.connect(), json.dumps({"text": f"{thinks} Hello"})

    def post(thread_id: str) -> None:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/threads/{thread_id}/messages/wait", body, headers)
        response = connection.getresponse()
        said = response.read()
        if response.status != 200:
            raise AssertionError(f"{response.status}: {said.decode()}")

    return _in_threads(post)


# --- streams


def streams(kind: str, folder: Path, server: str, sizes: Sizes = FULL, thinks: float = 2.0) -> dict[str, Any]:
    """Stream many turns at once, each of a thread of its own, from one server.

    Returns:
        How many failed, the seconds until the last one had ended, and the seconds of CPU time of the server's process.
    """
    with started(_database(kind, folder, server), "router", folder) as served:
        spent: list[Any] = []
        with Meter("", [served.pid]).timing(spent):
            ended = asyncio.run(_stream_all(served, sizes.streams, thinks))
        [took] = spent
    return {
        "database": kind,
        "streams": sizes.streams,
        "thinks": thinks,
        "failed": sum(end != "done" for end, _, _ in ended),
        "wall_s": took.wall,
        "median_s": statistics.median(seconds for _, seconds, _ in ended),
        "first_text_s": statistics.median(first for _, _, first in ended),
        "cpu_s": took.all_cpu - took.cpu,
    }


async def _stream_all(served: Server, number: int, thinks: float) -> list[tuple[str, float, float]]:
    return await asyncio.gather(*(_stream(served, thinks) for _ in range(number)))


async def _stream(served: Server, thinks: float) -> tuple[str, float, float]:
    """Stream a turn. Return its last event, and the seconds until the end and until the first piece of text."""
    begin, first, event = time.perf_counter(), 0.0, "none"
    body = json.dumps({"text": f"{thinks} Hello"}).encode()
    head = (
        f"POST /threads/{uuid.uuid4()}/messages/stream HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head.encode() + body)
        async for line in reader:
            if line.startswith(b"event: "):
                event = line[7:].strip().decode()
                if event == "text" and not first:
                    first = time.perf_counter() - begin
        writer.close()
    except OSError as error:
        event = repr(error)
    return event, time.perf_counter() - begin, first


# --- many threads


def many_threads(kind: str, folder: Path, server: str, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare servers on a database of many threads with servers on one of none, and time lists and inboxes.

    Returns:
        The median seconds until each server is ready, with no thread and with many; and of each list the median
        milliseconds of a request, by an ordinary user and by an approver.
    """
    empty, full = (_database(kind, folder, server) for _ in range(2))
    with open_checkpointer(empty):
        pass  # it makes the tables
    with open_checkpointer(full) as saver:
        filled = timed(lambda: fill_for_users(saver, sizes, kind))
    path = folder / f"tokens-{uuid.uuid4().hex}.jsonl"
    tokens = {"user": TokenFile(path).add("user-1", []), "approver": TokenFile(path).add("grace", [Role.APPROVER])}
    ready: dict[str, dict[str, list[float]]] = {
        "router": {"none": [], "many": []},
        "langgraph": {"none": [], "many": []},
    }
    for _ in range(sizes.starts):
        for url, many in ((empty, "none"), (full, "many")):
            for name in ready:
                with started(url, name, folder) as served:
                    ready[name][many].append(served.ready_s)
    with started(full, "router", folder, HOLDFAST_TOKENS=str(path)) as served:
        lists = {name: _times(served, *asked) for name, asked in _lists(served, tokens).items()}
    seconds = {name: {many: statistics.median(each) for many, each in of.items()} for name, of in ready.items()}
    return {
        "database": kind,
        "threads": sizes.threads,
        "asked": sizes.asked,
        "fill_s": filled,
        "ready_s": seconds,
        **{f"{name}_ready": each["many"] / each["none"] for name, each in seconds.items()},
        "lists_ms": lists,
    }


def fill_for_users(saver: HoldfastSaver, sizes: Sizes, kind: str) -> None:
    """Fill a database with threads of many users, some of which wait for a person."""
    fill(saver, sizes.threads, kind, asked=sizes.asked)
    number = "CAST(substr(thread_id, 1 + strpos(thread_id, '-')) AS BIGINT)"
    users = (
        f"UPDATE holdfast_threads SET user_id = 'user-' || ({number} % :users),"
        f" updated_at = updated_at + {number} * 0.001 WHERE deleted_at IS NULL"
    )
    saver.database.write((Statement("users", users), {"users": _USERS}))
    if kind == "PostgreSQL":
        saver.database.write((Statement("analyze", "ANALYZE"), {}))


def _lists(served: Server, tokens: Mapping[str, str]) -> dict[str, tuple[str, str, int]]:
    """Return the lists to time: by name the path, the token, and the entries that it must have."""
    page, cursor = 20, ""
    connection = served.connect()
    for _ in range(_DEEP):
        _, found = _get(connection, f"/threads?limit={page}{cursor}", tokens["user"])
        if found["cursor"] is None:
            break
        cursor = f"&cursor={found['cursor']}"
    return {
        "first_page": (f"/threads?limit={page}", tokens["user"], page),
        "deep_page": (f"/threads?limit={page}{cursor}", tokens["user"], 1),
        "paused": (f"/threads?limit={page}&status=paused", tokens["user"], 1),
        "inbox": ("/pending", tokens["user"], 1),
        "inbox_of_approver": ("/pending", tokens["approver"], 1),
    }


def _times(served: Server, path: str, token: str, least: int, times: int = 60) -> dict[str, float]:
    """Return the time of a GET in milliseconds: of the first one, the median, and the longest of the others."""
    connection, taken = served.connect(), []
    for _ in range(times):
        begin = time.perf_counter()
        status, found = _get(connection, path, token)
        taken.append((time.perf_counter() - begin) * 1000)
        entries = found["threads"] if isinstance(found, dict) and "threads" in found else found
        if status != 200 or len(entries) < least:
            raise AssertionError(f"{path}: {status}, {len(entries)} entries")
    return {
        "first": taken[0],
        "median": statistics.median(taken[1:]),
        "longest": max(taken[1:]),
        "entries": len(entries),
    }
