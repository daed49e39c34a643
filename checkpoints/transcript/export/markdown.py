"""A transcript in Markdown. Each text stands in a fence longer than any fence in it, so it is never markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.export.content import Numbered
from holdfast.checkpoints.transcript.export.describe import Part, describe, describe_head
from holdfast.checkpoints.transcript.export.render import Block, render
from holdfast.checkpoints.transcript.export.text import ascii_json, one_line

# Characters that begin markup, a link or a mention within a line. With a backslash before it, each is plain text.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>()&~!#|@$:.])")

_HEAD: Final = re.compile(r"<!-- holdfast-transcript (\{.*\}) -->\n")
_ENTRY: Final = re.compile(r'<a id="m([\d.]+)"></a>\n')
_FENCE: Final = re.compile(r"(`{3,})(json|text)?\n")


class Markdown:
    """The format of `markdown`."""

    name = "markdown"
    seal = "<!-- holdfast seal sha256:{} -->\n"

    def head(self, head: Mapping[str, Any]) -> str:
        title = f" · {_escaped(head['title'])}" if head["title"] else ""
        rows = "".join(f"- {label}: {_escaped(text)}\n" for label, text in describe_head(head))
        return (
            f"# Transcript of {_escaped(head['thread_id'])}{title}\n\n{rows}\nAll times are UTC. Images and other "
            f"attachments are named, and not shown.\n\n<!-- holdfast-transcript {ascii_json(head)} -->\n\n"
        )

    def entry(self, found: Numbered, fields: Mapping[str, Any]) -> str:
        description = describe(found.entry)
        number, made = found.number, [f"for the call in [{found.call}](#m{found.call})"] if found.call else []
        facts = ", ".join([description.at, *made, *map(_escaped, description.notes)])
        heading = f"## [{number}](#m{number}) · {_escaped(description.who)}"
        parts = "".join(map(_part, description.parts))
        return f'<a id="m{number}"></a>\n\n{heading}\n\n{facts}\n{parts}\n'

    def foot(self) -> str:
        return ""

    def read_head(self, line: str) -> dict[str, Any] | None:
        found = _HEAD.fullmatch(line)
        head: dict[str, Any] | None = None if found is None else json.loads(found[1])
        return head

    def blocks(self, lines: Iterable[str]) -> Iterator[Block]:
        number, block, fence = "", list[str](), ""
        for line in lines:
            begins = None if fence else _ENTRY.fullmatch(line)
            if begins is not None:
                if number:
                    yield Block(number, "".join(block))
                number, block = begins[1], []
            elif fence:
                fence = "" if line == f"{fence}\n" else fence
            elif opens := _FENCE.fullmatch(line):
                fence = opens[1]
            block.append(line)
        if number:
            yield Block(number, "".join(block))


def markdown(transcript: Transcript) -> Iterator[str]:
    """Yield the transcript in Markdown, with a head and a seal."""
    return render(transcript, Markdown())


def _part(part: Part) -> str:
    label = f"\n{_escaped(part.label)}\n" if part.label else ""
    if not part.text:
        return label
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", part.text)), default=0))
    return f"{label}\n{fence}{'json' if part.form in {'json', 'decision'} else 'text'}\n{part.text}\n{fence}\n"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(text))
