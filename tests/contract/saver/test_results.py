"""What a checkpointer returns has names and times in JSON, as a web framework makes it with pydantic."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import TypeAdapter

from holdfast.checkpoints import Answered, Hit, HoldfastSaver, Page, Thread, Waiting
from tests.support.kit import echo_graph, thread


def as_json(kind: Any, value: Any) -> Any:
    """A result as FastAPI returns it."""
    return TypeAdapter(kind).dump_python(value, mode="json")


@pytest.fixture
def asked(saver: HoldfastSaver) -> HoldfastSaver:
    echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread(user_id="ada"))
    builder = StateGraph(dict)
    builder.add_node("ask", lambda _: {"answer": interrupt("Refund?")})
    builder.add_edge(START, "ask")
    builder.compile(checkpointer=saver).invoke({}, thread("bob-1"))
    return saver


def test_threads_have_names_and_times_in_json(asked: HoldfastSaver) -> None:
    page = asked.threads.list(user_id="ada")
    [found] = as_json(Page, page)["threads"]
    assert (found["thread_id"], found["title"], found["status"]) == ("ada-1", "Hello", "idle")
    assert datetime.fromisoformat(found["created_at"]) == page.threads[0].created_at
    assert page.threads[0].updated_at.utcoffset() is not None
    assert TypeAdapter(Thread).validate_python(found) == page.threads[0]


def test_hits_have_names_and_times_in_json(asked: HoldfastSaver) -> None:
    hits = asked.search.find("hello", user_id="ada")
    found = as_json(list[Hit], hits)
    assert [(hit["thread_id"], hit["role"]) for hit in found] == [("ada-1", "human"), ("ada-1", "ai")]
    assert [datetime.fromisoformat(hit["at"]) for hit in found] == [hit.at for hit in hits]


def test_requests_and_answers_have_names_and_times_in_json(asked: HoldfastSaver) -> None:
    [request] = asked.interrupts.waiting()
    shown = as_json(Waiting, request)
    assert (shown["thread_id"], shown["value"], shown["expires_at"]) == ("bob-1", "Refund?", None)
    assert datetime.fromisoformat(shown["asked_at"]) == request.asked_at
    answered = asked.interrupts.answer("bob-1", request.interrupt_id, "yes", by="Grace")
    shown = as_json(Answered, answered)
    assert (shown["answer"], shown["by"], shown["expired"]) == ("yes", "Grace", False)
    assert datetime.fromisoformat(shown["at"]) == answered.at
