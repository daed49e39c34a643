"""Texts on a terminal: nothing in them acts, nothing hides, and what is JSON stays that JSON."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.output.text import columns, one_line, shortened, shown_json, visible
from tests.support.shapes import patient


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "<U+001B>[31mred<U+001B>[0m"),
        ("pay 100\rpay 999", "pay 100<U+000D>pay 999"),
        ("\x9b2J", "<U+009B>2J"),
        ("\u202egnp.exe", "<U+202E>gnp.exe"),
        ("\udc80", "<U+DC80>"),
        ("[bold]not markup[/bold] :smile:", "[bold]not markup[/bold] :smile:"),
        ("שלום\u200f נמסטה क्\u200dष 👩\u200d🚀 Zoë", "שלום\u200f נמסטה क्\u200dष 👩\u200d🚀 Zoë"),
    ],
)
def test_a_character_that_a_terminal_acts_on_is_shown_as_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_control_character_is_shown() -> None:
    acting = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cs")]
    assert [sign for sign in acting if visible(sign) == sign] == ["\t", "\n"]


@patient
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
    )
)
def test_json_that_is_shown_reads_as_the_same_value(value: object) -> None:
    shown = shown_json(value)
    assert json.loads(shown) == value
    assert visible(shown) == shown
    assert "\n" not in shown


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def test_a_long_text_says_how_much_is_left() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd" * 1000, 4) == "abcd ... (3,996 more characters)"


def test_a_table_is_as_wide_as_the_terminal_and_cuts_its_last_column() -> None:
    rows = [("id", "title"), ("1", "A" * 60)]

    assert columns(rows, 40)[1] == f" 1  {'A' * 35}…"
    assert columns(rows, 70)[1] == columns(rows)[1] == f" 1  {'A' * 60}"
    assert columns(rows, 5)[1] == f" 1  {'A' * 19}…"
