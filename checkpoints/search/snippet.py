"""Snippets: the part of a message that shows why it was found. Pure, no I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.checkpoints.search.query import Query
from holdfast.checkpoints.search.tokenizer import tokenize_with_spans

# Characters of a snippet, about: two lines of a terminal.
SNIPPET_LENGTH: Final = 160

# Characters of context before the first match that is shown.
_CONTEXT_BEFORE: Final = 40

_ELLIPSIS: Final = "…"


class Snippet(NamedTuple):
    """A part of a text in one line, with the matches in it."""

    text: str
    marks: list[tuple[int, int]]
    """Start and end of each match in `text`."""


class _Match(NamedTuple):
    start: int
    end: int
    term: int
    """The index of the term in the query."""


def make_snippet(text: str, query: Query) -> Snippet:
    """Cut out the part of a text in which the most terms of a query stand close together."""
    words = tokenize_with_spans(text)
    matches = sorted(
        _Match(words[place[0]].start, words[place[-1]].end, number)
        for number, term in enumerate(query.terms)
        for place in term.matches(words)
    )
    first_start, first_end = _densest(matches)
    start = _word_start(text, max(0, min(first_start - _CONTEXT_BEFORE, len(text) - SNIPPET_LENGTH)), first_start)
    end = max(_word_end(text, min(len(text), start + SNIPPET_LENGTH)), first_end)
    marks = _merge_overlaps(
        [(match.start, match.end) for match in matches if match.start >= start and match.end <= end]
    )
    return _to_one_line(text, start, end, marks)


def _densest(matches: Sequence[_Match]) -> tuple[int, int]:
    """Return start and end of the match that has the most different terms within a snippet's length after it.

    Between equals, the one with the most matches wins, then the first.
    """
    best, best_place, stop = (0, 0), (0, 0), 0
    terms_near: Counter[int] = Counter()
    for index, (start, end, term) in enumerate(matches):
        limit = start + SNIPPET_LENGTH - _CONTEXT_BEFORE
        while stop < len(matches) and (stop <= index or matches[stop].end <= limit):
            terms_near[matches[stop].term] += 1
            stop += 1
        score = (len(+terms_near), stop - index)
        if score > best:
            best, best_place = score, (start, end)
        terms_near[term] -= 1
    return best_place


def _word_start(text: str, start: int, last: int) -> int:
    """Return the first beginning of a word from `start` on; `start` itself if there is none before `last`."""
    if start == 0:
        return 0
    space = re.compile(r"\s").search(text, start - 1, last)
    return space.end() if space else start


def _word_end(text: str, end: int) -> int:
    """Return the last end of a word before `end`; `end` itself if it cuts a very long word."""
    if end == len(text):
        return end
    last = max(text.rfind(space, end - _CONTEXT_BEFORE, end) for space in " \n\t")
    return last if last > 0 else end


def _merge_overlaps(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _to_one_line(text: str, start: int, end: int, marks: Sequence[tuple[int, int]]) -> Snippet:
    """Cut out a part of a text, with each run of white space as one space, and move the marks along."""
    line = _ELLIPSIS if text[:start].strip() else ""
    moved_to = {}
    for position in range(start, end):
        character = text[position]
        if character.isspace():
            character = "" if not line or line.endswith((" ", _ELLIPSIS)) else " "
        moved_to[position] = len(line) if character != "" else max(len(line) - 1, 0)
        line += character
    line = line.rstrip() + (_ELLIPSIS if text[end:].strip() else "")
    return Snippet(line, [(moved_to[first], moved_to[last - 1] + 1) for first, last in marks])
