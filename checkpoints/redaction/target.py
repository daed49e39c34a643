"""The redaction of one message as a whole, in its thread and in the copies of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.checkpoints.redaction.patterns import PLACEHOLDER, Literals, Redactor
from holdfast.checkpoints.redaction.rows import (
    Fields,
    RowValues,
    blank_call,
    blank_message,
    blank_row,
    fields_of,
    is_summary,
    redacted_row,
    said_in,
    texts_in,
)
from holdfast.checkpoints.redaction.thread import ThreadRedaction
from holdfast.checkpoints.redaction.values import Text, Values, is_message_like
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.threads.index import title_of


@dataclass
class Target:
    """A message: the id that it was given, and what is known of it once its rows are found."""

    message_id: str | None
    seq: int | None
    digests: set[bytes] = field(default_factory=set)
    contents: list[Any] = field(default_factory=list)
    calls: list[tuple[Any, Any]] = field(default_factory=list)
    """The name and the arguments of each of its tool calls."""
    texts: set[str] = field(default_factory=set)
    titles: set[str | None] = field(default_factory=set)
    """What a thread is called whose first message it is."""
    is_found: bool = False

    @classmethod
    def of(cls, message: str | int) -> Target:
        """Return the target of a message's id, or of its number in the transcript."""
        return cls(message, None) if isinstance(message, str) else cls(None, message)

    def redact(self, work: ThreadRedaction) -> Redactor:
        """Redact the message and its texts in one thread, and return what counts the findings."""
        self._look(work)
        literals = Literals(sorted(self.texts, key=lambda text: (-len(text), text)))
        redactor = Redactor([literals])
        own, rest = RowValues(redactor.text, work.database.types), _Values(redactor.text, work.database.types, self)

        def change(seq: int, row: MessageRow) -> MessageRow:
            if self._is_row(seq, row):
                return blank_row(row)
            return redacted_row(row, own) if is_summary(row) else row

        work.note_title()
        work.change_rows(change)
        work.change_rest(rest)
        work.end(_Titles(redactor.text, work.database.types, self))
        return redactor

    def _look(self, work: ThreadRedaction) -> None:
        """Find the rows of the message; or, in a thread of a stock saver, the message within the values."""
        if self.seq is not None and not self.is_found:
            self.message_id = next((row.message_id for seq, row in work.rows() if seq == self.seq), None)
        known = len(self.digests)
        for seq, row in work.rows():
            if self._is_row(seq, row):
                self.is_found = True
                self.digests.add(row.digest)
                self._learn(fields_of(row))
        if self.message_id is not None and known == len(self.digests):
            looking = ThreadRedaction(work.transaction, work.database, work.thread_id, dry_run=True)
            looking.change_rest(_Looking(lambda text: text, work.database.types, self))

    def _is_row(self, seq: int, row: MessageRow) -> bool:
        if self.message_id is not None:
            return row.message_id == self.message_id or (row.message_id is None and row.digest in self.digests)
        return seq == self.seq and row.message_id is None and self.digests <= {row.digest}

    def _learn(self, fields: Fields) -> None:
        self.texts.update(texts_in(fields))
        self.titles.update(title_of(text) for text in said_in(fields))
        calls = fields.get("tool_calls") or ()
        self.calls += [
            (call.get("name"), call["args"]) for call in calls if isinstance(call, dict) and call.get("args")
        ]

    def learn_from(self, fields: Fields) -> None:
        """Take note of a message in the value of a stock saver, if it is this one."""
        if self.message_id is not None and fields.get("id") == self.message_id:
            self.is_found = True
            self.contents.append(fields["content"])
            self._learn(fields)

    def is_message(self, fields: Fields) -> bool:
        """Return whether the fields are those of the message."""
        id_ = fields.get("id")
        return id_ == self.message_id if id_ is not None else fields.get("content") in self.contents

    def is_call(self, fields: Fields) -> bool:
        """Return whether a dict is a call of the message, such as a request to approve it has."""
        return "args" in fields and (fields.get("name"), fields["args"]) in self.calls


class _Looking(Values):
    """A look at values for a message. Nothing changes."""

    def __init__(self, text: Text, types: Types, target: Target) -> None:
        super().__init__(text, types)
        self._target = target

    def fields(self, fields: Fields, skip: frozenset[str] | None = None) -> Fields:
        if is_message_like(fields):
            self._target.learn_from(fields)
        return super().fields(fields, skip)


class _Values(_Looking):
    """The redaction of values in which the message, its calls or its texts may be."""

    def fields(self, fields: Fields, skip: frozenset[str] | None = None) -> Fields:
        if is_message_like(fields) and self._target.is_message(fields):
            new = blank_message(fields)
        elif self._target.is_call(fields):
            new = blank_call(fields)
        else:
            return Values.fields(self, fields, skip)
        return fields if new == fields else new


class _Titles(_Values):
    """The redaction of the title of a thread, which may be the words of the message, however short."""

    def text(self, text: str) -> str:
        return PLACEHOLDER if text in self._target.titles and text != PLACEHOLDER else super().text(text)
