"""ASGI middleware that tells of each request: a line in the log, metrics, and a span."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.server.gates.access import is_up, user_of
from holdfast.server.observed.logs import pseudonym
from holdfast.server.observed.metrics import Metrics
from holdfast.server.observed.traces import request_span

_log: Final = logging.getLogger("holdfast.requests")

_GIVEN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_THREAD: Final = re.compile(r"/threads/([^/]+)")
_UUID: Final = r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_RUN: Final = re.compile(f"/runs/({_UUID})")
# An id of a path becomes a word, so that a metric has as many rows as there are routes.
_IDS: Final = (
    (re.compile(r"(?<=/threads/)(?!(?:search|count|prune)(?:/|$))[^/]+"), "{thread_id}"),
    (re.compile(r"(?<=/pending/)(?!(?:wait|stream)(?:/|$))[^/]+"), "{interrupt_id}"),
    (re.compile(r"(?<=/requests/)[^/]+/[^/]+"), "{thread_id}/{interrupt_id}"),
    (re.compile(r"(?<=/assistants/)(?!(?:search|count)(?:/|$))[^/]+"), "{assistant_id}"),
    (re.compile(_UUID), "{id}"),
)
_ROUTE: Final = re.compile(r"(?:/[a-z_.{}]{1,32}){1,6}/?|/")
# Events of streams that bring a text: LangGraph's server's, and the router's.
_TEXT: Final = re.compile(rb"(?:^|\n)event: ?(?:messages|text)\b")


@dataclass
class _Seen:
    """What is seen of a response."""

    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    first_text: float | None = None
    location: str = ""
    """The address of the run that the request has begun."""

    def note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(scope=message)
            self.location = headers.get("content-location") or headers.get("location") or ""
        elif self.first_text is None and _TEXT.search(message.get("body", b"")):
            self.first_text = self.elapsed

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.began


class WatchGate:
    """Gives each request an id, and tells of it when it has ended. It reads no body of a request.

    Args:
        app: the application behind it.
        metrics: where to count it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_up(scope):
            await self._app(scope, receive, send)
            return
        request_id, seen, route = _request_id(scope), _Seen(), route_of(scope["path"])

        async def noted(message: Message) -> None:
            seen.note(message)
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with request_span(scope["method"], route) as span:
            try:
                await self._app(scope, receive, noted)
            finally:
                span.ended(seen.status)
                self._tell(scope, request_id, route, seen, span.trace_id)

    def _tell(self, scope: Scope, request_id: str, route: str, seen: _Seen, trace_id: str | None) -> None:
        user_id = user_of(HTTPConnection(scope))
        first = seen.first_text
        fields = {
            "request": request_id,
            "user": pseudonym(user_id) if user_id else None,
            "method": scope["method"],
            "route": route,
            "thread": _named(_THREAD, scope["path"]),
            "run": _named(_RUN, seen.location) or _named(_RUN, scope["path"]),
            "status": seen.status or None,
            "duration_ms": round(1000 * seen.elapsed, 1),
            "first_text_ms": None if first is None else round(1000 * first, 1),
            "trace": trace_id,
        }
        _log.info("request", extra={"holdfast": fields})
        if self._metrics is not None:
            self._metrics.requests.labels(scope["method"], route, str(seen.status)).inc()
            self._metrics.seconds.labels(route).observe(seen.elapsed)
            if first is not None:
                self._metrics.first_text.observe(first)


def route_of(path: str) -> str:
    """Return a path with words in place of its ids; `other` for one that no server has."""
    for ids, word in _IDS:
        path = ids.sub(word, path)
    return path if _ROUTE.fullmatch(path) else "other"


def _request_id(scope: Scope) -> str:
    """Return the id that a proxy has given to a request, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _GIVEN.fullmatch(given) else uuid.uuid4().hex


def _named(pattern: re.Pattern[str], path: str) -> str | None:
    found = pattern.search(path)
    return found[1] if found and re.fullmatch(r"[\w.:-]{1,128}", found[1]) else None
