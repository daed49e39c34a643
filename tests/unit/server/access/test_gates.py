"""The gates before a server, by ASGI. tests/e2e/test_server_access.py tries every route of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.server.access import Authenticator, Role, TokenFile
from holdfast.server.gates import AccessGate
from holdfast.server.langgraph import registry
from holdfast.server.permissions.gate import BypassGate, PermissionGate
from holdfast.server.permissions.grants import current_grant
from holdfast.server.permissions.routes import Need, find_route
from tests.support.kit import echo_graph

ADAS = "01a22938-3a5e-75a4-872a-f6936b0163b9"
UNKNOWN = "01a22938-3a5e-75a4-872a-f6936b0163b8"
USERS: dict[str, list[Role]] = {"ada": [], "bob": [], "grace": [Role.APPROVER], "ivy": [Role.AUDITOR]}


@pytest.fixture
def saver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldfastSaver]:
    """The checkpointer of the server, with a thread of ada's."""
    with open_checkpointer("memory://") as saver:
        echo_graph(saver).invoke({"messages": ["Hello"]}, {"configurable": {"thread_id": ADAS, "user_id": "ada"}})

        async def server_saver() -> HoldfastSaver:
            return saver

        monkeypatch.setattr(registry, "server_saver", server_saver)
        monkeypatch.setattr(registry, "metadata_of", lambda thread_id: None)
        yield saver


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    return {user: TokenFile(tmp_path / "tokens.jsonl").add(user, roles) for user, roles in USERS.items()}


async def behind(request: Request) -> JSONResponse:
    """What stands behind the gates: it tells what was granted, and the body."""
    grant = current_grant.get()
    assert grant is not None
    return JSONResponse([grant.user_id, grant.owner, sorted(grant.threads), (await request.body()).decode()])


def client(gate: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://127.0.0.1")


def gated(tokens: Path) -> httpx.AsyncClient:
    methods = ["GET", "POST", "DELETE", "PATCH"]
    app = Starlette(routes=[Route("/{path:path}", behind, methods=methods)])
    return client(AccessGate(PermissionGate(app), Authenticator(TokenFile(tokens))))


async def test_a_thread_of_another_is_as_unknown_as_one_that_is_not_there(
    saver: HoldfastSaver, tokens: dict[str, str], tmp_path: Path
) -> None:
    async with gated(tmp_path / "tokens.jsonl") as http:

        async def ask(user: str, method: str, path: str, **more: Any) -> tuple[int, str]:
            found = await http.request(method, path, headers={"x-api-key": tokens[user]}, **more)
            return found.status_code, found.text

        for user in ("bob", "grace"):
            for method, path in (("GET", "/state"), ("POST", "/runs/wait"), ("PATCH", ""), ("DELETE", "")):
                denied = await ask(user, method, f"/threads/{ADAS}{path}")
                unknown = await ask(user, method, f"/threads/{UNKNOWN}{path}")
                assert denied[0] == unknown[0] == 404
                assert denied[1] == unknown[1].replace(UNKNOWN, ADAS)
            taken = await ask(user, "POST", f"/threads/{ADAS}/runs", json={"if_not_exists": "create"})
            assert taken[0] == 404
            assert (await ask(user, "POST", "/threads", json={"thread_id": ADAS}))[0] == 409
            assert (await ask(user, "POST", "/threads/prune", json={"thread_ids": [ADAS]}))[0] == 404
            assert (await ask(user, "POST", "/runs/cancel", json={"status": "all"}))[0] == 422
        assert await ask("ada", "GET", f"/threads/{ADAS}/state") == (200, f'["ada","ada",["{ADAS}"],""]')
        begun = await ask("bob", "POST", f"/threads/{UNKNOWN}/runs", json={"if_not_exists": "create"})
        assert begun[0] == 200
        assert (await ask("ivy", "GET", f"/threads/{ADAS}/history"))[0] == 200
        for path in (f"/threads/{ADAS}/runs", "/threads", "/runs", "/store/items/search"):
            assert (await ask("ivy", "POST", path, json={}))[0] == 403
        saver.threads.share(ADAS, "bob", user_id="ada")
        assert await ask("bob", "GET", f"/threads/{ADAS}") == (200, f'["bob","ada",["{ADAS}"],""]')
        assert (await ask("bob", "DELETE", f"/threads/{ADAS}"))[0] == 403


async def test_a_body_is_json_that_says_so_and_names_no_other_thread(
    saver: HoldfastSaver, tokens: dict[str, str], tmp_path: Path
) -> None:
    async with gated(tmp_path / "tokens.jsonl") as http:
        http.headers["authorization"] = f"Bearer {tokens['ada']}"
        path = f"/threads/{ADAS}/runs"
        as_text = await http.post(path, content=b"{}", headers={"content-type": "text/plain"})
        broken = await http.post(path, content=b"{", headers={"content-type": "application/json"})
        assert (as_text.status_code, broken.status_code) == (415, 415)
        for place in ({"checkpoint": {"thread_id": UNKNOWN}}, {"config": {"configurable": {"thread_id": UNKNOWN}}}):
            assert (await http.post(path, json=place)).status_code == 422
        assert (await http.post(path, json={"checkpoint": {"thread_id": ADAS}})).json()[3] != ""


async def test_without_access_control_only_this_machine_is_answered(saver: HoldfastSaver) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse("in")(scope, receive, send)

    async with client(AccessGate(app, None)) as http:
        assert (await http.get("/threads")).status_code == 200
        assert (await http.get("http://192.0.2.1/threads")).status_code == 403
        assert (await http.get("http://192.0.2.1/ok")).status_code == 200
    async with client(BypassGate(app)) as http:
        assert (await http.get("/threads")).status_code == 200
        assert (await http.post("/internal/truncate")).status_code == 404


@pytest.mark.parametrize(
    "line",
    [
        "POST /internal/truncate",
        "POST /deploy",
        "GET /ui/agent/x.js",
        "POST /mcp",
        "POST /a2a/agent",
        "POST /runs/crons",
        "POST /assistants",
        f"GET /threads/{ADAS.upper()}",
        f"GET /threads/{{{ADAS}}}",
        f"GET //threads/{ADAS}",
        f"GET /threads/{ADAS}/",
        f"GET /threads/{ADAS}/new",
        f"GET /threads/{ADAS}\n",
    ],
)
def test_a_route_that_is_not_listed_is_closed(line: str) -> None:
    assert find_route(*line.split(" ", 1)) is None


def test_a_read_that_may_cancel_a_run_is_a_change() -> None:
    found = find_route("GET", f"/threads/{ADAS}/runs/{UNKNOWN}/join", "cancel_on_disconnect=1")
    assert (found and found.need, found and found.thread_id) == (Need.WRITE, ADAS)
