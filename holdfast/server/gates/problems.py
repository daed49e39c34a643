"""Refusals of requests, as RFC 9457 has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

# Close code of a WebSocket: the request breaks a rule of the server.
_POLICY = 1008


def problem_fields(kind: str, detail: str) -> dict[str, str]:
    """Return the members of a problem that say what it is about.

    Args:
        kind: the name of the error.
        detail: what was found, needed, and what to do.
    """
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).capitalize()
    return {"type": f"urn:holdfast:error:{kind}", "title": title, "detail": detail}


def kind_of(status: int) -> str:
    """Return the name of an error that is no more than its status."""
    return HTTPStatus(status).phrase.title().replace(" ", "")


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, instance: str | None = None
) -> JSONResponse:
    """Return a response that says why a request was refused.

    Args:
        status: the HTTP status.
        detail: a sentence for the caller, without secrets.
        headers: more headers.
        instance: the path of the request.
    """
    where = {} if instance is None else {"instance": instance}
    body = {"status": status, **problem_fields(kind_of(status), detail), **where}
    more = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(body, status, {**more, **(headers or {})}, "application/problem+json")


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request, or the opening of a WebSocket, with a refusal."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY, "reason": detail[:120]})
    else:
        await problem(status, detail, headers, scope["path"])(scope, receive, send)
