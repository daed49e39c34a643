"""Two users, an approver, an auditor and an anonymous caller, at every route of the server: nothing leaks."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from holdfast import open_checkpointer
from holdfast.server.access import Role, TokenFile
from tests.support.access_kit import Attempt, attempts_of
from tests.support.serving import PATIENCE, Server, served

pytestmark = pytest.mark.sweep  # tests/unit/server/access has a sample

WORDS = "the-secret-of-ada"
USERS: dict[str, list[Role]] = {"ada": [], "bob": [], "grace": [Role.APPROVER], "ivy": [Role.AUDITOR]}
PUBLIC = ("/ok", "/healthz", "/readyz")

# Not in the description of the server.
MORE = [
    Attempt("POST", "/internal/truncate", {}),
    Attempt("POST", "/deploy", {}),
    Attempt("GET", "/deploy"),
    Attempt("GET", "/ui/agent/entrypoint.js"),
    Attempt("POST", "/ui/agent", {"name": "agent"}),
    Attempt("POST", "/mcp", {}),
    Attempt("GET", "/profile"),
    Attempt("GET", "/metrics"),
    Attempt("GET", "/requests"),
]


class Place:
    """A server with access control, and what ada has there."""

    def __init__(self, server: Server, folder: Path, tokens: dict[str, str]) -> None:
        self.server, self.folder, self.tokens = server, folder, tokens
        self.open = ExitStack()
        self.http = self.open.enter_context(httpx.Client(base_url=server.url, timeout=20))
        ada = self.client = self.of("ada")
        self.ids = {"thread_id": str(ada.threads.create()["thread_id"]), "user_id": "ada", "graph_id": "agent"}
        thread_id = self.ids["thread_id"]
        text = f"My name is Ada, {WORDS}. Please refund order 1001."
        paused: Any = ada.runs.wait(thread_id, "agent", input={"messages": [{"role": "user", "content": text}]})
        state = ada.threads.get_state(thread_id)
        [run] = ada.runs.list(thread_id)
        [assistant] = ada.assistants.search()
        ada.store.put_item(["ada", "facts"], "tea", {"text": WORDS})
        self.ids |= {
            "run_id": run["run_id"],
            "checkpoint_id": str(state["checkpoint"]["checkpoint_id"]),
            "assistant_id": str(assistant["assistant_id"]),
            "interrupt_id": paused["__interrupt__"][0]["id"],
            "cron_id": str(uuid.uuid4()),
            "namespace": "ada.facts",
            "key": "tea",
        }

    def of(self, user: str) -> SyncLangGraphClient:
        """The SDK's client with the token of a user."""
        return self.open.enter_context(get_sync_client(url=self.server.url, api_key=self.tokens[user]))

    def headers(self, user: str | None) -> dict[str, str]:
        return {} if user is None else {"Authorization": f"Bearer {self.tokens[user]}"}

    def attempts(self) -> list[Attempt]:
        described = self.http.get("/openapi.json", headers=self.headers("ada"))
        assert described.status_code == 200, (described.status_code, described.text, self.server.said[-3000:])
        spec = described.json()
        found = [*attempts_of(spec, self.ids), *MORE]
        assert len(found) > 60
        return found

    def of_ada(self) -> Any:
        """All that ada has."""
        thread_id = self.ids["thread_id"]
        runs = sorted((run["run_id"], run["status"]) for run in self.client.runs.list(thread_id))
        thread: Any = self.client.threads.get(thread_id)
        item = self.client.store.get_item(["ada", "facts"], "tea")
        state: Any = self.client.threads.get_state(thread_id)
        kept = (thread["metadata"], thread["status"], thread["interrupts"], state["values"], state["checkpoint"])
        return kept, runs, item["value"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("access")
    tokens = {user: TokenFile(folder / "tokens.jsonl").add(user, roles) for user, roles in USERS.items()}
    with served(folder, HOLDFAST_TOKENS=str(folder / "tokens.jsonl"), HOLDFAST_LOGS="json") as server:
        place = Place(server, folder, tokens)
        with place.open:
            yield place


@pytest.mark.parametrize("user", [None, "bob", "grace"])
def test_no_route_shows_or_changes_what_is_anothers(place: Place, user: str | None) -> None:
    before = place.of_ada()
    unknown = {"thread_id": str(uuid.uuid4())}
    for attempt in place.attempts():
        response = attempt.send(place.http, place.headers(user))
        assert response.status_code < 500, (str(attempt), response.text)
        if user is None:
            assert response.status_code == 401 or attempt.path in PUBLIC, (str(attempt), response.status_code)
            continue
        goes_on = (
            response.headers.get("content-type", "").startswith("text/event-stream") and response.status_code < 400
        )
        told = "" if goes_on else response.text
        assert WORDS not in told, str(attempt)
        if place.ids["thread_id"] in attempt.path:
            other = attempt.about(unknown, place.ids).send(place.http, place.headers(user))
            refused = {403, 422} if attempt.path.startswith("/requests/") else {404}
            assert response.status_code == other.status_code, (str(attempt), other.status_code)
            assert response.status_code in refused, (str(attempt), response.status_code, told)
            assert told == other.text.replace(unknown["thread_id"], place.ids["thread_id"]), str(attempt)
        elif attempt.path != "/requests":
            assert place.ids["thread_id"] not in told or response.status_code >= 400, str(attempt)
    assert place.of_ada() == before


def test_the_run_of_another_is_not_reached_through_an_own_thread(place: Place) -> None:
    before, headers = place.of_ada(), place.headers("bob")
    thread_id = place.http.post("/threads", json={}, headers=headers).json()["thread_id"]
    tried = 0
    for attempt in place.attempts():
        if place.ids["thread_id"] in attempt.path and not attempt.path.startswith("/requests"):
            own = attempt.about({"thread_id": thread_id}, place.ids)
            if own.method == "DELETE" and own.path == f"/threads/{thread_id}":
                continue  # the others need it
            status, told = own.told(place.http, headers)
            assert status < 500 or "/runs/" in own.path, (str(own), told)
            assert (WORDS in told, place.ids["run_id"] in told and status < 300) == (False, False), (str(own), told)
            tried += 1
    assert tried > 20
    assert place.of_ada() == before


def test_an_auditor_reads_all_threads_and_changes_nothing(place: Place) -> None:
    before, headers = place.of_ada(), place.headers("ivy")
    for attempt in place.attempts():
        response = attempt.send(place.http, headers)
        assert response.status_code < 500, (str(attempt), response.text)
        if attempt.method in ("DELETE", "PATCH", "PUT"):
            assert response.status_code in (403, 404), str(attempt)
    assert place.of_ada() == before
    assert WORDS in place.http.get(f"/threads/{place.ids['thread_id']}/state", headers=headers).text
    assert place.ids["thread_id"] in place.http.post("/threads/search", json={}, headers=headers).text


def test_another_users_thread_is_unknown_and_an_own_one_is_not(place: Place) -> None:
    thread, bob = f"/threads/{place.ids['thread_id']}", place.headers("bob")
    assert place.http.get(f"{thread}/state").status_code == 401
    assert place.http.get(f"{thread}/state", headers={"x-auth-scheme": "langsmith"}).status_code == 401
    assert WORDS in place.http.get(f"{thread}/state", headers=place.headers("ada")).text
    refused = place.http.get(f"{thread}/state", headers=bob)
    assert (refused.status_code, refused.json()["detail"]) == (404, f"Thread with ID {thread[9:]} not found")
    assert thread[9:] not in place.http.post("/threads/search", json={}, headers=bob).text
    anew = place.http.post("/threads", json={"thread_id": thread[9:], "if_exists": "do_nothing"}, headers=bob)
    assert anew.status_code == 409
    assert place.http.post("/internal/truncate", json={}, headers=bob).status_code == 404


def test_a_run_acts_for_its_caller_whatever_the_request_says(place: Place) -> None:
    bob = place.of("bob")
    thread_id = str(bob.threads.create(metadata={"user_id": "ada"})["thread_id"])
    said = {"messages": [{"role": "user", "content": "Hello"}]}
    config: Any = {"configurable": {"user_id": "ada"}, "metadata": {"user_id": "ada"}}
    bob.runs.wait(thread_id, "agent", input=said, config=config, metadata={"user_id": "ada"})
    bob.threads.update(thread_id, metadata={"user_id": "ada"})
    with open_checkpointer(f"sqlite:///{place.folder}/holdfast.db") as saver:
        assert saver.threads.owner(thread_id) == "bob"
        assert saver.get_tuple({"configurable": {"thread_id": thread_id}}).metadata["user_id"] == "bob"  # type: ignore[union-attr]
    elsewhere = {"assistant_id": "agent", "input": said, "config": {"configurable": place.ids}}
    refused = place.http.post(f"/threads/{thread_id}/runs", json=elsewhere, headers=place.headers("bob"))
    assert refused.status_code == 422


def test_a_shared_thread_is_listed_read_and_written_until_it_is_not_shared(place: Place) -> None:
    thread_id = place.ids["thread_id"]
    bob = place.of("bob")
    with open_checkpointer(f"sqlite:///{place.folder}/holdfast.db") as saver:
        saver.threads.share(thread_id, "bob", user_id="ada")
        assert thread_id in [thread["thread_id"] for thread in bob.threads.search()]
        assert WORDS in str(bob.threads.get_state(thread_id))
        assert place.http.delete(f"/threads/{thread_id}", headers=place.headers("bob")).status_code == 403
        saver.threads.unshare(thread_id, "bob", user_id="ada")
    assert thread_id not in [thread["thread_id"] for thread in bob.threads.search()]
    assert place.http.get(f"/threads/{thread_id}", headers=place.headers("bob")).status_code == 404


def test_an_approver_sees_and_answers_requests_and_reads_no_conversation(place: Place) -> None:
    headers = place.headers("grace")
    assert place.http.get("/requests", headers=place.headers("bob")).status_code == 403
    told = place.http.get("/requests", headers=headers)
    [request] = [found for found in told.json() if found["thread_id"] == place.ids["thread_id"]]
    assert (request["actions"][0]["name"], WORDS in told.text) == ("refund_order", False)
    path = f"/requests/{request['thread_id']}/{request['interrupt_id']}"
    assert place.http.post(path, json={"type": "maybe"}, headers=headers).status_code == 422
    answered = place.http.post(path, json={"type": "reject"}, headers=headers)
    assert (answered.status_code, answered.json()["by"]) == (202, "grace")
    late = place.http.post(path, json={"type": "approve"}, headers=headers)
    assert (late.status_code, "grace" in late.json()["detail"]) == (409, True)
    assert _closed(place), "the answer was not carried out"


def test_what_is_logged_of_all_that_holds_no_text_and_no_token(place: Place) -> None:
    wrong, own = {"messages": [{"role": WORDS, "content": "Hello"}]}, str(place.client.threads.create()["thread_id"])
    failed: Any = place.client.runs.wait(own, "agent", input=wrong, raise_error=False)
    assert WORDS in str(failed["__error__"])  # the client is told
    thread = place.http.get(f"/threads/{place.ids['thread_id']}", headers=place.headers("ada"))
    told, logged = _logged(place, thread.headers["x-request-id"])
    assert (told["route"], told["thread"], told["status"]) == ("/threads/{thread_id}", place.ids["thread_id"], 200)
    assert any(line["logger"] == "holdfast.turns" and line["thread"] == place.ids["thread_id"] for line in logged)
    for secret in (WORDS, *place.tokens.values()):
        assert secret not in place.server.said


def _logged(place: Place, request_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Wait for the line of the log about a request, and return it, and all lines."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        logged = [json.loads(line) for line in place.server.said.splitlines(keepends=True) if _is_whole(line)]
        if told := [line for line in logged if line.get("request") == request_id]:
            return told[0], logged
        time.sleep(0.05)  # the line is written when the client has the answer
    raise AssertionError(place.server.said)


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("\n")


def _closed(place: Place) -> bool:
    """Wait for the thread to have no request any more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if place.client.threads.get(place.ids["thread_id"])["status"] == "idle":
            return True
        time.sleep(0.05)  # nothing tells when the server's queue has carried it out
    return False
