"""`holdfast serve --config` with a program of the user's own: its types, and threads that the server itself changes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import open_store
from tests.support import forked
from tests.support.serving import Server, clean_environment, served

PROGRAM = """
import operator
from dataclasses import dataclass
from typing import Annotated, TypedDict
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.config import get_store
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import interrupt
from pydantic import BaseModel

@dataclass
class Line:
    item: str

class Order(BaseModel):
    lines: list[Line]

class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    order: Order
    kinds: Annotated[list[str], operator.add]

def work(state):
    order = state.get("order") or Order(lines=[Line("tea")])
    kinds = [type(order).__name__, *(type(line).__name__ for line in order.lines)]
    if state["messages"][-1].text == "remember":
        get_store().put(("ada", "facts"), "kinds", {"kinds": kinds})
    if "ask" in state["messages"][-1].text:
        interrupt("May I?")
    return {"messages": [AIMessage("done")], "order": order, "kinds": kinds}

agent = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()
"""


def install(folder: Path) -> list[str]:
    """Write the program, and return the command that serves it."""
    folder.mkdir(exist_ok=True)
    (folder / "ours.py").write_text(PROGRAM)
    config = {"dependencies": ["."], "graphs": {"agent": "./ours.py:agent"}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    return ["-m", "holdfast", "serve", "--config", "langgraph.json", "--model", "offline"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    folder = place / "program"
    with served(folder, install(folder), HOLDFAST_DATABASE=f"sqlite:///{place}/chat.db?types=strict") as server:
        yield server


def said(state: dict[str, Any]) -> list[str]:
    return [message["content"] for message in state["messages"]]


def new_thread(server: Server) -> str:
    return str(server.client.threads.create()["thread_id"])


RUN = """
import sys, ours
from holdfast import open_checkpointer
with open_checkpointer(sys.argv[1]) as saver:
    agent = ours.agent.copy(update={"checkpointer": saver})
    agent.invoke({"messages": [("user", "one")]}, {"configurable": {"thread_id": sys.argv[2]}})
"""


@pytest.mark.sweep
def test_types_of_a_served_graph_are_allowed_and_do_not_depend_on_the_folder(server: Server, place: Path) -> None:
    elsewhere, thread_id = place / "elsewhere", str(uuid.uuid4())
    install(elsewhere)
    words = ["-c", RUN, f"sqlite:///{place}/chat.db?types=strict", thread_id]
    assert forked.run(*words, cwd=elsewhere, env=clean_environment()).returncode == 0

    assert server.say(thread_id, "two")["kinds"] == ["Order", "Line"] * 2


@pytest.mark.sweep
def test_a_copied_thread_has_the_state_and_the_pause_of_its_source(server: Server) -> None:
    thread_id = new_thread(server)
    [pause] = server.say(thread_id, "ask me")["__interrupt__"]
    before = {found["thread_id"] for found in server.client.threads.search(limit=100)}

    server.client.threads.copy(thread_id)

    [copy] = [found for found in server.client.threads.search(limit=100) if found["thread_id"] not in before]
    assert copy["status"] == "interrupted"
    assert said(copy["values"]) == ["ask me"]
    assert said(server.answer(copy["thread_id"], pause["id"], {"go": "on"})) == ["ask me", "done"]
    assert server.client.threads.get(thread_id)["status"] == "interrupted"


@pytest.mark.sweep
def test_a_search_in_values_passes_over_threads_without_any(server: Server) -> None:
    bare, done = (str(server.client.threads.create(metadata={"kind": "search"})["thread_id"]) for _ in range(2))
    server.say(done, "Hello")
    values = {"kinds": ["Order", "Line"]}
    found = server.client.threads.search(values=values, metadata={"kind": "search"})
    assert [entry["thread_id"] for entry in found] == [done]
    assert server.client.threads.count(values=values, metadata={"kind": "search"}) == 1
    assert {entry["thread_id"] for entry in server.client.threads.search(metadata={"kind": "search"})} == {bare, done}


@pytest.mark.sweep
def test_a_thread_whose_only_run_is_deleted_is_empty_and_still_there(server: Server) -> None:
    thread_id = new_thread(server)
    run = server.client.runs.create(thread_id, "agent", input={"messages": [("user", "one")]})
    server.client.runs.join(thread_id, run["run_id"])

    server.client.runs.delete(thread_id, run["run_id"])

    found = server.client.threads.get(thread_id)
    assert (found["status"], found["values"]) == ("idle", None)
    assert said(server.say(thread_id, "again")) == ["again", "done"]


@pytest.mark.sweep
def test_a_thread_shows_the_run_before_the_one_that_is_deleted(server: Server) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "one")
    run = server.client.runs.create(thread_id, "agent", input={"messages": [("user", "two")]})
    server.client.runs.join(thread_id, run["run_id"])
    assert said(server.client.threads.get(thread_id)["values"]) == ["one", "done", "two", "done"]

    server.client.runs.delete(thread_id, run["run_id"])

    assert said(server.client.threads.get(thread_id)["values"]) == ["one", "done"]


@pytest.mark.sweep
def test_a_deleted_thread_is_gone(server: Server) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "one")
    server.client.threads.delete(thread_id)
    assert thread_id not in {found["thread_id"] for found in server.client.threads.search(limit=100)}


@pytest.mark.sweep
def test_long_term_memory_is_in_the_database_of_the_conversations(server: Server, place: Path) -> None:
    server.say(new_thread(server), "remember")
    found = server.client.store.get_item(["ada", "facts"], "kinds")
    assert found["value"] == {"kinds": ["Order", "Line"]}
    server.client.store.put_item(["ada", "facts"], "asked", {"by": "client"})
    with open_store(f"sqlite:///{place}/chat.db") as store:
        assert sorted(item.key for item in store.search(("ada",))) == ["asked", "kinds"]
