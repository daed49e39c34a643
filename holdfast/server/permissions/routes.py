"""What each route of LangGraph's server needs. A route that is not listed is closed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Need(Enum):
    """What a request needs to be allowed."""

    NOTHING = auto()
    """A caller whose token is valid, and nothing else."""
    ROUTER = auto()
    """The same: our own router, which is mounted in the server, asks the database about each request."""
    METRICS = auto()
    """The role for it."""
    READ = auto()
    """A thread of the caller, or one that is shared with them; any thread for an auditor."""
    WRITE = auto()
    """A thread of the caller, or one that is shared with them."""
    RUN = auto()
    """The same; the thread may be one that the request begins."""
    OWN = auto()
    """A thread of the caller."""
    BEGIN = auto()
    """A thread that does not exist yet, if the body names one."""
    NAMED = auto()
    """Threads of the caller, which the body names."""
    LIST = auto()
    """A list, which has the threads that the caller may read."""
    STATELESS = auto()
    """A caller who may change something."""
    REQUESTS = auto()
    """The requests of all threads: the role of an approver."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a request needs, and the thread and the run that its path names."""

    need: Need
    thread_id: str | None = None
    run_id: str | None = None


# The form in which the server writes the id of a thread. It reads others, under which the same thread would be another
# one in the database.
_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PARAMETERS: Final = {
    "{thread_id}": f"(?P<thread_id>{_ID})",
    "{run_id}": f"(?P<run_id>{_ID})",
    "{id}": "[^/]+",
    "{rest}": ".+",
}

_ROUTES: Final = {
    Need.NOTHING: (
        "GET /",
        "GET /ok",
        "GET /healthz",
        "GET /readyz",
        "GET /info",
        "GET /docs",
        "GET /openapi.json",
        "GET /assistants/{id}",
        "GET /assistants/{id}/graph",
        "GET /assistants/{id}/schemas",
        "GET /assistants/{id}/subgraphs",
        "GET /assistants/{id}/subgraphs/{rest}",
        "POST /assistants/search",
        "POST /assistants/count",
        "POST /assistants/{id}/versions",
    ),
    Need.ROUTER: tuple(f"{method} /holdfast/{{rest}}" for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    Need.METRICS: ("GET /metrics",),
    Need.READ: (
        "GET /threads/{thread_id}",
        "GET /threads/{thread_id}/state",
        "GET /threads/{thread_id}/state/{id}",
        "POST /threads/{thread_id}/state/checkpoint",
        "GET /threads/{thread_id}/history",
        "POST /threads/{thread_id}/history",
        "GET /threads/{thread_id}/stream",
        "GET /threads/{thread_id}/runs",
        "GET /threads/{thread_id}/runs/{run_id}",
        "GET /threads/{thread_id}/runs/{run_id}/join",
        "GET /threads/{thread_id}/runs/{run_id}/stream",
    ),
    Need.WRITE: (
        "PATCH /threads/{thread_id}",
        "POST /threads/{thread_id}/state",
        "POST /threads/{thread_id}/copy",
        "POST /threads/{thread_id}/runs/{run_id}/cancel",
        "POST /threads/{thread_id}/commands",
        "POST /threads/{thread_id}/stream/events",
    ),
    Need.RUN: (
        "POST /threads/{thread_id}/runs",
        "POST /threads/{thread_id}/runs/stream",
        "POST /threads/{thread_id}/runs/wait",
    ),
    Need.OWN: ("DELETE /threads/{thread_id}", "DELETE /threads/{thread_id}/runs/{run_id}"),
    Need.BEGIN: ("POST /threads",),
    Need.NAMED: ("POST /threads/prune", "POST /runs/cancel"),
    Need.LIST: ("POST /threads/search", "POST /threads/count"),
    Need.STATELESS: (
        "POST /runs",
        "POST /runs/stream",
        "POST /runs/wait",
        "POST /runs/batch",
        "PUT /store/items",
        "GET /store/items",
        "DELETE /store/items",
        "POST /store/items/search",
        "POST /store/namespaces",
    ),
    Need.REQUESTS: ("GET /requests", "POST /requests/{id}/{id}"),
}


def _pattern(route: str) -> re.Pattern[str]:
    for parameter, pattern in _PARAMETERS.items():
        route = route.replace(parameter, pattern)
    return re.compile(route)


_PATTERNS: Final = [(_pattern(route), need) for need, routes in _ROUTES.items() for route in routes]


_TURNS: Final = re.compile(r"(?:/threads/[^/]+)?/runs(?:/stream|/wait|/batch)?/?|/threads/[^/]+/commands/?")


def begins_turn(method: str, path: str) -> bool:
    """Return whether a request to the server begins a turn."""
    return method == "POST" and _TURNS.fullmatch(path) is not None


def is_stream(path: str) -> bool:
    """Return whether a request to the server waits for a run, or streams."""
    return any(path.endswith(end) for end in ("/stream", "/wait", "/join", "/events"))


def find_route(method: str, path: str, query: str = "") -> Route | None:
    """Return what a request needs; `None` if its route is closed.

    Args:
        method: the HTTP method, or `WEBSOCKET`.
        path: the path, decoded.
        query: the part of the address after the question mark.
    """
    line = f"{'GET' if method == 'HEAD' else method} {path}"
    for pattern, need in _PATTERNS:
        if found := pattern.fullmatch(line):
            # Whoever goes away may cancel the run that they have only read.
            needed = Need.WRITE if need is Need.READ and "cancel_on_disconnect" in query else need
            named = found.groupdict()
            return Route(needed, named.get("thread_id"), named.get("run_id"))
    return None
