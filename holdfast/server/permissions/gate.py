"""ASGI middleware that checks what a request to LangGraph's server needs, before the server sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.access import Principal, Role
from holdfast.server.gates.access import is_preflight, principal_of
from holdfast.server.gates.bodies import Unreadable, read_body
from holdfast.server.gates.problems import refuse
from holdfast.server.langgraph import registry
from holdfast.server.permissions.bodies import named_threads, other_thread
from holdfast.server.permissions.grants import Grant, current_grant
from holdfast.server.permissions.routes import Need, Route, find_route
from holdfast.server.permissions.standing import Standing, find_standing


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """A request that is not allowed."""

    status: int
    detail: str


_UNASKED = ("/internal", "/deploy", "/ui", "/metrics", "/profile", "/requests", "/holdfast")
_AUDITS = Refusal(403, "An auditor reads all threads and changes nothing.")
_CLOSED = Refusal(404, "Not Found")


class PermissionGate:
    """Refuses requests that their caller may not make. A thread of others is as unknown as one that is not there.

    Args:
        app: LangGraph's server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = principal_of(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if principal is None or is_preflight(scope):
            await self._app(scope, receive, send)
            return
        try:
            grant, receive = await _granted(scope, receive, principal)
        except Refusal as refusal:
            await refuse(scope, receive, send, refusal.status, refusal.detail)
            return
        except Unreadable as error:
            await refuse(scope, receive, send, 415, str(error))
            return
        token = current_grant.set(grant)
        try:
            await self._app(scope, receive, send)
        finally:
            current_grant.reset(token)


class BypassGate:
    """Closes what LangGraph's server answers without asking the access control that a `langgraph.json` names.

    Args:
        app: LangGraph's server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and _path(scope).startswith(_UNASKED):
            await refuse(scope, receive, send, _CLOSED.status, _CLOSED.detail)
        else:
            await self._app(scope, receive, send)


async def _granted(scope: Scope, receive: Receive, principal: Principal) -> tuple[Grant, Receive]:
    """Return what a request is granted, and the channel from which its body is read.

    Raises:
        Refusal: it is not allowed.
        Unreadable: its body is not the JSON that it has to be.
    """
    method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
    route = find_route(method, _path(scope), scope["query_string"].decode("latin-1"))
    if route is None:
        raise _CLOSED
    if method in ("GET", "HEAD", "WEBSOCKET") or route.need is Need.ROUTER:
        return await _grant(route, principal, {}), receive
    body, receive = await read_body(scope, receive)
    return await _grant(route, principal, _checked(route, body.value())), receive


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _checked(route: Route, value: Any) -> Any:
    if other_thread(value, route.thread_id):
        raise Refusal(422, "The config or the checkpoint names another thread than the path. Leave it out.")
    return value


async def _grant(route: Route, principal: Principal, value: Any) -> Grant:
    match route.need:
        case Need.NOTHING | Need.ROUTER | Need.LIST:
            return Grant(principal)
        case Need.METRICS | Need.REQUESTS as need:
            return _grant_by_role(need, principal)
        case Need.STATELESS | Need.BEGIN | Need.NAMED if principal.is_auditor:
            raise _AUDITS
        case Need.STATELESS:
            return Grant(principal, owner=principal.user_id)
        case Need.BEGIN:
            return await _grant_new(principal, value)
        case Need.NAMED:
            return await _grant_named(principal, list(named_threads(value)))
        case _:
            return await _grant_thread(route, principal, value)


def _grant_by_role(need: Need, principal: Principal) -> Grant:
    role = Role.METRICS if need is Need.METRICS else Role.APPROVER
    if role not in principal.roles:
        raise Refusal(403, f"The role {role} is needed.")
    return Grant(principal)


async def _grant_new(principal: Principal, value: Any) -> Grant:
    thread_id = value.get("thread_id") if isinstance(value, dict) else None
    if thread_id is not None:
        standing = await find_standing(str(thread_id), principal.user_id)
        if standing.exists and standing.owner != principal.user_id:
            raise Refusal(409, f"Thread with ID {thread_id} already exists")
    return Grant(principal, frozenset() if thread_id is None else frozenset({str(thread_id)}), principal.user_id)


async def _grant_named(principal: Principal, thread_ids: list[str]) -> Grant:
    if not thread_ids:
        raise Refusal(422, "No thread is named. Name the threads that are yours.")
    for thread_id in thread_ids:
        if (await find_standing(thread_id, principal.user_id)).owner != principal.user_id:
            raise _unknown(thread_id)
    return Grant(principal, frozenset(thread_ids), principal.user_id)


async def _grant_thread(route: Route, principal: Principal, value: Any) -> Grant:
    thread_id, user_id = str(route.thread_id), principal.user_id
    standing = await find_standing(thread_id, user_id)
    if not _sees(standing, principal):
        begins = not standing.exists and isinstance(value, dict) and value.get("if_not_exists") == "create"
        if not (begins and route.need is Need.RUN):
            raise _unknown(thread_id)
    if route.run_id is not None and not await registry.has_run(thread_id, route.run_id):
        raise Refusal(404, f"Run with ID {route.run_id} not found")
    if principal.is_auditor and route.need is not Need.READ:
        raise _AUDITS
    if route.need is Need.OWN and standing.owner != user_id:
        raise Refusal(403, "The thread is shared with you, and only its own user may do this. Nothing was changed.")
    return Grant(principal, frozenset({thread_id}), standing.owner if standing.exists else user_id)


def _sees(standing: Standing, principal: Principal) -> bool:
    return standing.may_use(principal.user_id) or (standing.exists and principal.is_auditor)


def _unknown(thread_id: str) -> Refusal:
    return Refusal(404, f"Thread with ID {thread_id} not found")
