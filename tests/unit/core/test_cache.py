"""What a process remembers of messages: other messages are made of it, and a change in place is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from holdfast.checkpoints.core.cache import (
    Known,
    MessageCache,
    Template,
    fingerprint,
    unchanged,
)
from tests.support.shapes import exact, messages, patient

RANK = (False, False)


def template(message: BaseMessage) -> Template | None:
    mark = fingerprint(message)
    return None if mark is None else Template(type(message), mark, RANK)


@settings(patient, max_examples=150)
@given(message=messages())
def test_a_message_that_is_made_again_is_the_same_and_shares_nothing(message: BaseMessage) -> None:
    before = exact(message)
    made = template(message)
    if made is None:
        return  # it holds more than JSON types, and is read from its row each time
    first, second = made.make(), made.make()
    assert exact(first) == exact(second) == before
    for name, value in first.__dict__.items():
        if isinstance(value, (dict, list)):
            assert value is not second.__dict__[name]
            value.clear()
    first.content = "changed"
    assert exact(second) == exact(made.make()) == before


def rich() -> AIMessage:
    call = {"name": "look", "args": {"numbers": [1, 2]}, "id": "call_0", "type": "tool_call"}
    return AIMessage("text", tool_calls=[call], response_metadata={"model": "m", "scores": [1]}, id="m1")


CHANGES: list[tuple[str, Callable[[], BaseMessage], Callable[[Any], object]]] = [
    ("its text", lambda: HumanMessage("text"), lambda m: setattr(m, "content", "other")),
    ("its id", lambda: HumanMessage("text"), lambda m: setattr(m, "id", "m2")),
    ("a key in a dict that was empty", lambda: HumanMessage("text"), lambda m: m.additional_kwargs.update(a=1)),
    ("a call in a list that was empty", lambda: AIMessage("text"), lambda m: m.tool_calls.append({"name": "look"})),
    ("an attribute of its own", lambda: HumanMessage("text"), lambda m: setattr(m, "mood", "glad")),
    ("a number deep inside", rich, lambda m: m.tool_calls[0]["args"]["numbers"].append(3)),
    ("1 in place of True", rich, lambda m: m.response_metadata.update(scores=[True])),
    ("its text, where there is more", rich, lambda m: setattr(m, "content", "other")),
    (
        "a block",
        lambda: ToolMessage([{"type": "text", "text": "a"}], tool_call_id="c"),
        lambda m: m.content.append("b"),
    ),
]


@pytest.mark.parametrize(("make", "change"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_change_in_place_is_noticed(make: Callable[[], BaseMessage], change: Callable[[Any], object]) -> None:
    message = make()
    mark = fingerprint(message)
    assert mark is not None
    assert unchanged(message, mark)
    change(message)
    assert not unchanged(message, mark)


def remembered(memory: MessageCache, thread_id: str, texts: list[str], generation: int = 1) -> None:
    known, templates = [], {}
    for ref, text in enumerate(texts, 1):
        message = HumanMessage(text)
        found = template(message)
        assert found is not None
        templates[ref] = found
        known.append(Known(message, found.fingerprint, ref, claimed=True))
    memory.loaded(thread_id, "", generation, known, templates)


def test_the_threads_that_were_used_longest_ago_are_forgotten_by_number_of_messages_and_by_bytes() -> None:
    for memory, text in ((MessageCache(most_messages=25), "short"), (MessageCache(most_bytes=25_000), "long" * 200)):
        for thread_id in ("t1", "t2", "t3"):
            remembered(memory, thread_id, [text] * 10)
        assert [bool(memory.templates(thread_id, 1)) for thread_id in ("t1", "t2", "t3")] == [False, True, True]
        memory.forget("t2")
        memory.forget("t3")
        assert (memory._messages, memory._bytes) == (0, 0)


def test_what_is_known_of_an_earlier_generation_is_not_used() -> None:
    memory = MessageCache()
    remembered(memory, "t1", ["one"])
    assert memory.templates("t1", 2) == memory.templates("t1", None) == {}
    remembered(memory, "t1", ["two"], generation=2)
    assert memory.templates("t1", 1) == {}
    assert memory.recall("t1", "")[0] == 2


def test_messages_that_have_left_the_conversation_are_forgotten() -> None:
    memory = MessageCache()
    remembered(memory, "t1", [f"message {number}" for number in range(300)])
    remembered(memory, "t1", ["message 0"])
    assert set(memory.templates("t1", 1)) == {1}
    assert memory._bytes == sum(found.size for found in memory.templates("t1", 1).values())
