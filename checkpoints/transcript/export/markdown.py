"""A transcript in Markdown. Each text stands in a fence longer than any fence in it, so it is never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.export.describe import Part, describe
from holdfast.checkpoints.transcript.export.text import one_line

# Characters that begin markup, a link or a mention within a line. With a backslash before it, each is plain text.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>()&~!#|@$:.])")


def markdown(transcript: Transcript) -> Iterator[str]:
    """Yield the transcript in Markdown, entry by entry."""
    title = f" · {_escaped(transcript.title)}" if transcript.title else ""
    owner = f"User {_escaped(transcript.user_id)}. " if transcript.user_id else ""
    yield f"# Transcript of {_escaped(transcript.thread_id)}{title}\n\n{owner}All times are UTC.\n"
    if transcript.notice:
        yield f"\n{_escaped(transcript.notice)}\n"
    for entry in transcript.plain():
        description = describe(entry)
        number = f"{entry.seq} · " if entry.kind == "message" else ""
        facts = ", ".join([description.at, *map(_escaped, description.notes)])
        yield f"\n## {number}{_escaped(description.who)}\n\n{facts}\n"
        for part in description.parts:
            yield _part(part)


def _part(part: Part) -> str:
    label = f"\n{_escaped(part.label)}\n" if part.label else ""
    if not part.text:
        return label
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", part.text)), default=0))
    return f"{label}\n{fence}{part.form}\n{part.text}\n{fence}\n"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(text))
