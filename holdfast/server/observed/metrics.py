"""Metrics for Prometheus, at `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, TypeVar

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.extras import install_command
from holdfast.server.access import Role
from holdfast.server.gates.access import principal_of
from holdfast.server.gates.problems import refuse
from holdfast.server.observed.health import FindSaver
from holdfast.server.observed.outcomes import listen

T = TypeVar("T")

# Requests that wait, and calls in doubt, are counted up to here.
_MOST: Final = 1_000
# Seconds for which they are not counted again.
_FRESH: Final = 10.0
_TRANSACTIONS: Final = ("reading", "glancing", "writing")


class Metrics:
    """The metrics of one process.

    Raises:
        ImportError: `prometheus-client` is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise ImportError(
                f"prometheus-client is not installed ({error}). Install it: {install_command('observed')}"
            ) from None
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("holdfast_requests", "Requests.", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram(
            "holdfast_request_seconds", "Time to the end of the response.", ["route"], registry=registry
        )
        self.turns = Counter("holdfast_turns", "Turns that have ended, by outcome.", ["outcome"], registry=registry)
        self.first_text = Histogram(
            "holdfast_first_text_seconds", "Time from a request to the first text of a stream.", registry=registry
        )
        self.database = Histogram(
            "holdfast_database_seconds", "Time in transactions of the database.", ["kind"], registry=registry
        )
        self.waiting = Gauge("holdfast_approvals_waiting", "Requests that wait for a person.", registry=registry)
        self.oldest = Gauge("holdfast_approvals_oldest_seconds", "Age of the oldest such request.", registry=registry)
        self.in_doubt = Gauge("holdfast_effects_in_doubt", "Tool calls in doubt.", registry=registry)
        self.connections = Gauge("holdfast_connections", "Open connections to PostgreSQL.", registry=registry)
        self.sweep_seconds = Histogram("holdfast_sweep_seconds", "Time of a retention sweep.", registry=registry)
        listen(lambda outcome: self.turns.labels(outcome).inc())
        self._saver: HoldfastSaver | None = None
        self._looked_at = float("-inf")

    def watch(self, saver: HoldfastSaver) -> None:
        """Measure the transactions of a database, and count what waits in it. Idempotent."""
        if self._saver is saver:
            return
        self._saver = saver
        backend: Any = saver.database.backend
        for kind in _TRANSACTIONS:
            setattr(backend, kind, _timed(getattr(backend, kind), self.database.labels(kind).observe))
        backend.save_at_once = _timed_call(backend.save_at_once, self.database.labels("save_at_once").observe)
        vars(saver)["sweep"] = _timed_call(saver.sweep, self.sweep_seconds.observe)

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus. It reads the database, so it blocks."""
        from prometheus_client import generate_latest

        if self._saver is not None and time.monotonic() > self._looked_at + _FRESH:
            self._look(self._saver)
            self._looked_at = time.monotonic()
        return generate_latest(self.registry)

    def _look(self, saver: HoldfastSaver) -> None:
        self.connections.set(getattr(saver.database.backend, "connections", 0))
        waiting = saver.interrupts.waiting(_MOST)
        self.waiting.set(len(waiting))
        now = datetime.now(UTC)
        ages = [(now - request.asked_at).total_seconds() for request in waiting]
        self.oldest.set(max(ages, default=0.0))
        self.in_doubt.set(len(saver.effects.in_doubt(_MOST)))


class MetricsGate:
    """Answers `GET /metrics`, for callers with the role for it, or for any if access control is off.

    Args:
        app: the application behind it.
        metrics: the metrics.
        find_saver: returns the checkpointer.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, find_saver: FindSaver) -> None:
        self._app = app
        self._metrics = metrics
        self._find_saver = find_saver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/metrics":
            await self._app(scope, receive, send)
            return
        principal = principal_of(HTTPConnection(scope))
        if principal is not None and Role.METRICS not in principal.roles:
            await refuse(scope, receive, send, 403, f"The role {Role.METRICS} is needed.")
            return
        saver = await self._find_saver()
        if isinstance(saver, HoldfastSaver):
            self._metrics.watch(saver)
        text = await asyncio.to_thread(self._metrics.text)
        await Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")(scope, receive, send)


def _timed_call(call: Callable[..., T], observe: Callable[[float], None]) -> Callable[..., T]:
    @wraps(call)
    def timed(*args: Any, **kwargs: Any) -> T:
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            observe(time.perf_counter() - began)

    return timed


def _timed(
    begin: Callable[[], AbstractContextManager[Any]], observe: Callable[[float], None]
) -> Callable[[], AbstractContextManager[Any]]:
    @wraps(begin)
    @contextmanager
    def timed() -> Iterator[Any]:
        began = time.perf_counter()
        try:
            with begin() as transaction:
                yield transaction
        finally:
            observe(time.perf_counter() - began)

    return timed
