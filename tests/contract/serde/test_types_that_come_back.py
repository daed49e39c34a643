"""A value whose type is not there is saved again as it was stored, so that it has its type once that is back."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph, add_messages
from pydantic import BaseModel
from typing_extensions import TypedDict

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from tests.support.kit import texts, thread


class Mood(enum.Enum):
    GOOD = "good"


@dataclass
class Note:
    text: str


class Plan(BaseModel):
    steps: list[str]


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    mood: Any
    plan: Any
    notes: Annotated[list[Any], operator.add]
    count: int


FIRST = {
    "mood": Mood.GOOD,
    "plan": [Plan(steps=["a"]), AIMessage("beside a plan", id="p")],
    "notes": [Note("b"), {"deep": [Note("c")]}],
}


def graph_of(saver: HoldfastSaver, seen: list[Any] | None = None, **writes: Any) -> Any:
    """A graph whose schema names none of the types."""

    def node(state: State) -> dict[str, Any]:
        if seen is not None:
            seen.append(state)
        number = state.get("count", 0) + 1
        return {"messages": [AIMessage(f"answer {number}", additional_kwargs={"of": "us"})], "count": number, **writes}

    builder = StateGraph(State)
    builder.add_node(node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def lives(bare_url: str) -> Callable[..., Any]:
    """Does something with the database as another process would, with the types there or not."""
    with open_checkpointer(bare_url) as saver:
        graph_of(saver, **FIRST).invoke({"messages": [("user", "one")]}, thread())

    def live(work: Callable[[HoldfastSaver], Any], *, there: bool) -> Any:
        with open_checkpointer(bare_url, strict=not there) as saver:
            return work(saver)

    return live


def state(saver: HoldfastSaver) -> Any:
    return graph_of(saver).get_state(thread()).values


def turn(text: str, **writes: Any) -> Callable[[HoldfastSaver], Any]:
    return lambda saver: graph_of(saver, **writes).invoke({"messages": [("user", text)]}, thread(), durability="sync")


@pytest.mark.sweep(on="postgres")
def test_turns_without_the_types_lose_nothing(lives: Callable[..., Any]) -> None:
    before = lives(state, there=True)
    for text in ("two", "three"):
        lives(turn(text), there=False)
    after = lives(state, there=True)
    assert {name: after[name] for name in FIRST} == {name: before[name] for name in FIRST} == FIRST
    assert (type(after["mood"]), type(after["plan"][0])) == (Mood, Plan)
    assert after["count"] == 3
    assert lives(texts, there=True) == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]


def test_a_run_without_the_types_sees_what_the_values_consist_of(lives: Callable[..., Any]) -> None:
    seen: list[Any] = []
    lives(lambda saver: graph_of(saver, seen).invoke({"messages": [("user", "two")]}, thread()), there=False)
    assert seen[0]["mood"] == "good"
    assert seen[0]["notes"] == [{"text": "b"}, {"deep": [{"text": "c"}]}]
    assert type(seen[0]["notes"][0]) is dict


def test_a_channel_that_is_written_without_the_types_has_what_was_written(lives: Callable[..., Any]) -> None:
    lives(turn("two", mood="better", notes=[{"text": "new"}]), there=False)
    after = lives(state, there=True)
    assert after["mood"] == "better"
    assert after["notes"] == [{"text": "b"}, {"deep": [{"text": "c"}]}, {"text": "new"}]
    assert after["plan"] == FIRST["plan"]


def test_an_update_and_a_fork_of_the_history_lose_nothing_either(lives: Callable[..., Any]) -> None:
    def work(saver: HoldfastSaver) -> None:
        graph = graph_of(saver)
        graph.update_state(thread(), {"messages": [HumanMessage("said")]}, as_node="node")
        [*_, first] = [item for item in graph.get_state_history(thread()) if "plan" in item.values]
        graph.invoke({"messages": [("user", "again")]}, first.config)

    lives(work, there=False)
    after = lives(state, there=True)
    assert {name: after[name] for name in FIRST} == FIRST
    assert [message.text for message in after["messages"]] == ["one", "answer 1", "again", "answer 2"]


def test_a_turn_that_is_undone_without_the_types_loses_nothing(lives: Callable[..., Any]) -> None:
    lives(turn("two"), there=True)
    lives(lambda saver: saver.threads.undo("ada-1"), there=False)
    after = lives(state, there=True)
    assert {name: after[name] for name in FIRST} == FIRST
