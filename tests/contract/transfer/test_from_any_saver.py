"""Threads of any checkpointer are copied into a database of Holdfast, and go on there."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.moments import utc_datetime
from holdfast.savers import copy_threads
from tests.support.kit import echo_graph, thread


def asking(saver: Any) -> Any:
    def ask(_state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"You said {interrupt('May I?')}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def source() -> InMemorySaver:
    """A checkpointer with a thread that is idle, and one that waits."""
    saver = InMemorySaver()
    for text in ("Hello", "More"):
        echo_graph(saver).invoke({"messages": [("user", text)]}, thread("idle", user_id="ada"))
    asking(saver).invoke({"messages": [("user", "Please")]}, thread("paused"))
    return saver


def history(graph: Any, thread_id: str) -> list[Any]:
    return [
        (state.values, state.next, state.created_at, state.metadata, [task.interrupts for task in state.tasks])
        for state in graph.get_state_history(thread(thread_id))
    ]


def test_threads_arrive_with_their_history_and_go_on(saver: HoldfastSaver, source: InMemorySaver) -> None:
    assert [(one.thread_id, one.problem) for one in copy_threads(source, saver)] == [("idle", None), ("paused", None)]
    for graph in (echo_graph, asking):
        for thread_id in ("idle", "paused"):
            assert history(graph(saver), thread_id) == history(graph(source), thread_id)
    [waiting] = saver.interrupts.waiting()
    assert waiting.thread_id == "paused"
    assert asking(saver).invoke(Command(resume="yes"), thread("paused"))["messages"][-1].text == "You said yes"
    echo_graph(saver).invoke({"messages": [("user", "Thanks")]}, thread("idle", user_id="ada"))
    texts = [entry.text for entry in saver.transcript("idle") if entry.kind == "message"]
    assert texts == ["Hello", "You said: Hello", "More", "You said: More", "Thanks", "You said: Thanks"]


def test_the_messages_have_the_times_of_their_checkpoints(saver: HoldfastSaver, source: InMemorySaver) -> None:
    list(copy_threads(source, saver))
    made = {state.created_at[:19] for state in echo_graph(source).get_state_history(thread("idle"))}
    entries = [entry for entry in saver.transcript("idle") if entry.kind == "message"]
    assert {entry.at.isoformat()[:19] for entry in entries} <= made
    assert saver.threads.get("idle").created_at <= entries[0].at <= utc_datetime(2**40)


def test_a_copy_again_is_told_and_one_that_has_gone_on_is_left(saver: HoldfastSaver, source: InMemorySaver) -> None:
    list(copy_threads(source, saver))
    assert [one.was_there for one in copy_threads(source, saver)] == [True, True]
    echo_graph(saver).invoke({"messages": [("user", "Here")]}, thread("idle"))
    idle, paused = copy_threads(source, saver)
    assert "is not the same" in str(idle.problem)
    assert paused.was_there


def test_a_thread_that_is_not_there_is_told(saver: HoldfastSaver, source: InMemorySaver) -> None:
    [one] = copy_threads(source, saver, ["other"])
    assert "the source has no such thread" in str(one.problem)


def test_what_would_not_be_as_it_was_is_not_copied(saver: HoldfastSaver, source: InMemorySaver) -> None:
    class Forgetful(InMemorySaver):
        """It loses a value between two reads."""

        def get_tuple(self, config: Any) -> Any:
            found = source.get_tuple(config)
            if found is not None and found.checkpoint["channel_values"].get("messages"):
                found.checkpoint["channel_values"]["messages"].append(lambda: None)
            return found

        def list(self, config: Any, **filters: Any) -> Any:
            return source.list(config, **filters)

    [idle] = copy_threads(Forgetful(), saver, ["idle"])
    assert idle.problem is not None
    assert saver.threads.list().threads == []


def test_writes_that_the_source_returns_in_no_order_arrive(saver: HoldfastSaver) -> None:
    class Unordered(InMemorySaver):
        def get_tuple(self, config: Any) -> Any:
            found = super().get_tuple(config)
            writes = (found and found.pending_writes) or []
            return found and found._replace(pending_writes=[*writes[::2], *writes[1::2]])

    source = Unordered()
    asking(source).invoke({"messages": [("user", "Please")]}, thread("paused"))
    head = asking(source).get_state(thread("paused")).config
    for task_id in ("1", "2"):
        source.put_writes(head, [("one", 1), ("two", 2)], task_id)
    [copied] = copy_threads(source, saver)
    assert copied.problem is None
