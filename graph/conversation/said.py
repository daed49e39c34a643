"""The messages that were said in a conversation, from its transcript and its state. Pure, no I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

from langchain_core.messages import AnyMessage

from holdfast.checkpoints import Entry, EventEntry, MessageEntry
from holdfast.graph.context.summary import SUMMARY_NAME
from holdfast.graph.messages import CallGroup, group_calls

Key: TypeAlias = str | int
"""The id of a message, or the number of its row if it has none."""

_log = logging.getLogger(__name__)


def said(entries: Iterable[Entry], state: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return what was said since the last restart, without what was undone, oldest first.

    A message that was edited has its first place and its last text. An answer to a call is behind its call. What a
    middleware added in the role of a person, such as a summary, was not said.

    Args:
        entries: the transcript of the thread.
        state: the messages in its state, which have the order that the model sees. Those that no transcript has yet are
            the results of a step that has not ended, or all messages of a stock saver.
    """
    places: dict[Key, int] = {}
    messages: dict[Key, AnyMessage] = {}
    added: set[str | None] = set()
    for entry in _standing(entries):
        if entry.source is not None:
            added.add(entry.message_id)
        elif entry.message is None:
            _log.warning("Message %s of a history is left out: %s", entry.message_id or entry.seq, entry.problem)
        elif not (entry.role == "system" and entry.name == SUMMARY_NAME):
            places.setdefault(entry.message_id or entry.seq, entry.seq)
            messages[entry.message_id or entry.seq] = entry.message  # type: ignore[assignment]
    present = [m for m in state if (m.id or not messages) and (m.id is None or m.id not in added)]
    left = [(places[key], message) for key, message in messages.items() if key not in {m.id for m in present}]
    return _with_answers_behind_calls(_merged(left, present, places))


def _standing(entries: Iterable[Entry]) -> list[MessageEntry]:
    """Return the messages of a transcript that no restart and no undo has taken back."""
    standing: list[MessageEntry] = []
    for entry in entries:
        if isinstance(entry, MessageEntry) and entry.undone is None:
            standing.append(entry)
        elif isinstance(entry, EventEntry) and entry.event == "restart":
            standing.clear()
    return standing


def _merged(
    left: Sequence[tuple[int, AnyMessage]], state: Sequence[AnyMessage], places: dict[Key, int]
) -> list[AnyMessage]:
    """Put the messages that have left the state, with the numbers of their rows, among those that are in it."""
    last = max(places.values(), default=0) + 1
    numbers = [places.get(message.id or "", last) for message in state]
    # A late answer to an early call has a high number, and stands before messages that have lower ones.
    starts = list(accumulate(reversed(numbers), min))[::-1]
    ordered = sorted(
        [*((at, 0, message) for at, message in left), *zip(starts, [1] * len(state), state, strict=True)],
        key=lambda item: item[:2],
    )
    return [message for _, _, message in ordered]


def _with_answers_behind_calls(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    ordered: list[AnyMessage] = []
    for item in group_calls(messages):
        if isinstance(item, CallGroup):
            ordered += [item.message, *item.answers.values()]
        else:
            ordered.append(item)
    return ordered
