"""The router behind the gates: two users, an approver, an auditor and an anonymous caller, at every route of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from holdfast import HoldfastSaver, build_graph, open_checkpointer
from holdfast.server import router
from holdfast.server.access import InvalidAccess, Role, TokenFile
from holdfast.server.gates import principal_of
from holdfast.server.protection import protect
from holdfast.settings import load
from tests.support.access_kit import Attempt, attempts_of

pytestmark = pytest.mark.sweep  # tests/unit/server/access has a sample of the gates

WORDS = "the-secret-of-ada"
USERS: dict[str, list[Role]] = {"ada": [], "bob": [], "grace": [Role.APPROVER], "ivy": [Role.AUDITOR]}


class Place:
    """An application with the router behind the gates, and what ada has there."""

    def __init__(self, http: TestClient, saver: HoldfastSaver, tokens: dict[str, str]) -> None:
        self.http, self.saver, self.tokens = http, saver, tokens
        text = f"My name is Ada, {WORDS}. Please refund order 1001."
        sent = self.send("ada", "POST", "/threads/ada-1/messages/wait", json={"text": text}).json()
        self.ids = {
            "thread_id": "ada-1",
            "user_id": "ada",
            "run_id": sent["run"]["run_id"],
            "interrupt_id": sent["pending"][0]["interrupt_id"],
        }

    def headers(self, user: str | None) -> dict[str, str]:
        return {} if user is None else {"Authorization": f"Bearer {self.tokens[user]}"}

    def send(self, user: str | None, method: str, path: str, **more: Any) -> Any:
        return self.http.request(method, path, headers=self.headers(user), **more)

    def attempts(self) -> list[Attempt]:
        found = [*attempts_of(self.send("ada", "GET", "/openapi.json").json(), self.ids)]
        assert len(found) >= 12
        return found

    def of_ada(self) -> Any:
        """All that ada has."""
        return (
            list(self.saver.transcript("ada-1")),
            self.saver.threads.get("ada-1"),
            self.saver.threads.members("ada-1"),
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("access")
    file = folder / "tokens.jsonl"
    tokens = {user: TokenFile(file).add(user, roles) for user, roles in USERS.items()}
    saver = open_checkpointer(f"sqlite:///{folder}/chat.db")
    app = FastAPI()
    app.include_router(router(build_graph(checkpointer=saver), user=principal_of))
    protect(app, saver, load(tokens=file))
    with saver, TestClient(app, base_url="http://127.0.0.1:2024") as http, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the example shop keeps its orders there
        yield Place(http, saver, tokens)


@pytest.mark.parametrize("user", [None, "bob", "grace", "ivy"])
def test_no_route_shows_or_changes_what_is_anothers(place: Place, user: str | None) -> None:
    before = place.of_ada()
    for attempt in place.attempts():
        if user == "grace" and "/pending" in attempt.path:
            continue  # an approver sees requests, and answers them
        response = attempt.send(place.http, place.headers(user))
        assert response.status_code < 500, (str(attempt), response.text)
        if user is None:
            assert response.status_code == 401, str(attempt)
        elif user != "ivy":
            assert WORDS not in response.text, str(attempt)
            if attempt.method == "GET" and response.status_code < 400:  # as of a thread that is not there
                other = attempt.about({"thread_id": "no-1"}, place.ids).send(place.http, place.headers(user))
                assert response.text == other.text, (str(attempt), response.text)
            elif "ada-1" in str(attempt):
                assert response.status_code >= 400, (str(attempt), response.text)
    assert place.of_ada() == before


def test_the_gates_stand_before_the_router(place: Place) -> None:
    assert place.send(None, "GET", "/readyz").json() == {"status": "ready"}
    assert place.send(None, "GET", "/pending").status_code == 401
    assert place.send("bob", "GET", "/pending").json() == []
    assert place.send("bob", "GET", "/metrics").status_code == 403
    [request] = place.send("grace", "GET", "/pending").json()
    assert (request["thread_id"], WORDS in str(request)) == ("ada-1", False)
    host = {**place.headers("ada"), "host": "evil.example"}
    assert place.http.get("/pending", headers=host).status_code == 403
    assert place.send("ada", "POST", "/threads/ada-1/messages", json={"text": "x" * 100_001}).status_code == 413


def test_an_application_that_others_reach_needs_tokens(tmp_path: Path) -> None:
    with open_checkpointer("memory://") as saver, pytest.raises(InvalidAccess, match="no access control is set up"):
        protect(FastAPI(), saver, load(host="192.0.2.7"))
