"""Transcripts as text, for programs and for people: JSONL, Markdown and HTML.

    for part in export.html(checkpointer.transcript("ada-1")):
        file.write(part)

Each export is a generator of parts of the text, so that a long conversation is never in memory as a whole. Write them
as UTF-8, with the line ends that they have. `verify` checks such a file.
"""

from __future__ import annotations

from holdfast.checkpoints.transcript.export.content import Numbered, numbered
from holdfast.checkpoints.transcript.export.describe import Part, describe, source_label
from holdfast.checkpoints.transcript.export.facts import FORMAT
from holdfast.checkpoints.transcript.export.html import html
from holdfast.checkpoints.transcript.export.jsonl import jsonl, lines
from holdfast.checkpoints.transcript.export.markdown import markdown
from holdfast.checkpoints.transcript.export.text import when
from holdfast.checkpoints.transcript.export.verify import Difference, Verification, verify

__all__ = [
    "FORMAT",
    "Difference",
    "Numbered",
    "Part",
    "Verification",
    "describe",
    "html",
    "jsonl",
    "lines",
    "markdown",
    "numbered",
    "source_label",
    "verify",
    "when",
]
