"""LangGraph's server after `kill -9`, and beside a second replica: runs are ended once, and statuses are true."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.graph.shop import Shop
from tests.support.serving import Server, last_words, served
from tests.support.stub_openai import KEY, Stub, call, calls, hangs, says, stub_openai

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(300)]

HELLO: Any = {"messages": [{"role": "user", "content": "Hello"}]}
REFUND = calls(call("refund_order", '{"order_id": 1001}'))
APPROVE = {"type": "approve"}
TOLD = 60.0
"""Seconds within which a run is ended, or told to have failed, after its server was killed."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the server makes tables for its store as well."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@contextmanager
def replica(folder: Path, url: str, endpoint: Stub) -> Iterator[Server]:
    """A server on a database, with the model behind an endpoint."""
    model = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": endpoint.url, "HOLDFAST_MODEL": "openai:stub"}
    with served(folder, HOLDFAST_DATABASE=url, HOLDFAST_MODEL_RETRIES="0", **model) as server:
        yield server


def begun(server: Server, **run: Any) -> tuple[str, str]:
    """A new thread, and a run of it that was accepted and is not waited for."""
    thread_id = str(server.client.threads.create(metadata={"owner": "ada"})["thread_id"])
    return thread_id, str(server.client.runs.create(thread_id, "agent", **run)["run_id"])


def end_of(server: Server, thread_id: str, run_id: str) -> str:
    """Wait for the end of a run, and return its status."""
    until = time.monotonic() + TOLD
    while (status := str(server.client.runs.get(thread_id, run_id)["status"])) in ("pending", "running"):
        assert time.monotonic() < until, server.said
        time.sleep(0.1)  # nothing tells across servers
    return status


def wait_for_requests(endpoint: Stub, left: int = 0) -> None:
    """Wait until a model was asked for all of its script but the last replies."""
    until = time.monotonic() + TOLD
    while len(endpoint.script) > left:
        assert time.monotonic() < until, endpoint.script
        time.sleep(0.05)  # it tells of its first request only


def said(server: Server, thread_id: str) -> list[str]:
    values: Any = server.client.threads.get_state(thread_id)["values"]
    return [f"{message['type']}: {message['content']}" for message in values["messages"]]


def test_a_run_that_had_not_begun_is_carried_out_once_after_a_kill(url: str, tmp_path: Path) -> None:
    with stub_openai(says("Hi.")) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id, run_id = begun(server, input=HELLO, after_seconds=3, metadata={"team": "red"})
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            assert server.client.threads.get(thread_id)["metadata"]["owner"] == "ada"
            assert end_of(server, thread_id, run_id) == "success", server.said
            assert said(server, thread_id) == ["human: Hello", "ai: Hi."]
            assert server.client.threads.get(thread_id)["status"] == "idle"


def test_a_run_that_was_killed_in_its_model_goes_on_under_its_id(url: str, tmp_path: Path) -> None:
    with stub_openai(hangs(), says("Hi.")) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id, run_id = begun(server, input=HELLO)
            endpoint.wait_for_request()
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            assert last_words(server.client.runs.join(thread_id, run_id)) == "Hi."
            assert [run["run_id"] for run in server.client.runs.list(thread_id)] == [run_id]
            assert end_of(server, thread_id, run_id) == "success", server.said
            assert said(server, thread_id) == ["human: Hello", "ai: Hi."]


def test_runs_that_waited_for_one_another_all_end_after_a_kill(url: str, tmp_path: Path) -> None:
    with stub_openai(hangs(), says("One."), says("Two."), says("Three.")) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id, run_id = begun(server, input=HELLO)
            run_ids = [
                run_id,
                *(str(server.client.runs.create(thread_id, "agent", input=HELLO)["run_id"]) for _ in "ab"),
            ]
            endpoint.wait_for_request()
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            assert [end_of(server, thread_id, run_id) for run_id in run_ids] == ["success"] * 3
            assert said(server, thread_id)[1::2] == ["ai: One.", "ai: Two.", "ai: Three."]
            assert server.client.threads.get(thread_id)["status"] == "idle"


