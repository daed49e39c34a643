"""Answers are recorded by compare-and-set: the first one is kept, and several of one run are kept together or not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import RequestClosed, UnknownInterrupt
from holdfast.checkpoints.interrupts.answers import Answered, answered_of, pack_answer, stored_digest
from holdfast.checkpoints.moments import utc_datetime


class _NotAll(Exception):
    """Takes a transaction back in which not all answers could be recorded."""


class Recording:
    """The part of `Interrupts` that records answers."""

    _database: Database

    def _record(
        self, thread_id: str, interrupt_id: str, answer: Any, by: str | None, also: Sequence[Call] = (), **where: Any
    ) -> tuple[bool, Answered]:
        """Record an answer, and return whether it was the first, with the one on record."""
        place = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        given = self._stored(thread_id, interrupt_id, answer, by, **where)
        is_own, row = self._insert_answer(place, given, also)
        if row is None:
            self._add_unlisted(str(thread_id))
            is_own, row = self._insert_answer(place, given, also)
        return is_own, self._judged(thread_id, interrupt_id, row)

    def _stored(self, thread_id: str, interrupt_id: str, answer: Any, by: str | None, **where: Any) -> dict[str, Any]:
        """Return an answer as it is stored."""
        if isinstance(answer, Mapping) and by is None:
            by = answer.get("by")
        self._database.sealer.key_no(str(thread_id))
        type_, blob = pack_answer(self._database, str(thread_id), interrupt_id, answer)
        digest = stored_digest(self._database, str(thread_id), interrupt_id, answer)
        run = {"run_id": where.get("run_id"), "anywhere": int(where.get("anywhere", False))}
        return {"by": by, "type": type_, "blob": blob, "digest": digest, **run}

    def _judged(self, thread_id: str, interrupt_id: str, row: Row | None) -> Answered:
        """Return the answer on record.

        Raises:
            UnknownInterrupt: there is no such request.
            RequestClosed: it has none, or has expired.
        """
        if row is None:
            raise UnknownInterrupt(str(thread_id), interrupt_id)
        if row.answered_at is None:
            raise RequestClosed(
                str(thread_id), interrupt_id, expired_at=utc_datetime(row.expires_at) if row.is_late else None
            )
        recorded = self._answered(thread_id, row)
        if recorded.expired:
            raise RequestClosed(str(thread_id), interrupt_id, expired_at=utc_datetime(row.expires_at))
        return recorded

    def _insert_all(
        self, thread_id: str, given: Mapping[str, Mapping[str, Any]], also: Sequence[Call]
    ) -> tuple[str, Row | None] | None:
        """Record answers, all or none. Return the first that could not be, with the row of its request."""
        sql, thread = self._database.backend.sql, {"thread_id": thread_id}
        with suppress(_NotAll), self._database.backend.writing() as transaction:
            transaction.run([(sql["adopt_thread"], thread), (sql["lock_thread"], thread)])
            for interrupt_id, answer in given.items():
                place = {**thread, "interrupt_id": interrupt_id}
                inserted, found = transaction.run(
                    [(sql["record_answer"], {**place, **answer}), (sql["interrupt"], place)]
                )
                if not inserted:
                    lost = interrupt_id, found[0] if found else None
                    raise _NotAll
            transaction.run(list(also))
            return None
        return lost

    def _insert_answer(
        self, place: Mapping[str, Any], given: Mapping[str, Any], also: Sequence[Call]
    ) -> tuple[bool, Row | None]:
        sql = self._database.backend.sql
        # The lock keeps the thread from going on meanwhile. If it is unknown whether the commit took place, it is not
        # repeated: this answer would then look like an earlier one by another person.
        _, _, inserted, found, *_ = self._database.write(
            (sql["adopt_thread"], {"thread_id": place["thread_id"]}),
            (sql["lock_thread"], {"thread_id": place["thread_id"]}),
            (sql["record_answer"], {**place, **given}),
            (sql["interrupt"], place),
            *also,
            repeatable=False,
        )
        return bool(inserted), found[0] if found else None

    def _answered(self, thread_id: str, row: Row) -> Answered:
        return answered_of(self._database, thread_id, row)

    @abstractmethod
    def _add_unlisted(self, thread_id: str | None) -> None:
        """Add requests for the pauses that a stock saver, or a version without requests, has saved."""
