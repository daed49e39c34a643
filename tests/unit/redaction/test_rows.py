"""Rows and values of any kind stay readable when texts in them are replaced."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from langchain_core.messages import AIMessage, BaseMessage

from holdfast.checkpoints.redaction.patterns import PLACEHOLDER, Redactor, finders_of
from holdfast.checkpoints.redaction.rows import RowValues, blank_row, redacted_row
from holdfast.checkpoints.redaction.values import Values
from holdfast.checkpoints.serde.messages import decode, encode, snapshot
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.serde.types import Types
from tests.support.shapes import ALLOWED, exact, messages, patient, rich
from tests.support.sweep import example_count

TYPES = Types(ALLOWED)
examples = settings(patient, max_examples=example_count(200))


def same(text: str) -> str:
    return text


def without_vowels(text: str) -> str:
    """A change that reaches into nearly every text."""
    found = re.sub("[aeiou0-9]", PLACEHOLDER, text) if PLACEHOLDER not in text else text
    return text if found == text else found


@pytest.mark.sweep
@examples
@given(messages())
def test_a_row_in_which_nothing_is_found_stays_the_same_object(message: BaseMessage) -> None:
    row = encode(snapshot(message), TYPES)
    assert redacted_row(row, RowValues(same, TYPES)) is row


@examples
@given(messages())
def test_a_redacted_row_is_a_message_of_the_same_kind_and_id(message: BaseMessage) -> None:
    row = encode(snapshot(message), TYPES)
    for new in (redacted_row(row, RowValues(without_vowels, TYPES)), blank_row(row)):
        found = decode(new, TYPES)
        assert (type(found), found.type, found.id, new.digest) == (type(message), message.type, message.id, row.digest)
        assert isinstance(found.text, str)
        if isinstance(message, AIMessage) and isinstance(found, AIMessage):
            assert [(c["name"], c["id"]) for c in found.tool_calls] == [
                (c["name"], c["id"]) for c in message.tool_calls
            ]
    assert decode(blank_row(row), TYPES).content == PLACEHOLDER
    assert blank_row(blank_row(row)) == blank_row(row)


@examples
@given(rich)
def test_a_value_can_be_loaded_after_its_texts_were_replaced(value: object) -> None:
    body = Packing(TYPES).pack(value)
    assert Values(same, TYPES).stored("msgpack", body, is_checkpoint=False) is body
    new = Values(without_vowels, TYPES).stored("msgpack", body, is_checkpoint=False)
    types = TYPES.quiet_copy()
    found = Unpacking(types).unpack(new)
    assert types.lost == 0  # no type has refused the placeholder
    again = Values(without_vowels, TYPES).stored("msgpack", new, is_checkpoint=False)
    assert exact(Unpacking(types).unpack(again)) == exact(found)


def test_numbers_and_json_within_texts_are_looked_at_as_what_they_say() -> None:
    values = Values(Redactor(finders_of(["card", "email"])).text, TYPES)
    assert values.value([4111111111111111, 4111111111111111.0, 0.5, 1e300]) == ["[redacted: card]"] * 2 + [0.5, 1e300]
    for text in (r' {"to": "ada\u0040example.org"}', r'"ada\u0040example.org"'):
        assert "[redacted: email]" in values.value(text)
