"""The copy of a message whose row is known: equal messages are made of it, and a change in place is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from holdfast.checkpoints.serde.known import Template, contents_of, is_unchanged
from tests.support.shapes import exact, messages, patient
from tests.support.sweep import example_count

RANK = (False, False)


def template(message: BaseMessage) -> Template | None:
    contents = contents_of(message)
    return None if contents is None else Template(type(message), contents, RANK)


@settings(patient, max_examples=example_count(150))
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
    contents = contents_of(message)
    assert contents is not None
    assert is_unchanged(message, contents)
    change(message)
    assert not is_unchanged(message, contents)
