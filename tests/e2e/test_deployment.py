"""The deployment guide, carried out: replicas behind HAProxy and PgBouncer, one killed and one stopped under load."""

from __future__ import annotations

import http.client
import socketserver
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from tests.support import deployed
from tests.support.deployed import Deployment, deployment
from tests.support.serving import Server, free_port

pytestmark = [
    pytest.mark.sweep,  # it starts seven processes, and a replica that died has its turns for 15 seconds more
    pytest.mark.skipif(deployed.missing() is not None, reason=str(deployed.missing())),
]

PATIENCE = 90.0
"""Seconds within which a request is answered, however often it has to be sent."""

CLIENTS = 4


@pytest.fixture
def place(postgres_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, postgres_url) as found:
        yield found


@dataclass
class Stream:
    """A client that reads the stream of a turn to its end, wherever it breaks."""

    http: httpx.Client
    events: list[tuple[str, str | None]] = field(default_factory=list)
    replicas: list[str] = field(default_factory=list)
    address: str = ""
    said: Event = field(default_factory=Event)
    """Set when the agent has called its tool: what follows is up to the test."""

    def read(self, thread: str, text: str) -> Stream:
        """Send a message, and read until its turn has ended."""
        key, deadline = str(uuid.uuid4()), time.monotonic() + PATIENCE
        while not self.has_ended:
            assert time.monotonic() < deadline, (text, self.events, self.replicas)
            try:
                if self.address:
                    last = next((id_ for _, id_ in reversed(self.events) if id_), "")
                    self._read("GET", f"{self.address}/stream", headers={"Last-Event-ID": last})
                else:
                    path = f"/threads/{thread}/messages/stream"
                    self._read("POST", path, headers={"Idempotency-Key": key}, json={"text": text})
            except httpx.TransportError:
                time.sleep(0.1)  # as a browser does
        return self

    @property
    def has_ended(self) -> bool:
        return bool(self.events) and self.events[-1][0] in ("done", "failed", "cancelled")

    def ids(self) -> list[str]:
        return [id_ for _, id_ in self.events if id_]

    def _read(self, method: str, path: str, **request: Any) -> None:
        with self.http.stream(method, path, **request) as response:
            if response.status_code >= 500:
                return
            assert response.status_code == 200, response.read()
            self.address = self.address or response.headers["location"]
            self.replicas.append(response.headers["x-served-by"])
            for name, id_ in _events(response):
                self.events.append((name, id_))
                if name == "tool_answered":
                    self.said.set()


def _events(response: httpx.Response) -> Iterator[tuple[str, str | None]]:
    """Yield name and id of each event that has come as a whole."""
    found: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
            continue
        if "event" in found:
            yield found["event"], found.get("id")
        found = {}