def test_runs_of_one_thread_that_two_servers_accepted_all_end(url: str, tmp_path: Path) -> None:
    with (
        stub_openai(says("One."), says("Two."), says("Three.")) as endpoint,
        replica(tmp_path, url, endpoint) as first,
        replica(tmp_path, url, endpoint) as other,
    ):
        thread_id, run_id = begun(first, input=HELLO)
        run_ids = [
            run_id,
            *(str(server.client.runs.create(thread_id, "agent", input=HELLO)["run_id"]) for server in (other, first)),
        ]
        for server in (first, other):
            assert [end_of(server, thread_id, run_id) for run_id in run_ids] == ["success"] * 3
        assert len(said(other, thread_id)) == 6


def test_a_thread_whose_run_has_not_ended_is_busy_after_a_kill(url: str, tmp_path: Path) -> None:
    with stub_openai(hangs(), hangs()) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id, run_id = begun(server, input=HELLO)
            endpoint.wait_for_request()
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            [entry] = server.client.threads.search()
            assert (entry["thread_id"], entry["status"]) == (thread_id, "busy")
            assert server.client.runs.get(thread_id, run_id)["status"] in ("pending", "running")
            wait_for_requests(endpoint)
            assert server.client.threads.get(thread_id)["status"] == "busy"
            endpoint.let_go.set()
            assert end_of(server, thread_id, run_id) == "error"
            assert server.client.threads.get(thread_id)["status"] == "error"
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            assert server.client.threads.get(thread_id)["status"] == "error"


def test_after_the_end_nothing_is_done_again_and_every_status_is_true(url: str, tmp_path: Path) -> None:
    with stub_openai(says("Hi."), REFUND) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            idle, paused = (str(server.client.threads.create()["thread_id"]) for _ in range(2))
            never = str(server.client.threads.create(metadata={"owner": "ada"})["thread_id"])
            server.client.threads.update(never, metadata={"team": "red"})
            server.say(idle, "Hello")
            server.say(paused, "Please refund order 1001.")
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            found = {entry["thread_id"]: entry for entry in server.client.threads.search(limit=100)}
            assert [found[known]["status"] for known in (idle, paused, never)] == ["idle", "interrupted", "idle"]
            assert {"owner": "ada", "team": "red"}.items() <= found[never]["metadata"].items()
            assert [run["status"] for known in (idle, paused) for run in server.client.runs.list(known)] == [
                "success",
                "success",
            ]
            assert said(server, idle) == ["human: Hello", "ai: Hi."]
            server.client.threads.delete(never)
            server.kill()
        with open_checkpointer(url) as saver:
            assert saver.threads.begun(never) is None


def test_an_answer_that_was_accepted_is_carried_out_once_after_a_kill(url: str, tmp_path: Path) -> None:
    with stub_openai(REFUND, hangs(), says("Done.")) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id = str(server.client.threads.create()["thread_id"])
            server.say(thread_id, "Please refund order 1001.")
            run_id = str(server.client.runs.create(thread_id, "agent", command={"resume": APPROVE})["run_id"])
            wait_for_requests(endpoint, left=1)
            server.kill()
        with replica(tmp_path, url, endpoint) as server:
            assert end_of(server, thread_id, run_id) == "success", server.said
            assert said(server, thread_id)[-1] == "ai: Done."
            assert server.refusal(thread_id, command={"resume": APPROVE})[0] == 409
    assert Shop(tmp_path / "shop.db").count("refunds") == 1


def test_a_clean_stop_gives_its_runs_back_at_once(url: str, tmp_path: Path) -> None:
    with stub_openai(hangs(), says("Hi.")) as endpoint:
        with replica(tmp_path, url, endpoint) as server:
            thread_id, run_id = begun(server, input=HELLO)
            endpoint.wait_for_request()
            server.stop()
        with open_checkpointer(url) as saver:
            assert (saver.runs.get(run_id).state, saver.runs.get(run_id).attempts) == ("accepted", 0)
        with replica(tmp_path, url, endpoint) as server:
            assert end_of(server, thread_id, run_id) == "success", server.said
            assert said(server, thread_id) == ["human: Hello", "ai: Hi."]


