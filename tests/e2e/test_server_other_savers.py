"""The server over the databases of other checkpointers, each with a real server, before and after a kill."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph_sdk.errors import BadRequestError, NotFoundError

from tests.support import other_savers
from tests.support.serving import Server, last_words, served

pytestmark = pytest.mark.sweep

ADA = {"configurable": {"user_id": "ada"}}


@pytest.fixture(scope="module", params=other_savers.KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    if why := other_savers.missing(request.param):
        pytest.skip(why)
    with other_savers.served(request.param) as url:
        yield url


def waiting(server: Server, thread_id: str) -> list[str]:
    tasks = server.client.threads.get_state(thread_id)["tasks"]
    return [str(found["id"]) for task in tasks for found in task["interrupts"]]


def test_a_pause_outlives_a_killed_server_and_is_answered_once(database: str, tmp_path: Path) -> None:
    thread_id, environment = str(uuid.uuid4()), {"HOLDFAST_DATABASE": database, "HOLDFAST_MODEL": "offline"}
    with served(tmp_path, anew=True, **environment) as server:
        [missing] = [line for line in server.said.splitlines() if "not there" in line]
        assert "a ledger of tool calls, long-term memory" in missing
        assert "warning" not in server.said
        server.client.threads.create(thread_id=thread_id)
        server.say(thread_id, "My name is Ada. Please refund order 1001.", config=ADA)
        [interrupt_id] = waiting(server, thread_id)
        with pytest.raises(BadRequestError, match="has no long-term memory"):
            server.client.store.put_item(["ada"], "name", {"is": "Ada"})
        server.kill()
    with served(tmp_path, anew=True, **environment) as server:
        assert server.client.threads.search() == []
        found = server.client.threads.get(thread_id)
        assert (found["status"], found["metadata"]["user_id"]) == ("interrupted", "ada")
        assert waiting(server, thread_id) == [interrupt_id]
        assert "1001 is refunded" in last_words(server.answer(thread_id, interrupt_id, {"type": "approve"}))
        second = server.answer(thread_id, interrupt_id, {"type": "approve"})
        assert "No call waits under this id" in second["__error__"]["message"]
        assert last_words(server.say(thread_id, "What is my name?")).endswith("Your name is Ada.")
        server.client.threads.delete(thread_id)
        with pytest.raises(NotFoundError):
            server.client.threads.get(thread_id)
        assert server.stop() == 0