@dataclass
class Client:
    """A user who sends one message after the other, and sends again what was not answered."""

    place: Deployment
    name: str
    http: httpx.Client
    accepted: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)

    def talk(self, over: Event) -> Client:
        """Send messages in each of the ways until it is over."""
        ways: list[Callable[[str, str], None]] = [self._wait, self._accept_and_look, self._stream, self._ask]
        number = 0
        while not over.is_set():
            way = ways[number % len(ways)]
            what = f"{'ask ' if way == self._ask else ''}room {self.name}-{number}"
            way(what.replace(" ", "-"), what)
            self.accepted.append(what)
            number += 1
        return self

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request under one key until the answer is not an error of the servers."""
        headers, deadline = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic() + PATIENCE
        while True:
            try:
                response = self.http.request(method, path, headers=headers, **request)
            except httpx.TransportError as error:
                self.repeated[type(error).__name__] += 1
            else:
                if response.status_code < 500:
                    return response
                self.repeated[str(response.status_code)] += 1
            assert time.monotonic() < deadline, (path, self.repeated)
            time.sleep(0.2)  # a moment for the balancer, as Retry-After asks for

    def _wait(self, thread: str, text: str) -> None:
        response = self.send("POST", f"/threads/{thread}/messages/wait", json={"text": text})
        self._settle(thread, text, response)

    def _accept_and_look(self, thread: str, text: str) -> None:
        response = self.send("POST", f"/threads/{thread}/messages", json={"text": text})
        assert response.status_code == 202, response.text
        deadline = time.monotonic() + PATIENCE
        while self.send("GET", response.headers["location"]).json()["ended_at"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)  # as a client that polls
        self._settle(thread, text, None)

    def _stream(self, thread: str, text: str) -> None:
        stream = Stream(self.http).read(thread, text)
        again = self.send("GET", f"{stream.address}/stream")
        assert stream.ids() == [line[4:] for line in again.text.splitlines() if line.startswith("id: ")]
        self._settle(thread, text, None)

    def _ask(self, thread: str, text: str) -> None:
        waiting = self.send("POST", f"/threads/{thread}/messages/wait", json={"text": text}).json()
        [request] = waiting["pending"]
        path = f"/threads/{thread}/pending/{request['interrupt_id']}/wait"
        with self.place.client("grace") as grace, ThreadPoolExecutor(2) as both:
            approver = Client(self.place, "grace", grace)
            yes = {"json": {"answer": {"type": "approve"}}}
            answers = [both.submit(each.send, "POST", path, **yes) for each in (self, approver)]
        assert sorted(answer.result().status_code for answer in answers) == [200, 409]
        self._settle(thread, text, None)

    def _settle(self, thread: str, text: str, response: httpx.Response | None) -> None:
        """Answer what a process that died has left in doubt."""
        if response is not None:
            assert response.status_code == 200, response.text
        for doubt in self.send("GET", f"/threads/{thread}/pending").json():
            assert doubt["kind"] == "doubt", doubt
            happened = text in _lines(self.place.bookings)
            verdict = {"type": "happened", "result": "done"} if happened else {"type": "run_again"}
            path = f"/threads/{thread}/pending/{doubt['interrupt_id']}/wait"
            assert self.send("POST", path, json={"answer": verdict}).status_code == 200


@pytest.mark.timeout(400)
def test_turns_and_streams_go_on_when_a_replica_is_killed_and_one_is_stopped(place: Deployment) -> None:
    with ExitStack() as stack:
        replicas = {name: stack.enter_context(place.replica(name)) for name in place.ports}
        place.wait_until_ready("one", "two")
        with _load(stack, place) as clients:
            killed = _kill(place, replicas)
            replicas[killed] = stack.enter_context(place.replica(killed))
            place.wait_until_ready("one", "two")
            _stop(place, replicas)
        sent = ["hold a", "hold b", *(what for client in clients for what in client.result().accepted)]
        _check_each_was_answered_once(place, sent)


@contextmanager
def _load(stack: ExitStack, place: Deployment) -> Iterator[list[Future[Client]]]:
    """Let some clients talk for as long as the block takes."""
    over, pool = Event(), stack.enter_context(ThreadPoolExecutor(CLIENTS))
    talking = [Client(place, name, stack.enter_context(place.client())) for name in "wxyz"[:CLIENTS]]
    clients = [pool.submit(client.talk, over) for client in talking]
    try:
        yield clients
    finally:
        over.set()


@contextmanager
def _held(place: Deployment, what: str) -> Iterator[tuple[Stream, Future[Stream]]]:
    """Open a stream of a turn that has called its tool, and goes on when it is released."""
    with place.client() as http, ThreadPoolExecutor(1) as pool:
        stream = Stream(http)
        reading = pool.submit(stream.read, what.replace(" ", "-"), what)
        try:
            assert stream.said.wait(PATIENCE), stream.events
            yield stream, reading
        finally:
            deployed.release(what, place.bookings)


def _kill(place: Deployment, replicas: dict[str, Server]) -> str:
    """Kill the replica of a stream, and see the stream go on at the other one. Return its name."""
    with _held(place, "hold a") as (stream, reading):
        [name] = stream.replicas
        replicas[name].kill()
        deployed.release("hold a", place.bookings)
        reading.result(PATIENCE)
    assert (stream.replicas[-1] != name, stream.events[-1][0]) == (True, "done"), stream
    return name


def _stop(place: Deployment, replicas: dict[str, Server]) -> None:
    """Stop the replica of a stream, and see the balancer leave it while the stream goes on there."""
    with _held(place, "hold b") as (stream, reading):
        [name] = stream.replicas
        replicas[name].process.terminate()
        place.wait_until_ready(*{*place.ports} - {name})
        ready = httpx.get(f"{replicas[name].url}/readyz")
        assert (ready.status_code, ready.json()["problem"]) == (503, "The server is stopping.")
        deployed.release("hold b", place.bookings)
        reading.result(PATIENCE)
    assert (stream.replicas, stream.events[-1][0]) == ([name], "done"), stream
    replicas[name].process.join(PATIENCE)
    assert replicas[name].process.exitcode is not None


def _check_each_was_answered_once(place: Deployment, sent: list[str]) -> None:
    assert len(sent) > 2 * CLIENTS
    assert Counter(_lines(place.bookings)) == dict.fromkeys(sent, 1)
    with place.client() as http:
        for what in sent:
            thread = what.replace(" ", "-")
            said = http.get(f"/threads/{thread}/messages").json()
            assert [message["text"] for message in said if message["role"] == "human"] == [what]
            assert said[-1]["text"] == "booked", said
            assert {run["state"] for run in http.get(f"/threads/{thread}/runs").json()} == {"done"}


class Dying(socketserver.ThreadingTCPServer):
    """A replica that is ready, and dies when it has read a request."""

    daemon_threads = True
    got: list[str]

    class RequestHandlerClass(socketserver.StreamRequestHandler):  # type: ignore[assignment]
        def handle(self) -> None:
            method, path, _ = self.rfile.readline().decode().split()
            headers = http.client.parse_headers(self.rfile)
            self.rfile.read(int(headers["content-length"] or 0))
            if path == "/readyz":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                self.server.got.append(f"{method} {path}")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "key", "times"),
    [
        ("POST", "/threads/a/messages/wait", "1", 4),
        ("POST", "/api/threads/a/pending/b/stream", "1", 4),
        ("GET", "/threads", None, 4),
        ("POST", "/threads/a/messages/wait", None, 1),
        ("POST", "/threads/a/undo", "1", 1),  # a route that knows no keys
        ("DELETE", "/threads/a", "1", 1),
    ],
)
def test_the_balancer_sends_again_only_what_may_come_twice(
    tmp_path: Path, method: str, path: str, key: str | None, times: int
) -> None:
    certificate, balancer, operators = deployed.make_certificate(tmp_path), free_port(), free_port()
    got: list[str] = []
    with ExitStack() as stack:
        replicas = [stack.enter_context(Dying(("127.0.0.1", 0), Dying.RequestHandlerClass)) for _ in range(2)]
        for replica in replicas:
            replica.got = got
            Thread(target=replica.serve_forever, daemon=True).start()
            stack.callback(replica.shutdown)
        one, two = (f"127.0.0.1:{replica.server_address[1]}" for replica in replicas)
        stack.enter_context(
            deployed.haproxy(
                tmp_path / "log",
                BIND=f"127.0.0.1:{balancer}",
                OPERATORS=f"127.0.0.1:{operators}",
                CERTIFICATE=str(certificate),
                REPLICA_ONE=one,
                REPLICA_TWO=two,
            )
        )
        context = ssl.create_default_context(cafile=certificate)
        url, headers = f"https://127.0.0.1:{balancer}", {} if key is None else {"Idempotency-Key": key}
        with httpx.Client(base_url=url, headers=headers, verify=context, timeout=PATIENCE) as client:
            client.get("/threads")
            got.clear()
            response = client.request(method, path, json={} if method == "POST" else None)
    assert (response.status_code, response.headers["retry-after"], got) == (502, "1", times * [f"{method} {path}"])


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
