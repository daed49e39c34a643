"""The part of a text that shows why it was found. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.checkpoints.search.query import Query
from holdfast.checkpoints.search.tokenizer import placed

LENGTH: Final = 160
"""Characters of a snippet, about."""

# How much of that stands before what was found first.
_BEFORE: Final = 40

_MORE: Final = "…"


class Snippet(NamedTuple):
    text: str
    """One line."""
    marks: list[tuple[int, int]]
    """What was searched for: where each begins and ends in `text`."""


def snippet(text: str, question: Query) -> Snippet:
    """The part of a text in which the most of what was searched for stands close together."""
    there = placed(text)
    found = sorted(
        (there[numbers[0]].start, there[numbers[-1]].end, which)
        for which, term in enumerate(question.terms)
        for numbers in term.ends(there)
    )
    first, stop = _densest(found)
    start = _word_start(text, max(0, min(first - _BEFORE, len(text) - LENGTH)), first)
    end = max(_word_end(text, min(len(text), start + LENGTH)), stop)
    marks = _joined([(begin, stop) for begin, stop, _ in found if begin >= start and stop <= end])
    return _in_one_line(text, start, end, marks)


def _densest(found: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """The place, as begin and end, behind which the most different terms are near; of several such places the one that
    has the most of them."""
    best, first, until = (0, 0), (0, 0), 0
    near: Counter[int] = Counter()
    for number, (begin, end, which) in enumerate(found):
        while until < len(found) and (until <= number or found[until][1] <= begin + LENGTH - _BEFORE):
            near[found[until][2]] += 1
            until += 1
        there = (len(+near), until - number)
        if there > best:
            best, first = there, (begin, end)
        near[which] -= 1
    return first


def _word_start(text: str, start: int, last: int) -> int:
    """The first beginning of a word from `start` on, but none behind `last`."""
    if start == 0:
        return 0
    space = re.compile(r"\s").search(text, start - 1, last)
    return space.end() if space else start


def _word_end(text: str, end: int) -> int:
    """The last end of a word before `end`, unless that is a very long one."""
    if end == len(text):
        return end
    last = max(text.rfind(space, end - _BEFORE, end) for space in " \n\t")
    return last if last > 0 else end


def _joined(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Marks that overlap, as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _in_one_line(text: str, start: int, end: int, marks: Sequence[tuple[int, int]]) -> Snippet:
    """A part of a text with one space for each gap, and the marks where they are then."""
    line = _MORE if text[:start].strip() else ""
    at = {}
    for place in range(start, end):
        sign = text[place]
        if sign.isspace():
            sign = "" if not line or line.endswith((" ", _MORE)) else " "
        at[place] = len(line) if sign != "" else max(len(line) - 1, 0)
        line += sign
    line = line.rstrip() + (_MORE if text[end:].strip() else "")
    return Snippet(line, [(at[first], at[last - 1] + 1) for first, last in marks])
