"""One message and its row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core import messages as lc
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage

from holdfast.checkpoints.serde.messages import (
    MessageRow,
    decode,
    encode,
    is_row_class,
    is_sql_text,
    snapshot,
    sql_text,
)
from holdfast.checkpoints.serde.types import Types
from tests.support.shapes import (
    ALLOWED,
    HARD_TEXTS,
    KINDS,
    Colour,
    Parcel,
    Receipt,
    Sealed,
    Voice,
    exact,
    messages,
    patient,
)
from tests.support.sweep import example_count

TYPES = Types(ALLOWED)


def row_of(message: BaseMessage, types: Types = TYPES) -> MessageRow:
    return encode(snapshot(message), types)


def message_of(row: MessageRow, types: Types = TYPES) -> BaseMessage:
    return decode(row, types)


def again(message: BaseMessage, types: Types = TYPES) -> BaseMessage:
    return message_of(row_of(message, types), types)


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(patient, max_examples=example_count(25))
@given(data=st.data())
def test_a_message_of_any_class_comes_back_field_by_field(kind: type[BaseMessage], data: st.DataObject) -> None:
    message = data.draw(messages([kind]))
    before = exact(message)

    restored = again(message)

    assert exact(restored) == before
    assert exact(message) == before, "encoding must not change the message"


@settings(patient, max_examples=example_count(50))
@given(message=messages())
def test_a_message_that_came_back_has_the_same_row(message: BaseMessage) -> None:
    assert row_of(again(message)) == row_of(message)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_that_came_back_behaves_as_any_other(kind: type[BaseMessage]) -> None:
    required = {"tool_call_id": "1", "name": "n", "role": "critic"}
    message = kind(content="hello", id="m-1", **{k: v for k, v in required.items() if k in kind.model_fields})
    restored = again(message)

    assert restored == message
    assert sorted(repr(restored)) == sorted(repr(message))  # the place of the id is not promised
    assert restored.model_dump() == message.model_dump()
    assert restored.model_copy(update={"content": "x"}).text == "x"
    assert restored.model_copy(deep=True) == message
    assert restored.pretty_repr() == message.pretty_repr()
    assert kind.model_validate(restored.model_dump()) == message
    assert restored.content_blocks == message.content_blocks
    if isinstance(message, lc.BaseMessageChunk):
        assert isinstance(restored, lc.BaseMessageChunk)
        assert restored + restored == message + message


def test_restored_messages_share_nothing() -> None:
    row = row_of(AIMessage("hello", tool_calls=[{"name": "a", "args": {}, "id": "1"}]))
    first, second = message_of(row), message_of(row)
    assert isinstance(first, AIMessage)

    for field, value in list(first.__dict__.items()):
        if isinstance(value, (dict, list)):
            assert value is not second.__dict__[field], field
    first.additional_kwargs["changed"] = True
    first.tool_calls.clear()
    first.invalid_tool_calls.append({})

    assert message_of(row) == second
    assert row_of(AIMessage("other")) == row_of(message_of(row_of(AIMessage("other"))))


def test_a_private_attribute_and_an_extra_field_of_a_subclass_come_back() -> None:
    message = Voice("hello", seconds=1.5, mood="glad")
    message._heard = 3

    restored = again(message)

    assert isinstance(restored, Voice)
    assert (restored.seconds, restored._heard, restored.mood) == (1.5, 3, "glad")  # type: ignore[attr-defined]
    restored._heard = 4
    assert restored != message
    assert isinstance(again(Sealed("x")), Sealed)


def test_an_instruction_to_remove_is_not_something_said() -> None:
    assert not is_row_class(RemoveMessage)
    assert not is_row_class(dict)
    assert all(is_row_class(kind) for kind in KINDS)


@pytest.mark.parametrize(
    "artifact",
    [
        (1, [2, (3,)]),
        b"\0\xff",
        [HumanMessage("inner", id="m-2"), (AIMessage("deep"),)],
        {"receipt": Receipt(total=3, lines=["a"]), 1: Colour.DEEP, None: Parcel(1.0, (Colour.RED,))},
        {True: 1, 2: True, 3.0: 1.0},
        Parcel(2.0, HumanMessage("wrapped", additional_kwargs={"t": [1]})),
        {(1, "a"): "a tuple as a key"},
        [float("nan"), float("inf"), -0.0, 2**64, -(2**70)],
        {"a": {"b": [("c", {"d": "\ud800"})]}},
    ],
    ids=lambda artifact: type(artifact).__name__,
)
def test_an_artifact_comes_back_with_its_types(artifact: Any) -> None:
    restored = again(ToolMessage("done", tool_call_id="1", artifact=artifact))
    assert isinstance(restored, ToolMessage)
    assert exact(restored.artifact) == exact(artifact)


def test_a_type_within_a_message_that_is_not_named_becomes_its_parts_in_the_strict_mode() -> None:
    message = ToolMessage("done", tool_call_id="1", artifact=[Parcel(1.0)])
    strict = Types(strict=True)
    restored = message_of(row_of(message, strict), strict)
    assert isinstance(restored, ToolMessage)
    assert restored.artifact == [{"weight": 1.0, "inside": None}]
    assert message_of(row_of(message), Types()) == message


@pytest.mark.parametrize("kind", [b"Parcel", b"Absent"])
def test_a_message_whose_class_is_not_here_keeps_its_role_and_its_fields_and_its_row(kind: bytes) -> None:
    row = row_of(Voice("x", seconds=2.5))
    body = row.body.replace(b"\xa5Voice", bytes([0xA0 + len(kind)]) + kind)
    restored = message_of(row._replace(body=body))
    assert isinstance(restored, HumanMessage)
    assert not isinstance(restored, Voice)
    assert restored.text == "x"
    assert restored.seconds == 2.5  # type: ignore[attr-defined]
    assert row_of(restored).body == body


# --- digests: what makes two messages the same


@settings(patient, max_examples=example_count(50))
@given(message=messages(), id_=st.one_of(st.none(), st.uuids().map(str)))
def test_the_digest_does_not_depend_on_the_id(message: BaseMessage, id_: str | None) -> None:
    before = row_of(message)
    message.id = id_
    after = row_of(message)
    assert after == before._replace(message_id=id_)


def test_the_digest_does_not_depend_on_default_values() -> None:
    message = AIMessage("hello")
    older = AIMessage("hello")
    # As a LangChain without these fields would have made it.
    for name in ("invalid_tool_calls", "usage_metadata", "response_metadata", "name"):
        del older.__dict__[name]
    assert row_of(older) == row_of(message)
    assert exact(again(older)) == exact(message)


_AI: dict[str, Any] = {
    "content": "hello",
    "name": "n",
    "response_metadata": {"model": "m"},
    "additional_kwargs": {"a": 1},
}


@pytest.mark.parametrize(
    "change",
    [
        {"content": "hello "},
        {"content": ["hello"]},
        {"content": [{"type": "text", "text": "hello"}]},
        {"content": ["hel", "lo"]},
        {"name": None},
        {"name": ""},
        {"response_metadata": {}},
        {"response_metadata": {"model": "m", "x": None}},
        {"additional_kwargs": {"a": True}},
        {"additional_kwargs": {"a": 1.0}},
        {"additional_kwargs": {"a": "1"}},
        {"additional_kwargs": {"a": (1,)}},
        {"additional_kwargs": {"a": [1]}},
        {"additional_kwargs": {b"a": 1}},
        {"tool_calls": [{"name": "t", "args": {}, "id": "1", "type": "tool_call"}]},
        {"invalid_tool_calls": [{"name": "t", "args": "", "id": "1", "error": None, "type": "invalid_tool_call"}]},
        {"usage_metadata": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}},
        {"extra": 1},
    ],
    ids=repr,
)
def test_a_change_of_any_one_field_makes_it_another_message(change: dict[str, Any]) -> None:
    changed = AIMessage(**_AI)
    for name, value in change.items():
        setattr(changed, name, value)
    assert row_of(changed).digest != row_of(AIMessage(**_AI)).digest
    assert exact(again(changed)) == exact(changed)


def test_messages_of_different_classes_with_the_same_words_are_different() -> None:
    rows = [row_of(HumanMessage("x")), row_of(AIMessage("x")), row_of(lc.SystemMessage("x")), row_of(Voice("x"))]
    rows += [row_of(lc.HumanMessageChunk("x")), row_of(lc.AIMessageChunk("x")), row_of(Sealed("x"))]
    rows += [row_of(lc.ChatMessage("x", role=role)) for role in ("human", "critic")]
    assert len({row.digest for row in rows}) == len(rows)


@settings(patient, max_examples=example_count(50))
@given(first=messages(), second=messages())
def test_messages_have_one_digest_only_if_they_are_equal(first: BaseMessage, second: BaseMessage) -> None:
    first.id = second.id = None
    assert (row_of(first).digest == row_of(second).digest) == (exact(first) == exact(second))


def test_who_has_no_key_cannot_compute_a_digest() -> None:
    digests = {encode(snapshot(HumanMessage("x")), TYPES, key=key).digest for key in (b"", b"k", b"l")}
    assert len(digests) == 3


# --- what SQL sees


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_the_columns_hold_only_text_that_every_database_can_hold(text: str) -> None:
    rows = [row_of(HumanMessage("")), row_of(lc.ChatMessage("", role="r")), row_of(Voice(""))]
    for message in (HumanMessage(""), lc.ChatMessage("", role="r"), Voice("")):
        message.content, message.name = text, text
        rows.append(row_of(message))
        message.content = [text, {"type": "text", "text": text}]
        rows.append(row_of(message))
    for row in rows:
        for column in (row.content, row.name, row.role):
            assert column is None or is_sql_text(column)


def test_text_that_a_database_cannot_hold_is_shown_as_far_as_it_can() -> None:
    assert sql_text("a\0b\ud800") == "ab?"


def test_the_texts_of_blocks_can_be_searched() -> None:
    content: list[Any] = ["one ", {"type": "image", "url": "u"}, {"type": "text", "text": "two"}]
    assert row_of(HumanMessage(content)).content == "one two"
    assert row_of(HumanMessage([{"type": "image", "url": "u"}])).content is None


def test_half_characters_inside_and_outside_of_a_tuple_are_kept() -> None:
    message = ToolMessage("\ud800", tool_call_id="call_0", artifact=("\ud800", {"a": ["\udfff"]}))
    assert exact(again(message)) == exact(message)
