"""The head of an export: what it is about, how much there is, and what it leaves out. Pure, no I/O."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, assert_never

from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.transcript import Bounds, Transcript
from holdfast.checkpoints.transcript.entries import ApprovalEntry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.content import VERSION, ContentDigest, Numbered, entry_fields, place_of
from holdfast.checkpoints.transcript.export.text import iso, plain, when

FORMAT: Final = "holdfast-transcript"

COUNTED: Final = (
    "entries",
    "messages",
    "events",
    "decisions",
    "attachments",
    "redacted",
    "unreadable",
    "without_result",
    "first_at",
    "last_at",
    "digest",
)
"""The facts that follow from the entries."""


@dataclass
class Facts:
    """What is known of an export as a whole. It is complete once all entries are counted."""

    transcript: Transcript
    entries: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    """Messages by role; those that a program added count as "added"."""
    decisions: Counter[str] = field(default_factory=Counter)
    events: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    redacted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    open_calls: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By the id of calls that have no result so far: the numbers of their messages."""
    attachments: int = 0
    elsewhere: int = 0
    """The attachments of which a message has no data, but an address."""
    digest: ContentDigest = field(default_factory=ContentDigest)

    def count(self, found: Numbered) -> dict[str, Any]:
        """Count an entry, and return its object."""
        number, entry, _ = found
        self.entries += 1
        self.first_at = entry.at if self.first_at is None else min(self.first_at, entry.at)
        self.last_at = entry.at if self.last_at is None else max(self.last_at, entry.at)
        match entry:
            case MessageEntry():
                self._count_message(number, entry)
            case ApprovalEntry():
                self.decisions[entry.decision or "answer"] += 1
            case EventEntry():
                self.events += 1
            case _:
                assert_never(entry)
        fields = entry_fields(self.transcript.thread_id, found)
        self.digest.add(fields)
        return fields

    def _count_message(self, number: str, entry: MessageEntry) -> None:
        self.roles["added" if entry.source else entry.role] += 1
        for note in (entry.approval, entry.effect):
            if note is not None and isinstance(decision := note.get("decision"), str):
                self.decisions[decision] += 1
        if entry.redacted_at is not None:
            self.redacted.append(number)
        if entry.problem is not None:
            self.unreadable.append(number)
        self._count_calls(number, entry)
        attachments = entry.attachments
        self.attachments += len(attachments)
        self.elsewhere += sum(attachment.size is None for attachment in attachments)

    def _count_calls(self, number: str, entry: MessageEntry) -> None:
        answered = None if entry.waits else entry.tool_call_id
        if answered and answered in self.open_calls:
            self.open_calls[answered].pop()  # ids such as "call_0" come again: it is for the last of them
            if not self.open_calls[answered]:
                del self.open_calls[answered]
        for call in entry.tool_calls:
            self.open_calls[call.id or ""].append(number)

    def left_out(self) -> Iterator[str]:
        """Yield what the export leaves out, in sentences."""
        bounds = self.transcript.bounds
        if bounds.after > 0:
            yield f"Messages up to number {bounds.after}, and what happened before."
        if bounds.since > -math.inf:
            yield f"What is older than {when(utc_datetime(bounds.since))}."
        if bounds.until < math.inf:
            yield f"What is not older than {when(utc_datetime(bounds.until))}."
        if self.transcript.notice:
            yield self.transcript.notice
        if self.elsewhere:
            yield f"Attachments that a message names by their address only: {self.elsewhere}."

    def as_json(self) -> dict[str, Any]:
        """Return the head as an object of plain JSON values."""
        transcript, bounds = self.transcript, self.transcript.bounds._asdict()
        head: dict[str, Any] = plain(
            {
                "kind": "head",
                "format": FORMAT,
                "version": VERSION,
                "holdfast": holdfast_version(),
                "thread_id": transcript.thread_id,
                "title": transcript.title,
                "user_id": transcript.user_id,
                "database": transcript.database,
                "exported_at": iso(transcript.read_at),
                "first_at": iso(self.first_at),
                "last_at": iso(self.last_at),
                "entries": self.entries,
                "messages": dict(self.roles),
                "events": self.events,
                "decisions": dict(self.decisions),
                "attachments": self.attachments,
                "redacted": self.redacted,
                "unreadable": self.unreadable,
                "without_result": sorted(
                    {number for open_ in self.open_calls.values() for number in open_}, key=place_of
                ),
                "left_out": list(self.left_out()),
                "bounds": {name: value if math.isfinite(value) else None for name, value in bounds.items()},
                "digest": self.digest.text(),
            }
        )
        return head


def bounds_in(head: Mapping[str, Any]) -> Bounds:
    """Return the part of the thread that an export has, from its head.

    Raises:
        TypeError, ValueError: the head was altered.
    """
    whole = Bounds()._asdict()
    given = {name: value for name, value in head["bounds"].items() if value is not None}
    return Bounds(**{**whole, **{name: type(whole[name])(value) for name, value in given.items()}})


@cache
def holdfast_version() -> str:
    """Return the version of Holdfast that is installed."""
    return version("holdfast")
