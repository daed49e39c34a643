"""The order of a transcript: numbered messages, events that follow a message, and dated answers. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry

T = TypeVar("T")


class Peekable(Generic[T]):
    """An iterator whose next item can be read without taking it."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.head = next(items, None)
        """The next item, or `None` at the end."""

    def take(self) -> T:
        """Return the next item, which exists, and move on."""
        head = self.head
        assert head is not None  # noqa: S101 - callers check `head` first
        self.head = next(self._items, None)
        return head


def entries_before(
    events: Peekable[EventEntry], answers: Peekable[ApprovalEntry], last: int, seq: float, at: datetime | None
) -> Iterator[Entry]:
    """Take the events and answers that come after one message and before the next.

    Args:
        events, answers: what is left of the thread's events and answers, in order.
        last: the number of the message before.
        seq: the number of the message after.
        at: its time; `None` at the end.
    """
    while True:
        event = events.head if events.head is not None and events.head.seq < seq else None
        answer = answers.head if answers.head is not None and (at is None or answers.head.at < at) else None
        if answer is not None and (event is None or answer.at < event.at):
            yield replace(answers.take(), seq=last)
        elif event is not None:
            yield events.take()
        else:
            return
