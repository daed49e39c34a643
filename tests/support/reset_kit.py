"""A graph that remembers, and the contents of a thread, for the tests of restart, undo and fork."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, MessagesState, StateGraph, add_messages

from holdfast.checkpoints import HoldfastSaver
from tests.support.index_kit import of_run
from tests.support.kit import rows, thread


def remembering(saver: Any) -> Any:
    """A graph with a subgraph that counts its calls."""

    class Count(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]
        seen: int

    inner = StateGraph(Count)
    inner.add_node(
        "count", lambda s: {"seen": s.get("seen", 0) + 1, "messages": [AIMessage(f"call {s.get('seen', 0) + 1}")]}
    )
    inner.add_edge(START, "count")
    builder = StateGraph(MessagesState)
    builder.add_node("child", inner.compile(checkpointer=True))
    builder.add_edge(START, "child")
    return builder.compile(checkpointer=saver)


def history(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[str]:
    """The root checkpoints, newest first."""
    found = saver.list(thread(thread_id, checkpoint_ns=""))
    return [item.config["configurable"]["checkpoint_id"] for item in found]


def transcript(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[str]:
    said = "SELECT content FROM holdfast_transcript WHERE thread_id = :thread_id ORDER BY seq"
    return [content for (content,) in rows(saver, said, thread_id=thread_id)]


def events(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[Any]:
    found = "SELECT kind, actor, after_seq FROM holdfast_events WHERE thread_id = :thread_id ORDER BY no"
    return rows(saver, found, thread_id=thread_id)


def meet(graph: Any, *words: str, thread_id: str = "ada-1") -> None:
    for text in words:
        graph.invoke({"messages": [("user", text)]}, of_run(thread_id, user_id="ada"))
