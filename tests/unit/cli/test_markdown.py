"""Markdown that is rendered while it is written, on a terminal of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from holdfast.cli.chat.markdown import MarkdownStream

TEXT = """\
# Refunds

Use <name> and a [link](https://example.org/a).

1. one
2. two

   more of two

```python
print(1)

print(2)
```

A line of words that has to be wrapped.
"""

SHOWN = """\
agent  Refunds

       Use <name> and a link
       (https://example.org/a).

        1 one
        2 two
          more of two

       print(1)

       print(2)

       A line of words that has
       to be wrapped.
"""


def shown(*pieces: str, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=31, force_terminal=terminal, color_system=None, emoji=False)
    stream = MarkdownStream(console, "agent  ", "bold")
    for piece in pieces:
        stream.add(piece)
        stream._draw()
    stream.end()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_words_are_wrapped_whole_and_stand_below_each_other() -> None:
    assert shown(TEXT, terminal=False) == SHOWN


@pytest.mark.parametrize("size", [1, 7, 40])
def test_the_pieces_of_a_text_do_not_change_what_is_printed(size: int) -> None:
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]

    assert shown(*pieces, terminal=False) == SHOWN


def test_what_grows_is_drawn_before_it_is_whole() -> None:
    console = Console(file=io.StringIO(), width=31, force_terminal=True, color_system=None)
    stream = MarkdownStream(console, "agent  ", "bold")
    stream.add("Hel")
    stream._draw()
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    stream.add("lo")
    stream.end()

    assert "agent  Hel" in drawn


def test_escape_sequences_of_a_model_are_shown_and_not_obeyed() -> None:
    assert shown("\x1b[2J", terminal=False) == "agent  <U+001B>[2J\n"


def test_a_text_that_was_cut_off_is_printed_as_far_as_it_came() -> None:
    assert shown("```python\nprint(1", terminal=False) == "agent  print(1\n"