def test_thirty_answers_at_once_are_one_and_the_status_stays_right(url: str, tmp_path: Path) -> None:
    with stub_openai(REFUND, says("Done.")) as endpoint, replica(tmp_path, url, endpoint) as server:
        thread_id = str(server.client.threads.create()["thread_id"])
        [pause] = server.say(thread_id, "Please refund order 1001.")["__interrupt__"]

        def answer(number: int) -> tuple[int, str]:
            resume = {pause["id"]: {"type": "approve" if number % 2 else "reject"}}
            return server.refusal(thread_id, command={"resume": resume})

        with ThreadPoolExecutor(30) as pool:
            told = list(pool.map(answer, range(30)))
        assert sorted(status for status, _ in told) == [200, *[409] * 29]
        assert all("has answered this already" in words for status, words in told if status == 409)
        runs = server.client.runs.list(thread_id, limit=100)
        assert len(runs) == 2
        for run in runs:
            assert end_of(server, thread_id, run["run_id"]) == "success"
        assert server.client.threads.get(thread_id)["status"] == "idle"


def test_another_replica_tells_ends_and_stops_what_the_first_one_accepted(postgres_url: str, tmp_path: Path) -> None:
    with (
        stub_openai(hangs(), says("Hi."), REFUND, says("Done."), hangs()) as endpoint,
        replica(tmp_path, postgres_url, endpoint) as other,
    ):
        with replica(tmp_path, postgres_url, endpoint) as first:
            thread_id, run_id = begun(first, input=HELLO)
            endpoint.wait_for_request()
            assert other.client.threads.get(thread_id)["status"] == "busy"
            assert other.client.runs.get(thread_id, run_id)["status"] == "running"
            first.kill()
        assert last_words(other.client.runs.join(thread_id, run_id)) == "Hi."
        with replica(tmp_path, postgres_url, endpoint) as second:
            [pause] = second.say(thread_id, "Please refund order 1001.")["__interrupt__"]
            both = [
                server.refusal(thread_id, command={"resume": {pause["id"]: APPROVE}})[0] for server in (other, second)
            ]
            assert sorted(both) == [200, 409]
            for run in second.client.runs.list(thread_id):
                assert end_of(second, thread_id, run["run_id"]) == "success"
            assert said(second, thread_id)[-1] == "ai: Done."
            run_id = str(second.client.runs.create(thread_id, "agent", input=HELLO)["run_id"])
            wait_for_requests(endpoint)
            assert other.client.runs.get(thread_id, run_id)["status"] == "running"
            other.client.runs.cancel(thread_id, run_id)
            assert end_of(second, thread_id, run_id) == "interrupted"
            unknown = other.client.threads.create(thread_id=str(uuid.uuid4()), metadata={"owner": "ada"})
            assert second.client.threads.get(unknown["thread_id"])["metadata"]["owner"] == "ada"
        endpoint.let_go.set()


def test_a_run_that_another_replica_rolls_back_leaves_no_trace_on_either(postgres_url: str, tmp_path: Path) -> None:
    with (
        stub_openai(says("Hi."), hangs(), hangs(), says("Again.")) as endpoint,
        replica(tmp_path, postgres_url, endpoint) as first,
        replica(tmp_path, postgres_url, endpoint) as other,
    ):
        thread_id, kept = begun(first, input=HELLO)
        assert end_of(first, thread_id, kept) == "success"
        gone = str(first.client.runs.create(thread_id, "agent", input=HELLO)["run_id"])
        wait_for_requests(endpoint, left=2)
        other.client.runs.cancel(thread_id, gone, action="rollback", wait=True)
        first.client.runs.create(thread_id, "agent", input=HELLO)
        wait_for_requests(endpoint, left=1)
        last = str(other.client.runs.create(thread_id, "agent", input=HELLO, multitask_strategy="rollback")["run_id"])
        assert end_of(other, thread_id, last) == "success"
        endpoint.let_go.set()
        for server in (first, other):
            assert [run["run_id"] for run in server.client.runs.list(thread_id)] == [last, kept]
            assert said(server, thread_id) == ["human: Hello", "ai: Hi.", "human: Hello", "ai: Again."]
            assert server.client.threads.get(thread_id)["status"] == "idle"
