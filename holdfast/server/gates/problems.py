"""Refusals of requests, as RFC 9457 has them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

# Close code of a WebSocket: the request breaks a rule of the server.
_POLICY = 1008


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a response that says why a request was refused.

    Args:
        status: the HTTP status.
        detail: a sentence for the caller, without secrets.
        headers: more headers.
    """
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    more = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(body, status, {**more, **(headers or {})}, "application/problem+json")


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request, or the opening of a WebSocket, with a refusal."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY, "reason": detail[:120]})
    else:
        await problem(status, detail, headers)(scope, receive, send)
