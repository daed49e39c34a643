"""A dict or a pair that looks like a message is data, unless its channel makes a message of it."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph, add_messages

from holdfast.checkpoints import HoldfastSaver
from tests.support.dialects import dialect_of
from tests.support.kit import rows

HELLO: list[Any] = [("user", "hello"), {"role": "user", "content": "hello"}, {"type": "human", "content": "hello"}]


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    facts: Annotated[list[Any], operator.add]
    found: list[Any]


def answer(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage(f"answer {len(state['messages'])}")]}


def graph_over(saver: HoldfastSaver) -> Any:
    return StateGraph(State).add_node(answer).add_edge(START, "answer").compile(checkpointer=saver)


CONFIG: Any = {"configurable": {"thread_id": "ada-1"}}


def said(saver: HoldfastSaver) -> list[str]:
    return [content for (content,) in rows(saver, "SELECT content FROM holdfast_messages ORDER BY seq")]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("hello", HELLO, ids=str)
def test_data_that_looks_like_a_message_is_not_said(saver: HoldfastSaver, hello: Any) -> None:
    agent = graph_over(saver)
    for number in range(3):
        agent.invoke({"messages": [("user", f"turn {number}")], "facts": [hello], "found": [hello, hello]}, CONFIG)

    state = agent.get_state(CONFIG).values
    kept = list(hello) if isinstance(hello, tuple) else hello
    assert [list(fact) if isinstance(fact, tuple) else fact for fact in state["facts"]] == [kept] * 3
    assert [list(item) if isinstance(item, tuple) else item for item in state["found"]] == [kept] * 2
    assert "hello" not in said(saver)
    assert len(said(saver)) == 6


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("hello", HELLO, ids=str)
def test_an_input_of_a_channel_that_makes_messages_of_it_is_stored_once(saver: HoldfastSaver, hello: Any) -> None:
    agent = graph_over(saver)
    for _ in range(3):
        agent.invoke({"messages": [hello]}, CONFIG)

    assert said(saver) == ["hello", "answer 1", "hello", "answer 3", "hello", "answer 5"]
    history = list(saver.list(CONFIG))
    inputs = [found.checkpoint["channel_values"].get(START) for found in history if found.metadata["source"] == "input"]
    kept = list(hello) if isinstance(hello, tuple) else hello
    assert [[list(one) if isinstance(one, tuple) else one for one in given["messages"]] for given in inputs] == [
        [kept]
    ] * 3
    assert not [value for value in stored(saver) if b"hello" in value]


def stored(saver: HoldfastSaver) -> list[bytes]:
    """Return the bytes of all values and writes."""
    if dialect_of(saver) == "postgres":
        values = rows(saver, "SELECT blob FROM checkpoint_blobs UNION ALL SELECT blob FROM checkpoint_writes")
    else:
        values = rows(saver, "SELECT checkpoint FROM checkpoints UNION ALL SELECT value FROM writes")
    return [bytes(value) for (value,) in values if value is not None]


def test_a_channel_of_another_name_is_known_to_make_messages_from_its_second_input_on(saver: HoldfastSaver) -> None:
    class Talk(TypedDict):
        talk: Annotated[list[AnyMessage], add_messages]

    agent = StateGraph(Talk).add_node("n", lambda _: {}).add_edge(START, "n").compile(checkpointer=saver)
    agent.invoke({"talk": [("user", "first")]}, CONFIG)
    agent.invoke({"talk": [("user", "second")]}, CONFIG)
    assert said(saver) == ["first", "second"]
    assert [value for value in stored(saver) if b"first" in value]
    assert not [value for value in stored(saver) if b"second" in value]


def test_a_channel_called_messages_that_keeps_data_is_known_to_do_so_from_its_second_input_on(
    saver: HoldfastSaver,
) -> None:
    class Data(TypedDict):
        messages: Annotated[list[Any], operator.add]

    agent = StateGraph(Data).add_node("n", lambda _: {}).add_edge(START, "n").compile(checkpointer=saver)
    for text in ("first", "second", "second"):
        agent.invoke({"messages": [{"role": "user", "content": text}]}, CONFIG)
    assert "second" not in said(saver)
    assert [item["content"] for item in agent.get_state(CONFIG).values["messages"]] == ["first", "second", "second"]


def test_what_one_thread_has_shown_says_nothing_of_another(saver: HoldfastSaver) -> None:
    class Talk(TypedDict):
        facts: Annotated[list[AnyMessage], add_messages]

    first = StateGraph(Talk).add_node("n", lambda _: {}).add_edge(START, "n").compile(checkpointer=saver)
    first.invoke({"facts": [("user", "hello")]}, CONFIG)

    other = graph_over(saver)
    config: Any = {"configurable": {"thread_id": "bob-1"}}
    for _ in range(2):
        other.invoke({"facts": [("user", "hello")]}, config)
    assert rows(saver, "SELECT count(*) FROM holdfast_messages WHERE thread_id = 'bob-1' AND content = 'hello'") == [
        (0,)
    ]
