"""The redaction of one message as a whole, in its thread and in the copies of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.checkpoints.redaction.patterns import Literals, Redactor
from holdfast.checkpoints.redaction.rows import (
    RowValues,
    blank_message,
    blank_row,
    is_summary,
    redacted_row,
    texts_in,
    texts_of,
)
from holdfast.checkpoints.redaction.thread import ThreadRedaction
from holdfast.checkpoints.redaction.values import OF_MESSAGE, Values
from holdfast.checkpoints.serde.messages import MessageRow


@dataclass
class Target:
    """A message: the id that it was given, and what is known of it once its rows are found."""

    message_id: str | None
    seq: int | None
    digests: set[bytes] = field(default_factory=set)
    contents: list[Any] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
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
        own, rest = (
            RowValues(redactor.text, work.database.types),
            Values(redactor.text, work.database.types, self._change),
        )

        def change(seq: int, row: MessageRow) -> MessageRow:
            if self._is_row(seq, row):
                return blank_row(row)
            return redacted_row(row, own) if is_summary(row) else row

        work.note_title()
        work.change_rows(change)
        work.change_rest(rest)
        work.end(rest)
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
                self.texts.update(texts_of(row))
        if self.message_id is not None and known == len(self.digests):
            looking = ThreadRedaction(work.transaction, work.database, work.thread_id, dry_run=True)
            looking.change_rest(Values(lambda text: text, work.database.types, self._note))

    def _is_row(self, seq: int, row: MessageRow) -> bool:
        if self.message_id is not None:
            return row.message_id == self.message_id or (row.message_id is None and row.digest in self.digests)
        return seq == self.seq and row.message_id is None and self.digests <= {row.digest}

    def _is_message(self, fields: dict[str, Any]) -> bool:
        id_ = fields.get("id")
        return id_ == self.message_id if id_ is not None else fields.get("content") in self.contents

    def _note(self, values: Values, fields: dict[str, Any]) -> dict[str, Any]:
        if self.message_id is not None and fields.get("id") == self.message_id:
            self.is_found = True
            self.contents.append(fields["content"])
            self.texts.update(texts_in(fields))
        return fields

    def _change(self, values: Values, fields: dict[str, Any]) -> dict[str, Any]:
        if not self._is_message(fields):
            return values.fields(fields, OF_MESSAGE)
        new = blank_message(fields)
        return fields if new == fields else new
