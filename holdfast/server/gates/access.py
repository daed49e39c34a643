"""ASGI middleware that lets in the callers whose token is valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.access.addresses import is_loopback
from holdfast.server.access.authenticator import Authenticator
from holdfast.server.access.principal import Principal
from holdfast.server.gates.problems import refuse

IsPublic: TypeAlias = Callable[[Scope], bool]
"""Returns whether anyone may make a request."""

_UP: Final = frozenset({"/ok", "/healthz", "/readyz"})

_KEY: Final = "holdfast.principal"


def is_up(scope: Scope) -> bool:
    """Return whether a request only asks if the server is up."""
    return scope["path"] in _UP


class AccessGate:
    """Refuses requests without a valid token, and notes the caller of the others.

    Without an authenticator, access control is off; then requests from other machines are refused.

    Args:
        app: the application behind it.
        authenticator: finds the caller of a request.
        is_public: whether anyone may make a request; by default, ask whether the server is up.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator | None, is_public: IsPublic = is_up) -> None:
        self._app = app
        self._authenticator = authenticator
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_public(scope):
            await self._app(scope, receive, send)
            return
        if self._authenticator is None:
            if not _is_local(scope):
                await refuse(scope, receive, send, 403, "No access control is set up, so only this machine may call.")
                return
        elif (principal := await self._authenticator.principal(scope["headers"])) is None:
            # A browser asks without a token whether it may send a request with one.
            if not is_preflight(scope):
                await refuse(scope, receive, send, 401, "A valid token is needed: Authorization: Bearer TOKEN.")
                return
        else:
            scope[_KEY] = principal
        await self._app(scope, receive, send)


def principal_of(connection: HTTPConnection) -> Principal | None:
    """Return the caller of a request that a gate let in; `None` if access control is off."""
    found: Principal | None = connection.scope.get(_KEY)
    return found


def user_of(connection: HTTPConnection) -> str | None:
    """Return the user of a request that a gate let in; `None` if access control is off."""
    principal = principal_of(connection)
    return None if principal is None else principal.user_id


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks by this request if another one is allowed. It does nothing."""
    return scope.get("method") == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _is_local(scope: Scope) -> bool:
    """Return whether the request came to an address that only this machine reaches."""
    host, _ = scope.get("server") or (None, None)
    return host is None or host.startswith("/") or is_loopback(host)  # a path is that of a Unix socket
