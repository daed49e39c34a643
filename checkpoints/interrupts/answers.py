"""Answers on record: as they are stored, and as they are returned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import AlreadyAnswered, row_explained
from holdfast.checkpoints.interrupts.decisions import decision_word
from holdfast.checkpoints.load import explained
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer on record."""

    thread_id: str
    interrupt_id: str
    answer: Any
    """The answer as it was given; `None` if the request expired."""
    by: str | None
    at: datetime
    """In UTC, by the database's clock."""
    digest: str
    """The digest of the decision, without its author and time, as it is stored, in hexadecimal."""
    expired: bool
    """True if no answer came in time."""
    allowed: float | None
    """The seconds that the request allowed for an answer; `None`: without limit."""

    def told(self) -> AlreadyAnswered:
        """Return the error for a second answer to the same request."""
        decision = decision_word(self.answer)
        return AlreadyAnswered(self.thread_id, self.interrupt_id, decision=decision, by=self.by, at=self.at)


def answered_of(database: Database, thread_id: str, row: Row) -> Answered:
    """Return the answer in a row of the statements `interrupt`, `answered` and `todo`.

    Raises:
        DamagedThread, NotStorable: the answer cannot be read.
    """
    answer = None
    if row.answer_type is not None:
        with explained(str(thread_id), row.interrupt_id, "answer"):
            place = places.answer(row.interrupt_id)
            _, body = database.sealer.open_value(str(thread_id), place, row.answer_type, row.answer)
            answer = Unpacking(database.types).unpack(body)
    with row_explained(str(thread_id), f"the answer to the request {row.interrupt_id}"):
        allowed = None if row.expires_at is None else row.expires_at - row.asked_at
        decided = (answer, row.answered_by, utc_datetime(row.answered_at), bytes(row.answer_digest).hex())
        return Answered(str(thread_id), row.interrupt_id, *decided, bool(row.expired), allowed)


def answer_digest(answer: Any) -> bytes:
    """Return the digest of a decision: of an answer without its author and time."""
    if isinstance(answer, Mapping):
        answer = {name: value for name, value in answer.items() if name not in {"by", "at"} and value is not None}
    text = json.dumps(answer, sort_keys=True, separators=(",", ":"), default=repr)
    return blake2b(text.encode(), digest_size=16).digest()


def is_same_answer(database: Database, recorded: Answered, answer: Any) -> bool:
    """Return whether an answer is the one on record, of which texts may have been redacted."""
    if answer_digest(recorded.answer) == answer_digest(answer):
        return True
    return recorded.digest == stored_digest(database, recorded.thread_id, recorded.interrupt_id, answer).hex()


def pack_answer(database: Database, thread_id: str, interrupt_id: str, answer: Any) -> tuple[str, bytes]:
    """Return the type and the bytes of an answer as they are stored."""
    body = Packing(database.types).pack(answer)
    if database.storage_filter is not None:
        body = database.storage_filter.body("msgpack", body)
    return database.sealer.seal_value(thread_id, places.answer(interrupt_id), "msgpack", body)


def stored_digest(database: Database, thread_id: str, interrupt_id: str, answer: Any) -> bytes:
    """Return the digest of an answer as it is stored."""
    return database.sealer.seal_bytes(thread_id, places.answer_digest(interrupt_id), answer_digest(answer))
