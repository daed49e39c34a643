"""A transcript as a web page: one file without scripts and without outside resources, to read, keep and print."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape, unescape
from importlib.resources import files
from typing import Any, Final

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.blocks import Attachment
from holdfast.checkpoints.transcript.export.content import Numbered
from holdfast.checkpoints.transcript.export.describe import Part, describe, describe_head
from holdfast.checkpoints.transcript.export.fences import Segment, segments
from holdfast.checkpoints.transcript.export.render import Block, render
from holdfast.checkpoints.transcript.export.text import ascii_json, iso, one_line

# A second safeguard: every text is escaped, and if one were not, this policy would keep it from running or loading.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

# The images that are shown. Browsers draw no others, or as documents that may refer to something else.
_SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"})

_HEAD: Final = re.compile(r'<meta name="holdfast-transcript" content="([^"]*)">\n')
_ENTRY: Final = re.compile(r'<article id="m([\d.]+)" class="[a-z ]+">\n')


class Html:
    """The format of `html`."""

    name = "html"
    seal = "<!-- holdfast seal sha256:{} -->\n"

    def head(self, head: Mapping[str, Any]) -> str:
        name = _escaped(f"Transcript of {head['thread_id']}")
        title = f'<p class="title" dir="auto">{_escaped(head["title"])}</p>\n' if head["title"] else ""
        rows = "".join(f"<dt>{_escaped(label)}</dt><dd>{_escaped(text)}</dd>\n" for label, text in describe_head(head))
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_escaped(_POLICY)}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="holdfast-transcript" content="{escape(ascii_json(head))}">\n'
            f"<title>{name}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{name}</h1>\n"
            f'{title}<dl>\n{rows}</dl>\n<p class="about">All times are UTC.</p>\n</header>\n'
        )

    def entry(self, found: Numbered, fields: Mapping[str, Any]) -> str:
        number, entry, call = found
        description = describe(entry)
        at = f'<time datetime="{iso(entry.at) or ""}">{_escaped(description.at)}</time>'
        made = [f'for the call in <a href="#m{call}">{call}</a>'] if call else []
        about = ", ".join([at, *made, *map(_escaped, description.notes)])
        tone = f"{description.tone} gone" if description.is_gone else description.tone
        who = f'<a href="#m{number}">{number}</a> <bdi>{_escaped(description.who)}</bdi>'
        parts = "".join(map(_part, description.parts))
        return (
            f'<article id="m{number}" class="{tone}">\n<h2>{who}</h2>\n'
            f'<p class="about">{about}</p>\n{parts}</article>\n'
        )

    def foot(self) -> str:
        return "</main>\n</body>\n</html>\n"

    def read_head(self, line: str) -> dict[str, Any] | None:
        found = _HEAD.fullmatch(line)
        head: dict[str, Any] | None = None if found is None else json.loads(unescape(found[1]))
        return head

    def blocks(self, lines: Iterable[str]) -> Iterator[Block]:
        number, block = "", list[str]()
        for line in lines:
            if begins := _ENTRY.fullmatch(line):
                number, block = begins[1], []
            block.append(line)
            if number and line == "</article>\n":
                yield Block(number, "".join(block))
                number = ""


def html(transcript: Transcript) -> Iterator[str]:
    """Yield the transcript as one HTML file, with a head and a seal."""
    return render(transcript, Html())


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text("utf-8")


def _part(part: Part) -> str:
    if part.form == "reasoning":
        return f"<details>\n<summary>{_escaped(part.label)}</summary>\n{_text(part.text)}</details>\n"
    if part.attachment is not None:
        caption = f"<figcaption><bdi>{_escaped(part.label)}</bdi></figcaption>"
        return f"<figure>\n{_image(part.attachment)}{caption}\n</figure>\n"
    kind = "decision" if part.form == "decision" else "label"
    label = f'<p class="{kind}"><bdi>{_escaped(part.label)}</bdi></p>\n' if part.label else ""
    if not part.text:
        return label
    if part.form in {"json", "decision"}:
        return f'{label}<pre dir="ltr">{escape(part.text)}</pre>\n'
    return f"{label}{_text(part.text)}"


def _text(text: str) -> str:
    return "".join(map(_segment, segments(text)))


def _segment(segment: Segment) -> str:
    if not segment.is_code:
        text = segment.text.strip("\n")  # the empty lines around a block of code
        return f'<div class="text" dir="auto" lang="">{escape(text)}</div>\n' if text else ""
    return f'<pre dir="ltr" lang=""><code>{escape(segment.text)}</code></pre>\n'


def _image(attachment: Attachment) -> str:
    """Return an image as an element; nothing for another attachment."""
    if attachment.data is None or attachment.mime_type not in _SHOWN:
        return ""
    data = base64.b64encode(attachment.data).decode()
    return f'<img src="data:{attachment.mime_type};base64,{data}" alt="{_escaped(attachment.name or "Image")}">\n'


def _escaped(text: str) -> str:
    return escape(one_line(text))
