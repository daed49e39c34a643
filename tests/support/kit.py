"""Shared by the contract tests: a small graph, and checkpoints made by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.sql import Statement


def thread(thread_id: str = "ada-1", **configurable: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, **configurable}}


def echo_graph(saver: Any, reply: Callable[[AnyMessage], str] = lambda message: f"You said: {message.text}") -> Any:
    """A graph of one node that answers what it is told."""

    def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(reply(state["messages"][-1]))]}

    return one_node(saver, model)


def elsewhere(work: Callable[[], object]) -> None:
    """Run something in a thread: inside of a node LangGraph takes a run for a part of the one that goes on."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def one_node(saver: Any, node: Callable[[MessagesState], dict[str, Any]]) -> Any:
    """A graph of one node, under the name of the function."""
    builder = StateGraph(MessagesState)
    builder.add_node(node)
    builder.add_edge(START, node.__name__)
    graph: CompiledStateGraph[Any] = builder.compile(checkpointer=saver)
    return graph


def say(saver: HoldfastSaver, *said: str, thread_id: str = "ada-1") -> None:
    """Say these, one turn each, to the graph that echoes."""
    for number, text in enumerate(said):
        echo_graph(saver).invoke({"messages": [HumanMessage(text, id=f"{text}-{number}")]}, thread(thread_id))


def texts(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[str]:
    """Return the texts of the messages in the newest checkpoint."""
    found = saver.get_tuple(thread(thread_id))
    return [] if found is None else [m.text for m in found.checkpoint["channel_values"].get("messages", [])]


def checkpoint(messages: list[Any], *, id: str | None = None, **values: Any) -> Checkpoint:
    """A checkpoint with these messages in its state, as LangGraph would make it."""
    version = uuid.uuid4().hex
    channels = {"messages": messages, **values}
    return {
        "v": 4,
        "id": id or str(uuid6()),
        "ts": "2026-11-20T12:00:00+00:00",
        "channel_values": channels,
        "channel_versions": dict.fromkeys(channels, version),
        "versions_seen": {},
        "updated_channels": None,
    }


def put(saver: HoldfastSaver, config: RunnableConfig, saved: Checkpoint, **metadata: Any) -> RunnableConfig:
    if "checkpoint_ns" not in config["configurable"]:
        config = {"configurable": {"checkpoint_ns": "", **config["configurable"]}}
    return saver.put(config, saved, {"source": "loop", "step": 0, **metadata}, saved["channel_versions"])


def rows(saver: HoldfastSaver, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """Return the rows that a statement finds in the saver's database."""
    with saver._backend.reading() as transaction:
        return transaction.run([(Statement("test", sql), params)])[0]


def change(saver: HoldfastSaver, sql: str, **params: Any) -> None:
    """Change the saver's database, and let it read it anew, as another process would."""
    with saver._backend.writing() as transaction:
        transaction.run([(Statement("test", sql), params)])
    forget(saver)


def once_before(monkeypatch: pytest.MonkeyPatch, saver: HoldfastSaver, method: str, work: Callable[[], object]) -> None:
    """Let something happen right before the first call of a method of a checkpointer."""
    original = getattr(saver, method)

    def first(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(saver, method, original)
        work()
        return original(*args, **options)

    monkeypatch.setattr(saver, method, first)


def forget(saver: HoldfastSaver) -> None:
    """Let a checkpointer know no more than one that was just opened."""
    database = saver._database
    for thread_id in list(database.cache._threads):
        database.cache.forget(thread_id)
    database.states.forget_all()
