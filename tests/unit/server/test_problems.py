"""What clients are told of an error."""

from __future__ import annotations

import json

import pytest
from fastapi import Request

from holdfast.checkpoints.errors import DatabaseUnavailable, Unreachable
from holdfast.server.web.problems import problem_of

REQUEST = Request(
    {"type": "http", "method": "GET", "path": "/threads", "headers": [], "query_string": b"", "server": None}
)


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("Cannot open postgresql://ada@db1:5432/chat."),
        Unreachable("The connection to postgresql://ada@db1:5432/chat failed.", maybe_saved=False),
    ],
    ids=["not opened", "lost"],
)
def test_where_the_database_is_goes_into_the_log_and_not_to_clients(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = problem_of(REQUEST, error, 503)
    body = json.loads(bytes(response.body))
    assert (body["type"], response.headers["retry-after"]) == (f"urn:holdfast:error:{type(error).__name__}", "5")
    assert ("Idempotency-Key" in body["detail"], "db1" in str(body), "db1" in caplog.text) == (True, False, True)
