"""What a conversation can be written as. Apart, so that an option can name it before anything slow is imported."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A form of `holdfast threads export`: all of a conversation, or what was said in it."""

    HOLDFAST = "holdfast"

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    HTML = "html"
