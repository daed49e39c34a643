"""Requests that no client should send: each is refused with words, and none is an error of the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import build_graph
from holdfast.server import create_app
from tests.support.graph_kit import ScriptedModel, says
from tests.support.web_kit import calling, served

JSON = {"content-type": "application/json"}

ODD: dict[str, tuple[str, str, Any]] = {
    "a list of nothing": ("GET", "/threads?limit=0", None),
    "a long list": ("GET", "/threads?limit=1001", None),
    "requests of nothing": ("GET", "/pending?limit=-1", None),
    "a number of many digits": ("GET", "/threads/t/runs?limit=9223372036854775808", None),
    "a search for nothing": ("GET", "/search?q=Hi&limit=0", None),
    "no time": ("GET", "/threads?since=yesterday", None),
    "a time out of range": ("GET", "/threads?until=99999999999999", None),
    "no last messages": ("GET", "/threads/t/transcript?last=0", None),
    "an empty title": ("PATCH", "/threads/t", {"title": " "}),
    "a long title": ("PATCH", "/threads/t", {"title": "x" * 201}),
    "two places of a fork": ("POST", "/threads/t/fork", {"checkpoint_id": "x", "message_id": "y"}),
    "a member without a name": ("POST", "/threads", {"members": [""]}),
    "a thread without an id": ("POST", "/threads", {"thread_id": ""}),
    "half of a surrogate pair": ("POST", "/threads", {"thread_id": "\ud800"}),
    "a NUL": ("POST", "/threads", {"thread_id": "a\0b"}),
}


@pytest.mark.sweep(on="postgres")
async def test_a_request_that_cannot_be_carried_out_is_refused_with_words(saver: HoldfastSaver) -> None:
    async with served(build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)) as client:
        await client.post("/threads/t/messages/wait", json={"text": "Hello"})
        told = {
            name: await client.request(method, path, content=json.dumps(body), headers=JSON)
            for name, (method, path, body) in ODD.items()
        }
        deep = await client.post("/threads/t/messages", content="[" * 100_000, headers=JSON)
        assert {name: each.status_code for name, each in told.items()} == dict.fromkeys(ODD, 422)
        assert (deep.status_code, "nested" in deep.json()["detail"]) == (400, True)
        assert {each.headers["content-type"] for each in [*told.values(), deep]} == {"application/problem+json"}
        assert len((await client.get("/threads/t/messages")).json()) == 2


@pytest.mark.sweep(on="postgres")
async def test_a_text_that_is_no_unicode_is_shown_again(saver: HoldfastSaver) -> None:
    async with served(build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)) as client:
        await client.post("/threads/t/messages/wait", content=r'{"text": "\ud800"}', headers=JSON)
        assert [each["text"] for each in (await client.get("/threads/t/messages")).json()] == ["\ud800", "Hi"]


async def test_what_no_route_takes_is_a_problem_too() -> None:
    app = create_app(build_graph(model=ScriptedModel(lines=[]), checkpointer=open_checkpointer("memory://")))
    async with calling(app) as client:
        nowhere, elsewhere = await client.get("/nowhere"), await client.put("/threads")
        shared = await client.post("/threads", json={"members": ["grace"]})
    assert [each.json()["title"] for each in (nowhere, elsewhere)] == ["Not found", "Method not allowed"]
    assert elsewhere.headers["allow"] == "GET"
    assert "no user who could share" in shared.json()["detail"]
