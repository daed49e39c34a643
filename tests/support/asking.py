"""A graph that asks three people at once, and what can be told of a thread of it."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Send, interrupt

from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import rows
from tests.support.records import seen
from tests.support.shapes import exact


class Notes(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[Any], operator.add]


def team(saver: Any) -> Any:
    """A graph that asks three people at once, each by a subgraph."""

    def think(state: Any) -> dict[str, Any]:
        return {"notes": [f"{state['name']} thinks of {len(state.get('notes', []))}"]}

    def ask(state: Any) -> dict[str, Any]:
        said = interrupt({"to": state["name"]})
        return {"messages": [AIMessage(f"{state['name']}: {said}", id=f"{state['name']}-{said}")], "notes": [said]}

    class Person(Notes):
        name: str

    inner = StateGraph(Person)
    inner.add_node("think", think)
    inner.add_node("ask", ask)
    inner.add_edge(START, "think")
    inner.add_edge("think", "ask")
    person = inner.compile()
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda state: {"notes": [f"plan {len(state['messages'])}"]})
    builder.add_node("person", person)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda _: [Send("person", {"name": name, "messages": [], "notes": []}) for name in "abc"], ["person"]
    )
    return builder.compile(checkpointer=saver)


def waiting(graph: Any, at: Any) -> dict[str, str]:
    """Who is asked, by interrupt."""
    return {pause.value["to"]: pause.id for pause in graph.get_state(at).interrupts}


def state_of(graph: Any, at: Any) -> Any:
    """All that a state says, with those of subgraphs, but not what was before."""

    def alone(found: Any) -> Any:
        if not isinstance(found, dict) or "parent" not in found:
            return found
        return {**found, "parent": None, "tasks": [(*task, alone(inner)) for *task, inner in found["tasks"]]}

    return alone(seen(graph.get_state(at, subgraphs=True)))


def after(graph: Any, at: Any) -> Any:
    """A state as two threads have it that were the same some steps ago."""
    found = graph.get_state(at)
    return exact(found.values), found.next, sorted(str(pause.value) for pause in found.interrupts)


def count(saver: HoldfastSaver, thread_id: str, ns: str = "%", table: str = "checkpoints") -> int:
    where = "thread_id = :thread_id AND checkpoint_ns LIKE :ns"
    return int(rows(saver, f"SELECT count(*) FROM {table} WHERE {where}", thread_id=thread_id, ns=ns)[0][0])
