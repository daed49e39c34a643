"""The server as its clients see it: what was said and what waits outlive it, and bad input costs nothing."""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError

from holdfast import factory, settings
from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation
from holdfast.graph.shop import Shop
from tests.support.cluster import wait_for
from tests.support.kit import change
from tests.support.serving import HOUSE, PATIENCE, Server, last_words, served
from tests.support.stub_openai import KEY, breaks_off, call, calls, hangs, refuses, says, stub_openai
from tests.support.sweep import Sweep

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.timeout(180),
]  # the sample of the fast suite is tests/fundamentals/test_server.py

T = TypeVar("T")
U = TypeVar("U")

REFUND = "My name is Ada. Please refund order 1001."


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    """One server for the tests that do not stop it, on `sqlite:///holdfast.db` in `place`."""
    with served(place, HOLDFAST_MAX_MESSAGE="5000000") as server:
        yield server


def new_thread(server: Server, **metadata: str) -> str:
    thread_id: str = server.client.threads.create(metadata=metadata)["thread_id"]
    return thread_id


def waiting(server: Server, thread_id: str) -> list[dict[str, Any]]:
    """The interrupts of a thread, as its state has them."""
    return [found for task in server.client.threads.get_state(thread_id)["tasks"] for found in task["interrupts"]]


def said(server: Server, thread_id: str) -> list[str]:
    """Return the role and the text of each message."""
    values: Any = server.client.threads.get_state(thread_id)["values"]
    return [f"{message['type']}: {message['content']}" for message in values["messages"]]


