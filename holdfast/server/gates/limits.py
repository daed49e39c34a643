"""ASGI middleware that limits what a caller sends: bytes, characters, turns in a minute, and streams at once.

The counts are those of this process: several replicas allow as many each.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.gates.access import user_of
from holdfast.server.gates.bodies import TooLarge, Unreadable, body_of, longest_text, read_body
from holdfast.server.gates.problems import refuse

# Callers whose turns are counted. Those who have not called for a minute are forgotten then.
_MOST_USERS: Final = 10_000
_STREAM_RETRY: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may send. `None`: no limit."""

    body: int | None = None
    """Bytes of the body of a request."""
    message: int | None = None
    """Characters of a text in a message."""
    turns: int | None = None
    """Turns that a user begins in a minute."""
    streams: int | None = None
    """Requests of a user that wait or stream at the same time."""


class TurnBudget:
    """The turns of each user: as many as are allowed in a minute, which come back one by one.

    Args:
        turns: in a minute.
        clock: returns seconds.
    """

    def __init__(self, turns: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._turns = turns
        self._clock = clock
        # When the last turn of a user will have come back.
        self._full_at: dict[str, float] = {}

    def take(self, user_id: str) -> int:
        """Take a turn of a user. Return 0, or the seconds until one is there."""
        now, each = self._clock(), 60 / self._turns
        if len(self._full_at) > _MOST_USERS:
            self._full_at = {user: full_at for user, full_at in self._full_at.items() if full_at > now}
        full_at = max(self._full_at.get(user_id, now), now) + each
        if full_at > now + 60 + 1e-6:
            return math.ceil(full_at - now - 60)
        self._full_at[user_id] = full_at
        return 0


class LimitGate:
    """Refuses requests beyond the limits: 413, or 429 with the seconds after which to try again.

    Args:
        app: the application behind it.
        limits: the limits.
        begins_turn: whether a request begins a turn.
        is_stream: whether a request waits or streams.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        begins_turn: Callable[[Scope], bool],
        is_stream: Callable[[Scope], bool],
    ) -> None:
        self._app = app
        self._limits = limits
        self._begins_turn = begins_turn
        self._is_stream = is_stream
        self._budget = None if limits.turns is None else TurnBudget(limits.turns)
        self._streams: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                receive = await self._read(scope, receive)
        except TooLarge:
            await refuse(scope, receive, send, 413, f"The body is too large. Allowed: {self._limits.body:,} bytes.")
            return
        user_id = user_of(HTTPConnection(scope)) or ""
        if problem := self._problem(scope):
            await refuse(scope, receive, send, 413, problem)
        elif seconds := self._wait(scope, user_id):
            said = "Too many turns or streams of this user. Nothing was begun."
            await refuse(scope, receive, send, 429, said, {"Retry-After": str(seconds)})
        else:
            with self._counted(scope, user_id):
                await self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._limits.body
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if limit is not None and length.isdigit() and int(length) > limit:
            raise TooLarge
        return (await read_body(scope, receive, limit))[1]

    def _problem(self, scope: Scope) -> str | None:
        body, most = body_of(scope), self._limits.message
        if body is None or most is None or len(body.given) <= most or not body.is_json:
            return None
        try:
            length = longest_text(body.value())
        except Unreadable:  # the application says so
            return None
        return f"A message of {length:,} characters is too long. Allowed: {most:,}." if length > most else None

    def _wait(self, scope: Scope, user_id: str) -> int:
        """Return the seconds that a user has to wait before this request; 0 if none."""
        most = self._limits.streams
        if most is not None and self._is_stream(scope) and self._streams[user_id] >= most:
            return _STREAM_RETRY
        return self._budget.take(user_id) if self._budget is not None and self._begins_turn(scope) else 0

    @contextmanager
    def _counted(self, scope: Scope, user_id: str) -> Iterator[None]:
        if not self._is_stream(scope):
            yield
            return
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]
