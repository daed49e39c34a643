"""A transcript as a web page: one file without scripts and without outside resources, to read, keep and print."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import Entry
from holdfast.checkpoints.transcript.export.describe import Part, describe
from holdfast.checkpoints.transcript.export.text import iso, one_line

# A second safeguard: every text is escaped, and if one were not, this policy would keep it from running or loading.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --soft: #55565c; --line: #d9dae0; --box: #f5f5f7;
  --user: #0b57a4; --agent: #1a6b37; --tool: #8a4b00; --system: #6a3aa0; --other: #55565c; }
@media screen and (prefers-color-scheme: dark) { :root { --ground: #16171a; --ink: #e8e8ec; --soft: #a9abb3;
  --line: #3a3c43; --box: #202228; --user: #8fc1ff; --agent: #84d8a0; --tool: #ffbd73;
  --system: #cfaaff; --other: #a9abb3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 48rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; }
h2 { font-size: 1rem; margin: 0; }
article { border-inline-start: 4px solid var(--tone); margin: 1.25rem 0; padding-inline-start: 0.75rem; }
article h2 { color: var(--tone); }
p { margin: 0.25rem 0; }
.about, .label { color: var(--soft); font-size: 0.875rem; }
.text { white-space: pre-wrap; unicode-bidi: isolate; margin: 0.25rem 0; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 4px; padding: 0.5rem; margin: 0.25rem 0;
  white-space: pre-wrap; font: 0.875rem/1.4 ui-monospace, monospace; unicode-bidi: isolate; }
.user { --tone: var(--user); } .agent { --tone: var(--agent); } .tool { --tone: var(--tool); }
.system { --tone: var(--system); } .other { --tone: var(--other); }
@media print { body { max-width: none; padding: 0; } h2, .about { break-after: avoid; } }
"""


def html(transcript: Transcript) -> Iterator[str]:
    """Yield the transcript as one HTML file, entry by entry."""
    name = _escaped(f"Transcript of {transcript.thread_id}")
    yield (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_escaped(_POLICY)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n"
    )
    if transcript.title:
        yield f'<p dir="auto">{_escaped(transcript.title)}</p>\n'
    owner = f"User {_escaped(transcript.user_id)}. " if transcript.user_id else ""
    yield f'<p class="about">{owner}All times are UTC.</p>\n'
    if transcript.notice:
        yield f"<p>{_escaped(transcript.notice)}</p>\n"
    for number, entry in enumerate(transcript.plain(), 1):
        yield _article(number, entry)
    yield "</main>\n</body>\n</html>\n"


def _article(number: int, entry: Entry) -> str:
    description = describe(entry)
    at = f'<time datetime="{iso(entry.at) or ""}">{_escaped(description.at)}</time>'
    about = ", ".join([at, *map(_escaped, description.notes)])
    head = f'<h2 id="e{number}"><bdi>{_escaped(description.who)}</bdi></h2>\n<p class="about">{about}</p>\n'
    parts = "".join(map(_part, description.parts))
    return f'<article class="{description.tone}" aria-labelledby="e{number}">\n{head}{parts}</article>\n'


def _part(part: Part) -> str:
    label = f'<p class="label"><bdi>{_escaped(part.label)}</bdi></p>\n' if part.label else ""
    if not part.text:
        return label
    if part.form == "json":
        return f'{label}<pre dir="ltr">{escape(part.text)}</pre>\n'
    return f'{label}<div class="text" dir="auto" lang="">{escape(part.text)}</div>\n'


def _escaped(text: str) -> str:
    return escape(one_line(text))
