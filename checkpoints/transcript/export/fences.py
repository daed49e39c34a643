"""Blocks of code within a text, as Markdown fences them. Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_OPENS = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")


class Segment(NamedTuple):
    """A part of a text: prose, or a block of code with its fences."""

    text: str
    is_code: bool


def segments(text: str) -> Iterator[Segment]:
    """Split a text into prose and fenced code. Together, the segments are the text, without the line ends between."""
    part: list[str] = []
    fence = ""
    for line in text.split("\n"):
        if not fence and (opens := _OPENS.match(line)):
            if part:
                yield Segment("\n".join(part), is_code=False)
            part, fence = [line], opens[1]
        elif fence and _closes(line, fence):
            yield Segment("\n".join([*part, line]), is_code=True)
            part, fence = [], ""
        else:
            part.append(line)
    if part:
        yield Segment("\n".join(part), is_code=bool(fence))


def _closes(line: str, fence: str) -> bool:
    bare = line.strip(" ")
    return len(line) - len(line.lstrip(" ")) < 4 and len(bare) >= len(fence) and not bare.strip(fence[0])
