"""One order out of messages, events and answers, which are numbered and dated each in its own way. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry

T = TypeVar("T")


class Peeking(Generic[T]):
    """Items of which the next can be looked at."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.head = next(items, None)

    def take(self) -> T:
        head = self.head
        assert head is not None  # noqa: S101 - who takes has looked
        self.head = next(self._items, None)
        return head


def before(
    events: Peeking[EventEntry], answers: Peeking[ApprovalEntry], last: int, seq: float, at: float
) -> Iterator[Entry]:
    """What comes before the message `seq`, which was said at `at`, and after the message `last`."""
    while True:
        event = events.head if events.head is not None and events.head.seq < seq else None
        answer = answers.head if answers.head is not None and answers.head.at < at else None
        if answer is not None and (event is None or answer.at < event.at):
            yield replace(answers.take(), seq=last)
        elif event is not None:
            yield events.take()
        else:
            return


class Decision(NamedTuple):
    """What tells that an answer on record and a note on a message are about the same."""

    decision: str
    by: str | None
    second: int
    """When, in whole epoch seconds: a note has no finer time."""


def decision_of(answer: ApprovalEntry) -> Decision:
    said = answer.answer if isinstance(answer.answer, Mapping) else {}
    second = _second(said.get("at"))
    if second is None:
        second = math.floor(answer.at) if math.isfinite(answer.at) else 0
    return Decision(answer.decision or "", said.get("by") or answer.by, second)


def decision_in(record: Mapping[str, Any]) -> Decision | None:
    decision, by, second = record.get("decision"), record.get("by"), _second(record.get("at"))
    if not isinstance(decision, str) or not isinstance(by, str | None) or second is None:
        return None
    return Decision(decision, by, second)


def _second(moment: Any) -> int | None:
    """A time in ISO 8601 in whole epoch seconds."""
    try:
        return math.floor(datetime.fromisoformat(moment).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
