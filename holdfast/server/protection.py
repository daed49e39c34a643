"""Everything that stands before a server, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Scope

from holdfast.checkpoints import HoldfastSaver
from holdfast.server.access import check_address, make_authenticator
from holdfast.server.gates import AccessGate, HostGate, LimitGate, known_names, make_limits
from holdfast.server.gates.access import IsPublic, is_up
from holdfast.server.observed import HealthGate, Metrics, MetricsGate, WatchGate
from holdfast.server.observed.health import FindSaver, IsStopping, never
from holdfast.server_settings import ServerSettings

_TURN: Final = re.compile(r".*/threads/[^/]+/(?:messages|retry|pending/[^/]+)(?:/wait|/stream)?/?")


@dataclass(frozen=True, slots=True)
class Requests:
    """What the gates have to know of the requests of an application."""

    begins_turn: Callable[[Scope], bool]
    is_stream: Callable[[Scope], bool]
    """Whether it waits or streams."""
    is_public: IsPublic = is_up
    """Whether it is answered whoever makes it."""


def gates_before(
    settings: ServerSettings,
    requests: Requests,
    find_saver: FindSaver,
    metrics: Metrics,
    is_stopping: IsStopping = never,
) -> list[Middleware]:
    """Return the gates before an application, from outside to inside.

    Args:
        settings: the settings of the server.
        requests: what its requests are.
        find_saver: returns its checkpointer.
        metrics: its metrics.
        is_stopping: returns whether it is about to stop.

    Raises:
        InvalidAccess: access control cannot be set up.
    """
    authenticator = make_authenticator(settings)
    limits = make_limits(settings, has_access_control=authenticator is not None)
    return [
        *outer_gates(settings, requests, find_saver, metrics, is_stopping),
        Middleware(AccessGate, authenticator, requests.is_public),
        Middleware(LimitGate, limits, requests.begins_turn, requests.is_stream),
        Middleware(MetricsGate, metrics, find_saver),
    ]


def outer_gates(
    settings: ServerSettings,
    requests: Requests,
    find_saver: FindSaver,
    metrics: Metrics,
    is_stopping: IsStopping = never,
) -> list[Middleware]:
    """Return those of the gates that do not depend on who calls."""
    return [
        Middleware(WatchGate, metrics),
        Middleware(HealthGate, find_saver, is_stopping=is_stopping),
        Middleware(HostGate, known_names(settings), requests.is_public),
    ]


def protect(
    app: Starlette, saver: HoldfastSaver, settings: ServerSettings, *, is_stopping: IsStopping = never
) -> Metrics:
    """Put the gates before an application with the router in it, whose `user` is `principal_of`.

    Args:
        app: the application, which has not started yet.
        saver: the checkpointer of its agent.
        settings: of the server, such as `holdfast.settings.load()`.
        is_stopping: returns whether the application is about to stop. It is not ready then.

    Returns:
        The metrics of the application.

    Raises:
        InvalidAccess: access control cannot be set up, or there is none and others could call.
    """
    check_address(settings.host, has_access_control=make_authenticator(settings) is not None)
    metrics = Metrics()

    async def find_saver() -> HoldfastSaver:
        return saver

    for gate in reversed(gates_before(settings, ROUTER, find_saver, metrics, is_stopping)):
        app.add_middleware(gate.cls, *gate.args, **gate.kwargs)
    return metrics


def _begins_turn(scope: Scope) -> bool:
    return scope["method"] == "POST" and _TURN.fullmatch(scope["path"]) is not None


def _is_stream(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.rstrip("/").endswith(("/stream", "/wait"))


ROUTER: Final = Requests(_begins_turn, _is_stream)
"""The requests of the router."""
