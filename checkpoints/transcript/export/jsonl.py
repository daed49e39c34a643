"""A transcript for programs: JSONL, one JSON object in each line, in ASCII.

The first line is the head of the export (`"kind": "head"`), and the last its seal (`"kind": "seal"`). The lines between
are the entries, in the canonical form of `content`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.export.content import Numbered, canonical, entry_fields, numbered, parse
from holdfast.checkpoints.transcript.export.render import Block, render


class Jsonl:
    """The format of `jsonl`."""

    name = "jsonl"
    seal = '{{"kind":"seal","sha256":"{}"}}\n'

    def head(self, head: Mapping[str, Any]) -> str:
        return f"{json.dumps(head, allow_nan=False)}\n"

    def entry(self, found: Numbered, fields: Mapping[str, Any]) -> str:
        return f"{canonical(fields)}\n"

    def foot(self) -> str:
        return ""

    def read_head(self, line: str) -> dict[str, Any] | None:
        head: dict[str, Any] = json.loads(line)
        return head

    def blocks(self, lines: Iterable[str]) -> Iterator[Block]:
        for line in lines:
            try:
                yield Block(parse(line)["number"], line)
            except ValueError:
                yield Block("", line)


def jsonl(transcript: Transcript) -> Iterator[str]:
    """Yield a transcript as JSONL, with a head and a seal."""
    return render(transcript, Jsonl())


def lines(transcript: Transcript) -> Iterator[str]:
    """Yield the entries of a transcript as lines of JSONL, while they are read, without head and seal."""
    for found in numbered(transcript.plain()):
        yield f"{canonical(entry_fields(transcript.thread_id, found))}\n"
