"""Transcripts as text, for programs and for people: JSONL, Markdown and HTML.

    for part in exports.html(checkpointer.transcript("ada-1")):
        file.write(part)

Each is a generator of parts of the text, so that a long conversation is never in memory as a whole. Write them as
UTF-8.
"""

from __future__ import annotations

from holdfast.checkpoints.transcript.exports.jsonl import jsonl
from holdfast.checkpoints.transcript.exports.markdown import markdown
from holdfast.checkpoints.transcript.exports.webpage import html

__all__ = ["html", "jsonl", "markdown"]
