"""Our own router, mounted in LangGraph's server: one process and one database for both."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.server.access import Role, TokenFile
from tests.support.access_kit import attempts_of
from tests.support.serving import Server, served
from tests.support.web_kit import events_in

pytestmark = pytest.mark.sweep

WORDS = "the-secret-of-ada"
THREAD = str(uuid.UUID(int=7))
OURS = "/holdfast"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mounted")
    users: dict[str, list[Role]] = {"ada": [], "bob": [], "grace": [Role.APPROVER]}
    found = {user: TokenFile(folder / "tokens.jsonl").add(user, roles) for user, roles in users.items()}
    return {**found, "file": str(folder / "tokens.jsonl")}


@pytest.fixture(scope="module")
def server(tokens: dict[str, str]) -> Iterator[Server]:
    with served(Path(tokens["file"]).parent, HOLDFAST_TOKENS=tokens["file"]) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def test_a_turn_of_the_router_is_seen_by_the_servers_own_clients(http: httpx.Client, tokens: dict[str, str]) -> None:
    ada, grace = ({"x-api-key": tokens[user]} for user in ("ada", "grace"))
    text = f"My name is Ada, {WORDS}. Please refund order 1001."
    sent = http.post(f"{OURS}/threads/{THREAD}/messages/wait", json={"text": text}, headers=ada)
    [request] = sent.json()["pending"]
    assert sent.json()["run"]["user_id"] == "ada"
    assert http.get(f"/threads/{THREAD}", headers=ada).json()["status"] == "interrupted"

    _try_every_route_as_others(http, tokens, {"thread_id": THREAD, "run_id": sent.json()["run"]["run_id"]})

    [waiting] = http.get(f"{OURS}/pending", headers=grace).json()
    assert (waiting["interrupt_id"], WORDS in str(waiting)) == (request["interrupt_id"], False)
    address = f"{OURS}/threads/{THREAD}/pending/{request['interrupt_id']}"
    answered = http.post(f"{address}/stream", json={"answer": {"type": "approve"}}, headers=grace)
    assert answered.headers["location"].startswith(f"{OURS}/threads/{THREAD}/runs/")
    assert events_in(answered.text)[-1][0] == "done"
    assert http.post(address, json={"answer": {"type": "approve"}}, headers=ada).status_code == 409
    state = http.get(f"/threads/{THREAD}/state", headers=ada).json()
    assert (state["next"], "is refunded" in state["values"]["messages"][-1]["content"]) == ([], True)


def _try_every_route_as_others(http: httpx.Client, tokens: dict[str, str], ids: dict[str, Any]) -> None:
    """Make every request of the description as another user and as no one: nothing is shown or changed."""
    ada, bob = ({"x-api-key": tokens[user]} for user in ("ada", "bob"))
    spec = http.get(f"{OURS}/openapi.json", headers=bob).json()
    ids |= {"user_id": "ada", "interrupt_id": "none"}
    attempts = [dataclasses.replace(found, path=OURS + found.path) for found in attempts_of(spec, ids)]
    assert len(attempts) > 20
    before = http.get(f"{OURS}/threads/{THREAD}/transcript", headers=ada).text
    for attempt in attempts:
        assert attempt.send(http, {}).status_code == 401, str(attempt)
        told = attempt.send(http, bob)
        assert told.status_code < 500, (str(attempt), told.text)
        assert WORDS not in told.text, str(attempt)
    assert http.get(f"{OURS}/threads/{THREAD}/transcript", headers=ada).text == before


def test_a_server_of_another_graph_says_that_it_has_no_router(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "graph = StateGraph(MessagesState).add_node('say', lambda _: None).add_edge(START, 'say').compile()\n"
    )
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"mine": "./mine.py:graph"}}))
    words = ("-m", "holdfast", "serve", "--config", str(tmp_path / "langgraph.json"))
    with served(tmp_path, words) as server:
        refused = httpx.get(f"{server.url}{OURS}/threads")
    assert (refused.status_code, "serves a langgraph.json" in refused.json()["detail"]) == (501, True)