def at_once(function: Callable[[T], U], *arguments: T) -> list[U]:
    """Return the results of `function` for each item, in parallel: the server looks for new runs only now and then."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(function, arguments))


# --- stopping and starting


@pytest.mark.sweep
def test_threads_pauses_and_owners_outlive_the_server(postgres_url: str, tmp_path: Path) -> None:
    # It connects to no outside service. A key alone does not turn tracing on.
    log, watch, scratch = tmp_path / "log", Path(__file__).parent / "watch", tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        "HOLDFAST_DATABASE": postgres_url,
        "PYTHONPATH": f"{watch}:{HOUSE}",
        "WATCH_LOG": str(log),
        "LANGSMITH_API_KEY": "not-a-key",
        "TMPDIR": str(scratch),
    }
    with served(tmp_path, anew=True, **environment) as server:
        assert "serves agent on http://127.0.0.1" in server.said
        thread_id = new_thread(server, owner="ada")
        state = server.say(thread_id, REFUND, config={"configurable": {"user_id": "ada"}})
        [pause] = state["__interrupt__"]
        before = server.client.threads.get(thread_id)
        [private] = scratch.glob("holdfast-serve-*")
        assert private.stat().st_mode & 0o077 == 0
        assert server.stop() == 0
    assert list(scratch.iterdir()) == []

    with served(tmp_path, anew=True, **environment) as server:
        [after] = server.client.threads.search(status="interrupted")
        assert after["thread_id"] == thread_id
        assert before["metadata"].items() <= after["metadata"].items()
        assert after["metadata"]["owner"] == "ada"
        assert after["interrupts"] == before["interrupts"]
        assert after["values"] == before["values"]
        assert after["created_at"] < after["updated_at"]

        approved = server.answer(thread_id, pause["id"], {"type": "approve", "by": "Grace"})
        assert last_words(approved) == "Order 1001 is refunded: 49.00 EUR go back to Ada."
        assert last_words(server.say(thread_id, "What is my name?")) == "Your name is Ada."
        assert server.client.threads.get(thread_id)["status"] == "idle"
        assert server.stop() == 0

    assert Shop(tmp_path / "shop.db").count("refunds") == 1
    # Nothing is left but what was asked for.
    assert {path.name.partition(".db")[0] for path in tmp_path.iterdir()} <= {"holdfast", "shop", "log", "scratch"}
    called = log.read_text().splitlines()
    assert called  # the port was looked up
    assert [
        whom
        for whom in called
        if not any(here in whom for here in ("127.0.0.1", "localhost", str(postgres_url).partition("host=")[2] or "?"))
    ] == []


@pytest.mark.sweep
def test_langgraph_dev_serves_the_same_and_does_not_begin_old_runs_again(sqlite_url: str, tmp_path: Path) -> None:
    for name in ("holdfast", "graph", "checkpoints"):
        shutil.copytree(HOUSE / name, tmp_path / name, symlinks=True)
    shutil.copy(HOUSE / "langgraph.json", tmp_path)
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    environment = {"HOLDFAST_DATABASE": sqlite_url, "LANGGRAPH_NO_VERSION_CHECK": "true", "PYTHONPATH": ""}
    with served(tmp_path, command, anew=True, **environment) as server:
        thread_id = new_thread(server)
        server.say(thread_id, "Hello")
        server.stop()
    [pickled] = tmp_path.glob(".langgraph_api/.langgraph_ops.pckl")
    # As a kill leaves it: the run that has ended is still on the list of those to do.
    content = pickled.read_bytes()
    assert b"success" in content
    pickled.write_bytes(content.replace(b"\x8c\x07success", b"\x8c\x07pending"))

    with served(tmp_path, command, anew=True, **environment) as server:
        before = said(server, thread_id)
        last_words(server.say(new_thread(server), "Hello"))  # the workers are at work
        assert said(server, thread_id) == before
        assert len([line for line in before if line == "human: Hello"]) == 1


@pytest.mark.sweep
def test_a_server_carries_out_decisions_that_were_made_before_it_started(sqlite_url: str, tmp_path: Path) -> None:
    decided, expired = str(uuid.uuid4()), str(uuid.uuid4())
    with open_checkpointer(sqlite_url) as saver:
        agent = factory.make_agent(settings.load(shop=tmp_path / "shop.db", model="offline"), saver)
        for thread_id in (decided, expired):
            Conversation(agent, thread_id).send("Please refund order 1001.")
        [asked] = saver.interrupts.waiting(thread_id=decided)
        saver.interrupts.answer(decided, asked.interrupt_id, {"type": "approve"}, by="Grace")
        change(saver, "UPDATE holdfast_interrupts SET expires_at = asked_at WHERE thread_id = :t", t=expired)
    with served(tmp_path, HOLDFAST_DATABASE=sqlite_url) as server, open_checkpointer(sqlite_url) as saver:
        until = time.monotonic() + PATIENCE
        while saver.interrupts.todo():
            assert time.monotonic() < until, server.said
            time.sleep(0.05)  # it gives no signal when it has done so
        assert [line for line in said(server, decided) if "Order 1001 is refunded" in line]
        while not [line for line in said(server, expired) if "no decision was made" in line]:
            assert time.monotonic() < until, server.said
            time.sleep(0.05)  # it gives no signal when it has done so
        assert saver.interrupts.waiting() == []
    assert Shop(tmp_path / "shop.db").count("refunds") == 1


# --- beside other ways in


def test_a_thread_begun_elsewhere_is_known_and_cannot_be_taken_over(server: Server, place: Path) -> None:
    thread_id = str(uuid.uuid4())
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as saver:
        agent = factory.make_agent(settings.load(shop=place / "shop.db", model="offline"), saver)
        Conversation(agent, thread_id, user_id="ada").send("My name is Ada.")

        with pytest.raises(ConflictError):
            server.client.threads.create(thread_id=thread_id, metadata={"owner": "mallory"})
        assert said(server, thread_id)[0] == "human: My name is Ada."
        assert server.client.threads.get(thread_id)["metadata"]["user_id"] == "ada"
        assert last_words(server.say(thread_id, "What is my name?")) == "Your name is Ada."
        assert Conversation(agent, thread_id).send("What is my name?").text == "Your name is Ada."


@pytest.mark.sweep
def test_a_run_waits_for_who_has_the_thread_and_the_other_threads_go_on(server: Server, place: Path) -> None:
    held, free = new_thread(server), new_thread(server)
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as saver, ThreadPoolExecutor(1) as elsewhere:
        with saver.lease(held):
            waits = elsewhere.submit(server.say, held, "My name is Ada.")
            for _ in range(3):
                last_words(server.say(free, "Hello"))
            assert not waits.done()
        assert last_words(waits.result(10)).endswith("Hello, Ada. What can I do for you?")


@pytest.mark.sweep
def test_a_run_that_waits_for_who_has_the_thread_can_be_stopped(server: Server, place: Path) -> None:
    held = new_thread(server)
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as saver, saver.lease(held):
        stream = server.client.runs.stream(held, "agent", input={"messages": [{"role": "user", "content": "Hello"}]})
        run_id = next(stream).data["run_id"]
        server.client.runs.cancel(held, run_id, wait=True)
        assert server.client.runs.get(held, run_id)["status"] == "interrupted"
    assert server.client.threads.get(held)["status"] == "idle"


@pytest.mark.sweep
def test_a_request_for_a_thread_sees_what_another_process_did_to_it(server: Server, place: Path) -> None:
    thread_id, gone = new_thread(server, owner="ada"), new_thread(server)
    for known in (thread_id, gone):
        last_words(server.say(known, "My name is Ada."))
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as saver:
        agent = factory.make_agent(settings.load(shop=place / "shop.db", model="offline"), saver)
        [call] = Conversation(agent, thread_id).send("Please refund order 1005.").pending
        saver.delete_thread(gone)

    entry = server.client.threads.get(thread_id)
    assert (entry["status"], entry["metadata"]["owner"]) == ("interrupted", "ada")
    assert [found["id"] for found in next(iter(entry["interrupts"].values()))] == [call.interrupt_id]
    assert len(entry["values"]["messages"]) > 3  # type: ignore[call-overload]
    with pytest.raises(NotFoundError):
        server.client.threads.get(gone)
    last_words(server.answer(thread_id, call.interrupt_id, {"type": "reject"}))


@pytest.mark.sweep
def test_a_thread_is_busy_for_as_long_as_another_process_has_it(server: Server, place: Path) -> None:
    thread_id = new_thread(server)
    last_words(server.say(thread_id, "My name is Ada."))
    threads = server.client.threads
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as saver:
        with saver.lease(thread_id):
            wait_for(lambda: threads.get(thread_id)["status"] == "busy", "the server sees the lease")
        assert threads.get(thread_id)["status"] == "idle"
        listed = {"metadata": {"listed": "yes"}, "status": "busy"}
        threads.update(thread_id, metadata={"listed": "yes"})
        with saver.lease(thread_id):
            assert [found["thread_id"] for found in threads.search(**listed)] == [thread_id]
        assert threads.search(**listed) == []


@pytest.mark.sweep
def test_threads_that_are_deleted_at_once_are_those_that_were_meant(server: Server) -> None:
    threads = [new_thread(server, batch="deleted at once") for _ in range(6)]
    at_once(lambda thread_id: server.say(thread_id, "Hello"), *threads)
    at_once(server.client.threads.delete, *threads[1:5])
    left = server.client.threads.search(metadata={"batch": "deleted at once"})
    assert {entry["thread_id"] for entry in left} == {threads[0], threads[5]}


@pytest.mark.sweep
def test_an_answer_that_does_not_say_which_of_several_calls_it_is_for_is_told_so(server: Server) -> None:
    thread_id = new_thread(server)
    paused = server.say(thread_id, "Please refund order 1001. Please refund order 1002.")
    if len(paused["__interrupt__"]) < 2:
        pytest.fail(f"the offline model asked for {len(paused['__interrupt__'])} call")
    status, words = server.refusal(thread_id, command={"resume": {"type": "approve"}})
    assert (status, words[:50]) == (422, 'Several calls wait. Name the one you answer: {"res')
    assert server.client.threads.get(thread_id)["status"] == "interrupted"
    assert server.client.runs.list(thread_id, status="error") == []


# --- bad input


@pytest.mark.sweep
def test_a_run_that_would_begin_at_no_date_is_refused(server: Server) -> None:
    thread_id = new_thread(server)
    for after_seconds in (10**12, -(10**12)):
        status, words = server.refusal(thread_id, input={}, after_seconds=after_seconds)
        assert (status, "Needed: the seconds until it begins" in words) == (422, True)
    assert server.client.runs.list(thread_id) == []
    assert server.client.threads.get(thread_id)["status"] == "idle"


@pytest.mark.sweep
@pytest.mark.parametrize("thread_id", ["ada-1", "a" * 10_000, "..%2F..%2Fetc", "%00", "'; DROP TABLE checkpoints; --"])
def test_a_thread_id_that_is_none_is_refused(server: Server, thread_id: str) -> None:
    answer = httpx.get(f"{server.url}/threads/{thread_id}/state")
    assert answer.status_code in (404, 422), answer.text
    created = httpx.post(f"{server.url}/threads", json={"thread_id": thread_id})
    assert created.status_code == 422, created.text


def test_an_unknown_thread_is_not_found(server: Server) -> None:
    with pytest.raises(NotFoundError):
        server.client.threads.get_state(str(uuid.uuid4()))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"thread_id": 1}', b'{"thread_id": null}', b"\xff\xfe"])
def test_a_request_for_a_thread_that_cannot_be_read_is_left_to_the_server(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/threads", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 422), answer.text


@pytest.mark.sweep
def test_any_text_is_kept(server: Server, sweep: Sweep) -> None:
    def talk(text: str) -> list[str]:
        thread_id = new_thread(server)
        last_words(server.say(thread_id, text))
        first = said(server, thread_id)[0]  # what is longer than the context leaves the state in the next turn
        last_words(server.say(thread_id, "Hello"))
        return [first, said(server, thread_id)[-2]]

    texts = [
        "right \u202eto left\u202c",
        "'; DROP TABLE checkpoints; --",
        "x" * sweep(200_000, 5_000_000),
        "nul \0 inside",
    ]
    # The server puts U+FFFD in place of NUL before it passes a text on.
    kept = [*texts[:-1], "nul \ufffd inside"]
    for lines, text in zip(at_once(talk, *texts), kept, strict=True):
        assert lines == [f"human: {text}", "human: Hello"]


@pytest.mark.sweep
def test_half_a_character_costs_nothing(server: Server) -> None:
    thread_id = new_thread(server)
    body = rb'{"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "half \ud83d of it"}]}}'
    answer = httpx.post(
        f"{server.url}/threads/{thread_id}/runs/wait", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400, 422), answer.text
    last_words(server.say(thread_id, "Hello"))
    assert "human: Hello" in said(server, thread_id)


@pytest.mark.sweep
def test_a_bad_answer_is_a_clear_error_and_the_call_still_waits(server: Server) -> None:
    def refuse(status: int, clear: str, interrupt_id: str | None, answer: Any) -> None:
        thread_id = new_thread(server)
        [pause] = server.say(thread_id, "Please refund order 1003.")["__interrupt__"]
        code, words = server.refusal(thread_id, command={"resume": {interrupt_id or pause["id"]: answer}})
        assert (code, clear in words) == (status, True), words
        assert server.client.threads.get(thread_id)["status"] == "interrupted"
        assert [found["id"] for found in waiting(server, thread_id)] == [pause["id"]]
        last_words(server.answer(thread_id, pause["id"], {"type": "reject"}))
        code, words = server.refusal(thread_id, command={"resume": {pause["id"]: {"type": "approve"}}})
        assert (code, "has answered this already with 'reject', at 20" in words) == (409, True), words
        assert server.client.threads.get(thread_id)["status"] == "idle"
        assert server.client.runs.list(thread_id, status="error") == []
        last_words(server.say(thread_id, "Hello"))

    misfit = {"type": "edit", "edited_action": {"name": "refund_order", "args": {"order_id": "many"}}}
    at_once(
        lambda case: refuse(*case),
        (422, "found 'maybe'", None, {"type": "maybe"}),
        (422, "order_id", None, misfit),
        (422, "This answer does not fit", None, "yes"),
        (409, "Nothing was asked", "0" * 32, {"type": "approve"}),
    )


@pytest.mark.sweep
def test_the_status_of_a_thread_is_true_after_a_run_that_could_not_begin(postgres_url: str, tmp_path: Path) -> None:
    with served(tmp_path, HOLDFAST_DATABASE=postgres_url) as server:
        empty, paused = new_thread(server), new_thread(server)
        assert server.wait_for_run(empty, input=None)["__error__"]["error"] == "EmptyInputError"
        assert server.say(paused, "Please refund order 1003.")["__interrupt__"]
        assert "__error__" in server.wait_for_run(paused, config={"recursion_limit": -1})
        assert server.refusal(paused, command={"resume": None})[0] == 422
        assert server.client.threads.get(empty)["status"] == "error"
        assert server.client.threads.get(paused)["status"] == "interrupted"
    with served(tmp_path, HOLDFAST_DATABASE=postgres_url) as server:
        found = {entry["thread_id"]: entry["status"] for entry in server.client.threads.search()}
        assert found == {empty: "error", paused: "interrupted"}
        error: Any = server.client.threads.get(empty)
        assert error["error"]["error"] == "EmptyInputError"


@pytest.mark.sweep
def test_the_history_of_a_thread_is_read_by_pages(server: Server) -> None:
    thread_id = new_thread(server)
    last_words(server.say(thread_id, "Hello"))
    first, *earlier = server.client.threads.get_history(thread_id)
    assert server.client.threads.get_history(thread_id, before=first["checkpoint"]) == earlier


@pytest.mark.sweep
def test_a_model_that_fails_is_a_clear_error_and_the_message_is_kept(tmp_path: Path) -> None:
    failing = [refuses(401), refuses(429), refuses(500), hangs(), breaks_off("Hel", rudely=True)]
    clear = ["(401)", "(429)", "(500)", "did not answer in time", "broke the connection off"]
    at_last = [says("Hello Ada.") for _ in failing]
    odd = [calls(call("fly_to_the_moon", "{}"), call("find_order", "{broken")), says("I could not.")]
    with (
        stub_openai(*failing, *at_last, *odd) as endpoint,
        served(
            tmp_path,
            OPENAI_API_KEY=KEY,
            OPENAI_BASE_URL=endpoint.url,
            HOLDFAST_MODEL="openai:stub",
            HOLDFAST_MODEL_RETRIES="0",
            HOLDFAST_MODEL_TIMEOUT="1",
        ) as server,
    ):
        threads = [new_thread(server) for _ in failing]
        errors = [state["__error__"]["message"] for state in at_once(lambda t: server.say(t, "I am Ada."), *threads)]
        for words in clear:
            assert len([error for error in errors if words in error]) == 1, errors
        assert all(said(server, thread_id) == ["human: I am Ada."] for thread_id in threads)

        again = at_once(lambda thread_id: server.wait_for_run(thread_id, input=None), *threads)
        assert [last_words(state) for state in again] == ["Hello Ada."] * len(threads)
        assert last_words(server.say(threads[0], "Fly!")) == "I could not."
        assert [line.partition(":")[0] for line in said(server, threads[0])].count("tool") == 2
        assert KEY not in str(errors) + server.said
