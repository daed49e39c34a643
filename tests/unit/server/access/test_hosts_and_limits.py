"""Names, origins and limits: what is refused before a server sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from holdfast.server.access import InvalidAccess
from holdfast.server.gates import HostGate, KnownNames, LimitGate, Limits
from holdfast.server.gates.limits import TurnBudget


async def app(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await JSONResponse(len(body))(scope, receive, send)


def client(gate: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://127.0.0.1:2024")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:2024"}, 200),
        ({"host": "[::1]:2024"}, 200),
        ({"host": "evil.example:2024"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://127.0.0.1:2024"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://chat.example"}, 200),
        ({"origin": "https://chat.example.evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
    ids=str,
)
async def test_a_server_is_called_by_its_name_and_from_pages_that_may(headers: dict[str, str], status: int) -> None:
    known = KnownNames.of("127.0.0.1", origins=["https://chat.example"])
    async with client(HostGate(app, known)) as http:
        assert (await http.get("/threads", headers=headers)).status_code == status
        assert (await http.get("/readyz", headers=headers)).status_code == 200


async def test_a_server_elsewhere_has_the_names_that_it_is_given() -> None:
    with pytest.raises(InvalidAccess, match="means all addresses"):
        KnownNames.of("0.0.0.0")  # noqa: S104 - it is refused
    async with client(HostGate(app, KnownNames.of("0.0.0.0", ["Chat.example"]))) as http:  # noqa: S104 - the test
        assert (await http.get("/", headers={"host": "chat.EXAMPLE"})).status_code == 200
        assert (await http.get("/", headers={"host": "localhost"})).status_code == 403
        page = {"host": "chat.example", "origin": "http://localhost:3000"}
        assert (await http.get("/", headers=page)).status_code == 403


def limited(**limits: Any) -> httpx.AsyncClient:
    def is_run(scope: Any) -> bool:
        return bool(scope["path"] == "/runs")

    return client(LimitGate(app, Limits(**limits), is_run, is_run))


async def test_a_body_and_a_text_have_a_limit_whether_the_length_is_said_or_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"[" + b" " * 60
        yield b"]" + b" " * 60

    async with limited(body=100, message=10) as http:
        assert (await http.post("/", content=b"x" * 101)).status_code == 413
        assert (await http.post("/", content=chunks())).status_code == 413
        assert (await http.post("/", content=b"x" * 100)).json() == 100
        for message in ({"content": "x" * 11}, {"content": [{"type": "text", "text": "x" * 11}]}):
            assert (await http.post("/", json={"input": {"messages": [message]}})).status_code == 413
        assert (await http.post("/", json={"messages": [{"content": "x" * 10}], "data": "x" * 20})).status_code == 200


async def test_a_user_has_so_many_turns_in_a_minute_and_is_told_when_to_come_again() -> None:
    async with limited(turns=2) as http:
        assert [(await http.post("/runs")).status_code for _ in range(3)] == [200, 200, 429]
        assert 0 < int((await http.post("/runs")).headers["retry-after"]) <= 30
        assert (await http.post("/other")).status_code == 200


def test_turns_come_back_one_by_one() -> None:
    now = 0.0
    budget = TurnBudget(2, lambda: now)
    assert [budget.take("ada") for _ in range(3)] == [0, 0, 30]
    assert budget.take("bob") == 0
    now = 29.5
    assert budget.take("ada") == 1
    now = 30.5
    assert [budget.take("ada"), budget.take("ada")] == [0, 30]


async def test_a_user_has_so_many_streams_at_once() -> None:
    asked: list[int] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        if not asked:
            asked.append(1)
            asked.append((await http.post("/runs")).status_code)
        await JSONResponse("done")(scope, receive, send)

    def is_run(scope: Any) -> bool:
        return bool(scope["path"] == "/runs")

    async with client(LimitGate(streaming, Limits(streams=1), is_run, is_run)) as http:
        assert (await http.post("/runs")).status_code == 200
        assert asked == [1, 429]
        assert (await http.post("/runs")).status_code == 200
