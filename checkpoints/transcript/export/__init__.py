"""Transcripts as text, for programs and for people: JSONL, Markdown and HTML.

    for part in exports.html(checkpointer.transcript("ada-1")):
        file.write(part)

Each export is a generator of parts of the text, so that a long conversation is never in memory as a whole. Write them
as UTF-8.
"""

from __future__ import annotations

from holdfast.checkpoints.transcript.export.describe import Part, describe
from holdfast.checkpoints.transcript.export.html import html
from holdfast.checkpoints.transcript.export.jsonl import jsonl
from holdfast.checkpoints.transcript.export.markdown import markdown
from holdfast.checkpoints.transcript.export.text import when

__all__ = ["Part", "describe", "html", "jsonl", "markdown", "when"]
