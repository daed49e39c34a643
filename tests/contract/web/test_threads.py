"""Threads over HTTP: lists, transcripts, and what is done with a thread as a whole."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph
from holdfast.server.access.principal import Principal, Role
from tests.support.graph_kit import ScriptedModel, says
from tests.support.web_kit import by_header, served

ROLES = {"rita": Principal("rita", frozenset({Role.AUDITOR})), "paul": Principal("paul", frozenset({Role.APPROVER}))}


def agent_of(saver: HoldfastSaver, *said: str) -> Any:
    return build_graph(model=ScriptedModel(lines=[*map(says, said)]), checkpointer=saver)


@pytest.mark.sweep(on="postgres")
async def test_a_thread_is_listed_read_and_changed_over_http(saver: HoldfastSaver) -> None:
    async with served(agent_of(saver, "Hi", "You are Ada.")) as client:
        created = await client.post("/threads", json={"members": ["grace"]})
        thread = f"/threads/{created.json()['thread_id']}"
        assert created.status_code == 201
        for text in ("I am Ada", "Who am I?"):
            assert (await client.post(f"{thread}/messages/wait", json={"text": text})).status_code == 200
        assert (await client.patch(thread, json={"title": "Names"})).json()["title"] == "Names"
        assert [each["title"] for each in (await client.get("/threads")).json()["threads"]] == ["Names"]
        assert (await client.get("/threads", headers={"user": "grace"})).json()["threads"][0]["messages"] == 4
        assert [each["text"] for each in (await client.get(f"{thread}/messages")).json()][1::2] == [
            "Hi",
            "You are Ada.",
        ]
        forked = (await client.post(f"{thread}/fork", json={"thread_id": "forked"})).json()
        assert (forked["thread_id"], (await client.post(f"{thread}/copy", json={})).status_code) == ("forked", 201)
        assert (await client.post(f"{thread}/undo")).json()["status"] == "idle"
        assert [each["text"] for each in (await client.get(f"{thread}/messages")).json()] == ["I am Ada", "Hi"]
        assert (await client.get("/search", params={"q": "who"})).json()[0]["role"] == "human"
        lines = (await client.get(f"{thread}/transcript", params={"last": 2})).text.splitlines()
        assert [json.loads(line)["event"] for line in lines if "event" in json.loads(line)] == ["undo"]
        assert "</html>" in (await client.get(f"{thread}/transcript", params={"format": "html"})).text
        assert (await client.delete(f"{thread}/members/grace")).json() == []
        assert (await client.put(f"{thread}/members/bob")).json() == ["bob"]
        assert (await client.delete(thread, headers={"user": "bob"})).status_code == 403
        assert (await client.post(f"{thread}/restart")).json()["thread_id"] == thread.rpartition("/")[2]
        assert (await client.delete(thread)).status_code == 204
        for path in ("", "/pending"):
            assert (await client.get(thread + path)).json()["type"] == "urn:holdfast:error:UnknownThread"
        assert (await client.get("/agent")).json()["name"] == agent_of(saver).get_name()


@pytest.mark.sweep
async def test_no_route_shows_or_changes_a_thread_of_another_user(saver: HoldfastSaver) -> None:
    async with served(
        agent_of(saver, "Hi", "Hi"), user=lambda request: ROLES.get(by_header(request) or "", by_header(request))
    ) as client:
        run = (await client.post("/threads/t/messages/wait", json={"text": "Hello"})).json()["run"]["run_id"]
        waiting = await client.post("/threads/new/messages", json={"text": "Hello"})
        routes = await _routes(client)
        assert len(routes) > 25
        for user, allowed in {"bob": set(), "paul": set(), "rita": {"GET"}}.items():
            for method, path in routes:
                if "{thread_id}" not in path:
                    continue
                address = path.format(thread_id="t", run_id=run, interrupt_id="i", member="bob", key="k")
                response = await client.request(
                    method, address, headers={"user": user}, json=_body(path) if method in {"POST", "PATCH"} else None
                )
                came = (user, method, path, response.status_code, response.text)
                if method in allowed:
                    assert response.status_code == 200, came
                else:
                    assert response.status_code in {403, 404, 409} or response.text == "[]", came
        run_of_new = waiting.headers["location"]
        assert (await client.get(run_of_new, headers={"user": "bob"})).status_code == 404
        assert (await client.get("/threads/t/messages")).json()[0]["text"] == "Hello"


async def _routes(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    paths = (await client.get("/openapi.json")).json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def _body(path: str) -> dict[str, Any]:
    if "/pending/" in path:
        return {"answer": {"type": "approve"}}
    if "/messages" in path:
        return {"text": "Hello"}
    return {"title": "Mine"} if path.endswith("{thread_id}") else {}
