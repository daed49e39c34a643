"""An endpoint on loopback that speaks OpenAI's chat completions, streamed and not, from a script.

    with stub_openai(says("Hello."), calls(call("find_order", '{"order_id": 1001}')), refuses(429)) as endpoint:
        chat_model("openai:stub", api_key=KEY, base_url=endpoint.url)

Each request takes the next reply. A history that a provider would refuse is answered with 400, and fails the test.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

KEY = "sk-of-ada-0123456789abcdef"
"""The key that tests use. A refusal of the endpoint quotes it, as those of some providers do."""

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


# --- the script ---


@dataclass(frozen=True)
class Call:
    """A tool call as it goes over the wire: its arguments are text."""

    name: str
    arguments: str
    id: str


@dataclass(frozen=True)
class Says:
    """An answer. Broken off, it ends halfway: `rudely` in the middle of the transfer, or as if that were the end."""

    text: str
    calls: tuple[Call, ...] = ()
    broken_off: bool = False
    rudely: bool = False


@dataclass(frozen=True)
class Sends:
    """A whole response, as it is."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hangs:
    """Some words, if it is a stream, and then nothing, until `Stub.let_go`."""

    after: str = ""


Reply: TypeAlias = Says | Sends | Hangs


def call(name: str, arguments: str, id: str = "call_0") -> Call:
    return Call(name, arguments, id)


def says(text: str) -> Says:
    return Says(text)


def calls(*wanted: Call, text: str = "") -> Says:
    return Says(text, wanted)


def breaks_off(text: str, *wanted: Call, rudely: bool) -> Says:
    return Says(text, wanted, broken_off=True, rudely=rudely)


def refuses(status: int, **headers: str) -> Sends:
    body = {"error": {"message": f"Refused with {status}; the key was {KEY}.", "type": "stub", "code": None}}
    return Sends(status, json.dumps(body), {"Content-Type": "application/json", **headers})


def hangs(after: str = "") -> Hangs:
    return Hangs(after)


def no_choices() -> Sends:
    """An answer with nothing in it; an event with nothing in it for those who asked for a stream."""
    body = json.dumps({"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "stub", "choices": []})
    return Sends(200, body, {"Content-Type": "application/json"})


def web_page() -> Sends:
    return Sends(200, f"<html><body>Please log in, {KEY}</body></html>", {"Content-Type": "text/html"})


# --- what a provider takes ---


def history_problem(messages: list[dict[str, Any]]) -> str | None:
    """Why a provider would refuse these messages; None if it would not."""
    waiting: list[str] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                return f"messages[{place}] answers no call of the message before it"
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return f"messages[{place}] comes before the answers to {waiting}"
        if role not in ("system", "user", "assistant"):
            return f"messages[{place}] has the role {role!r}"
        made = message.get("tool_calls") or []
        if not made and not isinstance(message.get("content"), str | list):
            return f"messages[{place}] has no content"
        for item in made:
            if problem := _call_problem(item):
                return f"messages[{place}] {problem}"
        waiting = [item["id"] for item in made]
        if len(set(waiting)) < len(waiting):
            return f"messages[{place}] uses an id twice: {waiting}"
    if waiting:
        return f"nothing answers {waiting}"
    return None if messages else "there are no messages"


def _call_problem(made: dict[str, Any]) -> str | None:
    function = made["function"]
    if not made.get("id"):
        return "makes a call without an id"
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function["name"]):
        return f"calls {function['name']!r}, which is no name"
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return f"calls with arguments that are not JSON: {function['arguments']!r}"
    return None if isinstance(arguments, dict) else f"calls with arguments that are no object: {arguments!r}"


# --- the server ---


class Stub(ThreadingHTTPServer):
    """The endpoint: what it is to say, and what it was asked."""

    daemon_threads = True  # one that hangs does not keep a failed test from ending

    def __init__(self, script: tuple[Reply, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.problems: list[str] = []
        self.let_go = threading.Event()
        self._asked = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def wait_for_request(self) -> None:
        """Wait until the first request is there."""
        assert self._asked.wait(30), "no request came within 30 s"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client has gone, as clients do
            super().handle_error(request, client_address)

    def reply_to(self, request: dict[str, Any], key: str) -> Reply:
        with self._lock:
            self.requests.append(request)
            self._asked.set()
            self.keys.append(key)
            problem = history_problem(request["messages"])
            if problem is None and not self.script:
                problem = f"request {len(self.requests)} is one more than the script has replies for"
            if problem is None:
                return self.script.pop(0)
            self.problems.append(problem)
            return refuses(400)


@contextmanager
def stub_openai(*script: Reply) -> Iterator[Stub]:
    """An endpoint that replies with the script, for as long as the block runs.

    Raises:
        AssertionError: it was sent what a provider would refuse, or not everything in the script was asked for.
    """
    with Stub(script) as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
            assert not stub.problems, stub.problems
            assert not stub.script, f"never asked for: {stub.script}"
        finally:
            stub.let_go.set()
            stub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open between requests, as with a real endpoint
    server: Stub

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._send(refuses(404))
        match self.server.reply_to(request, self.headers.get("Authorization", "")):
            case Hangs(after):
                if after:
                    begun = Says(after, broken_off=True, rudely=True)
                    self._stream(begun, list(_chunks(begun, wants_usage=False)))
                self.server.let_go.wait()
                self.close_connection = True
            case Sends(200, body, {"Content-Type": "application/json"}) if request.get("stream"):
                self._send(Sends(200, f"data: {body}\n\n", {"Content-Type": "text/event-stream"}))
            case Sends() as whole:
                self._send(whole)
            case Says() as answer if request.get("stream"):
                wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
                self._stream(answer, list(_chunks(answer, wants_usage)))
            case Says() as answer:
                self._answer(answer)
        return None

    def _send(self, reply: Sends, length: int | None = None) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, answer: Says) -> None:
        body = json.dumps(_completion(answer))
        whole = Sends(200, body, {"Content-Type": "application/json"})
        if not answer.broken_off:
            return self._send(whole)
        half = Sends(200, body[: len(body) // 2], whole.headers)
        self.close_connection = True
        return self._send(half, len(body) if answer.rudely else None)

    def _stream(self, answer: Says, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.close_connection = answer.broken_off
        if not answer.rudely:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _completion(answer: Says) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = [_made(made, made.arguments) for made in answer.calls]
    reason = "tool_calls" if answer.calls else "stop"
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": USAGE,
    }


def _chunks(answer: Says, wants_usage: bool) -> Iterator[str]:
    """The events: words one by one, and each call's arguments in pieces of four letters."""
    yield _chunk({"role": "assistant", "content": ""})
    for word in re.findall(r"\S+\s*", answer.text):
        yield _chunk({"content": word})
    for index, made in enumerate(answer.calls):
        yield _chunk({"tool_calls": [{"index": index, **_made(made, "")}]})
        for piece in re.findall(r"(?s).{1,4}", made.arguments):
            yield _chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if answer.broken_off:
        return
    yield _chunk({}, "tool_calls" if answer.calls else "stop")
    if wants_usage:
        yield json.dumps({**json.loads(_chunk({})), "choices": [], "usage": USAGE})
    yield "[DONE]"


def _chunk(delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "stub", "choices": [choice]}
    return json.dumps(chunk)


def _made(made: Call, arguments: str) -> dict[str, Any]:
    return {"id": made.id, "type": "function", "function": {"name": made.name, "arguments": arguments}}
