"""Errors as problems (RFC 9457), with the words that the library's errors have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from holdfast.checkpoints import errors
from holdfast.graph import AnsweredBefore, BadAnswer, NothingWaits
from holdfast.server.gates.problems import kind_of, problem_fields
from holdfast.server.web.caller import NotAuthenticated
from holdfast.server.web.responses import AnyTextResponse

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

# Seconds after which a client may try again.
_RETRY_AFTER: Final = 5

_AWAY: Final = (
    "The database cannot be used at the moment. A message or an answer may have been accepted before: send it again "
    "under the same Idempotency-Key."
)

_NO_JSON: Final = (
    "The body cannot be read: it is nested too deeply, or has a number of too many digits. Nothing was changed."
)

# The first that fits counts: a class is before those that it derives from.
_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (NotAuthenticated, 401),
    (errors.NotPermitted, 403),
    (errors.UnknownThread, 404),
    (errors.UnknownRun, 404),
    (errors.UnknownMessage, 404),
    (errors.UnknownCheckpoint, 404),
    (errors.UnknownInterrupt, 404),
    (errors.InvalidAnswer, 422),
    (errors.NotAnswered, 409),
    (NothingWaits, 409),
    (AnsweredBefore, 409),
    (errors.ThreadNotEmpty, 409),
    (errors.NothingToUndo, 409),
    (errors.ThreadChanged, 409),
    (errors.ThreadConflict, 409),
    (BadAnswer, 422),
    (errors.ThreadBusy, 503),
    (errors.DatabaseUnavailable, 503),
    (errors.NotOpen, 503),
    (errors.SearchUnavailable, 501),
    (errors.DamagedThread, 500),
)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


_EXAMPLE: Final = {
    "type": "urn:holdfast:error:NothingWaits",
    "title": "Nothing waits",
    "status": 409,
    "detail": "grace has answered this already with 'approve', at 2026-11-29 12:00 UTC. Your answer was not taken. "
    "Nothing waits now.",
    "instance": "/threads/ada-1/pending/3f0c",
}

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema(), "example": _EXAMPLE}},
    }
    for status, description in {
        "4XX": "The request was refused.",
        "422": "The request does not have the form that is needed.",
        "5XX": "A turn failed, or the database is away. With 503 there is `Retry-After`.",
    }.items()
}
"""The errors of every route, for the description of the API."""


class ProblemRoute(APIRoute):
    """A route whose errors are problems, in whatever application it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return problem(request, 422, "InvalidRequest", _invalid(error), errors=_places(error))
            except HTTPException as error:
                if error.status_code != 400:  # of the application's own `user`
                    raise
                return problem(request, 400, "InvalidRequest", _NO_JSON)
            except Exception as error:
                status = status_of(error)
                if status is None:
                    raise
                return problem_of(request, error, status)

        return handler


async def no_route(request: Request, error: Any) -> Response:
    """Return a problem for a request that no route takes. It handles the `HTTPException`s of an application."""
    kind = kind_of(error.status_code)
    detail = f"There is no route {request.method} {request.url.path}. `/docs` lists the routes."
    response = problem(request, error.status_code, kind, detail)
    response.headers.update(error.headers or {})
    return response


def status_of(error: Exception) -> int | None:
    """Return the status of an error; `None` if it is not one of the library."""
    found = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if found is None and isinstance(error, errors.HoldfastError):
        return 422 if isinstance(error, ValueError | TypeError) else 500
    return found


def problem_of(request: Request, error: Exception, status: int) -> Response:
    """Return an error of the library as a problem."""
    response = problem(request, status, type(error).__name__, words_of(error))
    if status == 503:
        response.headers["Retry-After"] = str(_RETRY_AFTER)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def words_of(error: Exception) -> str:
    """Return the words of an error for clients. Where the database is goes into the log alone."""
    if not isinstance(error, errors.DatabaseUnavailable):
        return str(error)
    _log.warning("%s", error)
    return _AWAY


def problem(request: Request, status: int, kind: str, detail: str, **more: Any) -> Response:
    """Return a problem.

    Args:
        request: the request.
        status: the HTTP status.
        kind: the name of the error.
        detail: what was found, needed, and what to do.
        more: other members.
    """
    return AnyTextResponse(
        {"status": status, **problem_fields(kind, detail), "instance": request.url.path, **more},
        status,
        media_type=MEDIA_TYPE,
    )


def _invalid(error: RequestValidationError) -> str:
    found = "; ".join(f"{place['loc']}: {place['msg']}" for place in _places(error))
    return f"The request does not have the form that is needed: {found}. Nothing was changed."


def _places(error: RequestValidationError) -> list[dict[str, str]]:
    """Return what does not fit and where, without what was given."""
    return [{"loc": ".".join(map(str, each["loc"])), "msg": str(each["msg"])} for each in error.errors()]
