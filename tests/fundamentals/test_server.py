"""LangGraph's server with the agent: it shares every thread with Python and the command line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.errors import NotFoundError

from holdfast import Conversation, HoldfastSaver, build_graph, open_checkpointer
from tests.support import forked
from tests.support.serving import Server, last_words, served

ASK_AND_DIE = """
import os, signal, sys
from holdfast import Conversation, build_graph, open_checkpointer

with open_checkpointer("sqlite:///holdfast.db") as checkpointer:
    ada = Conversation(build_graph(checkpointer=checkpointer), sys.argv[1], user_id="ada")
    ada.send("My name is Ada. Please refund order 1001.")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def paused(place: Path) -> str:
    """The id of a thread that waits for a person, from a process that was killed with -9."""
    thread_id = str(uuid.uuid4())
    killed = forked.run("-c", ASK_AND_DIE, thread_id, cwd=place, env=forked.environment())
    assert killed.returncode == -9
    return thread_id


@pytest.fixture(scope="module")
def server(place: Path, paused: str) -> Iterator[Server]:
    """A server that was started after that, on `sqlite:///holdfast.db` in `place`."""
    with served(place) as server:
        yield server


@pytest.fixture
def checkpointer(place: Path) -> Iterator[HoldfastSaver]:
    """The server's database, in this process."""
    with open_checkpointer(f"sqlite:///{place}/holdfast.db") as checkpointer:
        yield checkpointer


def new_thread(server: Server) -> str:
    thread_id: str = server.client.threads.create()["thread_id"]
    return thread_id


def said(server: Server, thread_id: str) -> list[str]:
    values: Any = server.client.threads.get_state(thread_id)["values"]
    return [f"{message['type']}: {message['content']}" for message in values["messages"]]


def test_a_pause_its_thread_and_its_owner_outlive_a_killed_process(server: Server, paused: str) -> None:
    [found] = server.client.threads.search(status="interrupted", metadata={"user_id": "ada"})
    assert found["thread_id"] == paused
    [pause] = [pause for pauses in found["interrupts"].values() for pause in pauses]
    approved = server.answer(paused, pause["id"], {"type": "approve", "by": "Grace"})
    assert last_words(approved) == "Order 1001 is refunded: 49.00 EUR go back to Ada."
    assert last_words(server.say(paused, "What is my name?")) == "Your name is Ada."


def test_a_thread_that_began_in_python_goes_on_in_the_server(server: Server, checkpointer: HoldfastSaver) -> None:
    thread_id = str(uuid.uuid4())
    Conversation(build_graph(checkpointer=checkpointer), thread_id, user_id="ada").send("My name is Ada.")
    assert server.client.threads.get(thread_id)["metadata"]["user_id"] == "ada"
    assert last_words(server.say(thread_id, "What is my name?")) == "Your name is Ada."


def test_a_thread_that_began_in_the_server_goes_on_in_python(server: Server, checkpointer: HoldfastSaver) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "My name is Ada.")
    here = Conversation(build_graph(checkpointer=checkpointer), thread_id)
    assert here.send("What is my name?").text == "Your name is Ada."


def test_a_decision_made_elsewhere_is_carried_out_before_the_next_turn(
    server: Server, checkpointer: HoldfastSaver
) -> None:
    thread_id = new_thread(server)
    [pause] = server.say(thread_id, "Please refund order 1004.")["__interrupt__"]
    checkpointer.interrupts.answer(thread_id, pause["id"], {"type": "approve"}, by="Grace")
    assert last_words(server.say(thread_id, "Hello")).startswith("Hello")
    assert [line for line in said(server, thread_id) if line.startswith("tool: Order 1004 is refunded")]


def test_a_thread_that_another_process_deletes_is_not_found(server: Server, checkpointer: HoldfastSaver) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "Hello")
    checkpointer.delete_thread(thread_id)
    with pytest.raises(NotFoundError):
        server.client.threads.get(thread_id)
