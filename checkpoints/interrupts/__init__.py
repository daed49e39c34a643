"""What waits for a person, over all threads, and who answered.

A question gets its row in the transaction that saves the pause, from every graph (see `asking`). An answer is recorded
before anything is done with it, and only one is taken: of several people who answer at the same moment, one wins, and
the others are told who. What was answered and not carried out yet, because the process died in between, is in `todo`.

A question's text stays where LangGraph keeps it, in the writes of the task that paused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final, NamedTuple

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call, CheckpointKey, Row, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained
from holdfast.checkpoints.errors import AlreadyAnswered, HoldfastError, RequestClosed, UnknownInterrupt
from holdfast.checkpoints.interrupts.record import listed, opened, pauses
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking

LIMIT: Final = 1000

_EXPIRED: Final = {"expired": True}


class Waiting(NamedTuple):
    """A question that waits for a person."""

    thread_id: str
    interrupt_id: str
    value: Any
    """What the graph gave to `interrupt`; `None` if it cannot be read."""
    asked_at: float
    """Epoch seconds, by the database's clock."""
    expires_at: float | None
    user_id: str | None
    """Whose thread it is, if its checkpoint says so."""
    problem: HoldfastError | None = None
    """Why the question cannot be read."""


class Answered(NamedTuple):
    """An answer on record."""

    thread_id: str
    interrupt_id: str
    answer: Any
    """As it was given; `None` if nobody answered in time."""
    by: str | None
    at: float
    """Epoch seconds, by the database's clock."""
    digest: bytes
    """Of what was decided, without by whom and when."""
    expired: bool
    """Nobody has answered in time, and this stands for that."""
    allowed: float | None
    """How many seconds there were for an answer; `None`: any number."""

    def told(self) -> AlreadyAnswered:
        """What somebody is told who answers it too."""
        kind = self.answer.get("type") if isinstance(self.answer, Mapping) else None
        decision = kind if isinstance(kind, str) else None
        return AlreadyAnswered(self.thread_id, self.interrupt_id, decision=decision, by=self.by, at=self.at)


@dataclass
class Interrupts:
    """The questions of a database. All of it blocks: on an event loop, use `HoldfastSaver.offload`."""

    _database: Database
    _looked_at: float | None = field(default=None, init=False, repr=False)

    def waiting(self, limit: int = LIMIT, thread_id: str | None = None, user_id: str | None = None) -> list[Waiting]:
        """What waits, newest first; the questions of one step in the order of their tasks.

        Args:
            limit: how many at the most.
            thread_id: only in this thread.
            user_id: only in this user's threads.
        """
        self._list_others(thread_id)
        statement, params = self._of_thread("waiting", "i", thread_id)

        def read() -> list[tuple[Row, Any]]:
            with self._database.backend.reading() as transaction:
                [found] = transaction.run([(statement, {**params, "user_id": asked_user(user_id), "limit": limit})])
                return [(row, self._read(transaction, row)) for row in found]

        placed = [entry for row, asked in persist(self._database.backend, read) for entry in self._waiting(row, asked)]
        steps = groupby(placed, key=lambda entry: entry[0].thread_id)
        return [entry for _, step in steps for entry, _ in sorted(step, key=lambda entry: entry[1])]

    def answer(self, thread_id: str, interrupt_id: str, answer: Any, by: str | None = None) -> Answered:
        """Record an answer, before it is carried out. The first one is taken, and stays.

        What the answer means is the graph's own matter: give it one that fits.

        Args:
            thread_id: in which thread.
            interrupt_id: to which question.
            answer: what the graph's `interrupt` is to return.
            by: who answers. An answer that is a dict may say so itself, under "by".

        Raises:
            AlreadyAnswered: somebody was first; the error says who, and when.
            QuestionClosed: it waits no more: the thread went on without an answer, or nobody answered in time.
            UnknownInterrupt: nothing was asked under this id.
        """
        mine, found = self._record(thread_id, interrupt_id, answer, by)
        if not mine:
            raise found.told()
        return found

    def settle(
        self, thread_id: str, interrupt_id: str, answer: Any, *, run_id: str | None = None, anywhere: bool = False
    ) -> Answered:
        """As `answer`, for the run that the answer was given to; gives what is on record then, which may be another.

        Args:
            thread_id, interrupt_id, answer: as in `answer`.
            run_id: the run, so that it can be taken back.
            anywhere: whether the run was sent to an older checkpoint on purpose.

        Raises:
            QuestionClosed, UnknownInterrupt: as `answer`.
        """
        return self._record(thread_id, interrupt_id, answer, None, run_id=run_id, anywhere=anywhere)[1]

    def recorded(self, thread_id: str, interrupt_id: str) -> Answered | None:
        """The answer that is on record for a question, if there is one."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [rows] = self._database.read((self._database.backend.sql["interrupt"], params))
        return next((self._answered(thread_id, row) for row in rows if row[1] is not None), None)

    def was_asked(self, thread_id: str, interrupt_id: str) -> bool:
        """Whether there is such a question, answered or not."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [rows] = self._database.read((self._database.backend.sql["interrupt"], params))
        return bool(rows)

    def answered(self, beginning: str, thread_id: str | None = None) -> Answered | None:
        """The last answer to a question whose id begins like this, in any thread or in this one."""
        statement, params = self._of_thread("answered", "i", thread_id)
        bounds = {"first": beginning, "last": beginning + "g"}  # an id is hexadecimal
        [rows] = self._database.read((statement, {**params, **bounds}))
        return next((self._answered(thread, row) for thread, *row in rows), None)

    def is_dropped(self, thread_id: str, interrupt_id: str) -> bool:
        """Whether the thread has gone on without carrying out the answer to a question."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [[(dropped,)]] = self._database.read((self._database.backend.sql["is_dropped"], params))
        return bool(dropped)

    def todo(self, limit: int = LIMIT, thread_id: str | None = None) -> list[Answered]:
        """What was answered and is not carried out yet, the first answer first. Some of it is being carried out now.

        For our agent, any run of the thread carries it out, such as `Conversation.retry`; any other graph is given
        it: `graph.invoke(Command(resume={found.interrupt_id: found.answer}), …)`.
        """
        statement, params = self._of_thread("todo", "i", thread_id)
        [rows] = self._database.read((statement, {**params, "limit": limit}))
        return [self._answered(thread, row) for thread, *row in rows]

    def expire(self, limit: int = LIMIT) -> list[str]:
        """Close the questions that nobody has answered in time, as if that were an answer.

        Returns:
            The threads in which there were any; `todo` has them until they are carried out.
        """
        sql = self._database.backend.sql
        _, rows = self._database.write(
            (sql["close_all_passed"], {}),
            (sql["expire_interrupts"], {"limit": limit, "digest": answer_digest(_EXPIRED)}),
        )
        return sorted({str(thread_id) for (thread_id,) in rows})

    def reopen(self, answered: Answered) -> bool:
        """Let a question wait again whose answer turned out not to fit; says whether that answer was still there."""
        params = {key: getattr(answered, key) for key in ("thread_id", "interrupt_id", "digest")}
        [rows] = self._database.write((self._database.backend.sql["reopen_answer"], params))
        return bool(rows)

    # --- recording

    def _record(
        self, thread_id: str, interrupt_id: str, answer: Any, by: str | None, **where: Any
    ) -> tuple[bool, Answered]:
        """Whether this answer was taken, and the one that is on record."""
        if isinstance(answer, Mapping) and by is None:
            by = answer.get("by")
        type_, blob = self._pack(thread_id, interrupt_id, answer)
        place = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        given = {"by": by, "type": type_, "blob": blob, "digest": answer_digest(answer, self._key(thread_id))}
        how = {"run_id": where.get("run_id"), "anywhere": int(where.get("anywhere", False))}
        mine, row = self._take(place, {**given, **how})
        if row is None:
            self._list_others(str(thread_id))
            mine, row = self._take(place, {**given, **how})
        if row is None:
            raise UnknownInterrupt(str(thread_id), interrupt_id)
        if row[1] is None:
            raise RequestClosed(str(thread_id), interrupt_id, expired_at=row[8] if row[9] else None)
        found = self._answered(thread_id, row)
        if found.expired:
            raise RequestClosed(str(thread_id), interrupt_id, expired_at=row[8])
        return mine, found

    def _take(self, place: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[bool, Row | None]:
        sql = self._database.backend.sql
        # With the thread locked, it cannot go on meanwhile. Not repeated when nobody knows whether it was committed:
        # one's own answer would look like somebody else's who was first.
        *_, taken, found = self._database.write(
            (sql["adopt_thread"], {"thread_id": place["thread_id"]}),
            (sql["lock_thread"], {"thread_id": place["thread_id"]}),
            (sql["record_answer"], {**place, **given}),
            (sql["interrupt"], place),
            repeatable=False,
        )
        return bool(taken), found[0] if found else None

    # --- to bytes and back

    def _key(self, thread_id: str) -> bytes:
        return self._database.sealer.digest_key(str(thread_id))

    def _pack(self, thread_id: str, interrupt_id: str, answer: Any) -> tuple[str, bytes]:
        body = Packing(self._database.types).pack(answer)
        return self._database.sealer.seal_value(str(thread_id), _answer_place(interrupt_id), "msgpack", body)

    def _answered(self, thread_id: str, row: Sequence[Any]) -> Answered:
        return answered_of(self._database, thread_id, row)

    def _waiting(self, row: Row, asked: Sequence[Any] | HoldfastError) -> list[tuple[Waiting, tuple[str, str, int]]]:
        """A question with its place among those of its step; nothing, if its task asks something else by now."""
        thread_id, interrupt_id, _, task_id, task_path, asked_at, expires_at, _, _, user_id = row
        facts = (asked_at, expires_at, user_id or None)
        if isinstance(asked, HoldfastError):
            return [(Waiting(thread_id, interrupt_id, None, *facts, asked), (task_path or "", task_id, 0))]
        return [
            (Waiting(thread_id, interrupt_id, pause.value, *facts), (task_path or "", task_id, place))
            for place, pause in enumerate(pauses(asked))
            if pause.id == interrupt_id
        ]

    def _read(self, transaction: Transaction, row: Row) -> Any:
        """What a task asks; or, in place of it, why it cannot be read: one question does not hide the others."""
        thread_id, _, checkpoint_id, task_id, *_ = row
        key = CheckpointKey(thread_id, "", checkpoint_id)
        return opened(transaction, self._database, key, task_id, row[7], row[8])

    # --- pauses that were saved by somebody else

    def _list_others(self, thread_id: str | None) -> None:
        if thread_id is None:
            now = time.monotonic()
            if self._looked_at is not None and now < self._looked_at + times.UNLISTED_PAUSES_POLL:
                return
            self._looked_at = now
        statement, params = self._of_thread("unlisted", "c", thread_id)
        calls: list[Call] = []
        with self._database.backend.reading() as transaction:
            [rows] = transaction.run([(statement, params)])
            for thread, checkpoint_id, task_id, type_, blob in rows:
                key = CheckpointKey(thread, "", checkpoint_id)
                asked = opened(transaction, self._database, key, task_id, type_, blob)
                calls += listed(self._database, key, task_id, pauses(asked), asked_at=moment_of(checkpoint_id))
        if calls:
            self._database.write(*calls)

    def _of_thread(self, name: str, table: str, thread_id: str | None) -> tuple[Any, dict[str, Any]]:
        statement = self._database.backend.sql[name]
        if thread_id is None:
            return statement.where(), {}
        return statement.where(f"{table}.thread_id = :thread_id"), {"thread_id": str(thread_id)}


def answered_of(database: Database, thread_id: str, row: Sequence[Any]) -> Answered:
    """The answer in a row of the statement `interrupt`.

    Raises:
        DamagedThread, NotStorable: it cannot be read.
    """
    interrupt_id, at, by, type_, blob, digest, expired, asked_at, expires_at, *_ = row
    answer = None
    if type_ is not None:
        with explained(str(thread_id), interrupt_id, "answer"):
            sealed = database.sealer.open_value(str(thread_id), _answer_place(interrupt_id), type_, blob)
            answer = Unpacking(database.types).unpack(sealed[1])
    allowed = None if expires_at is None else expires_at - asked_at
    return Answered(str(thread_id), interrupt_id, answer, by, at, bytes(digest), bool(expired), allowed)


def answer_digest(answer: Any, key: bytes = b"") -> bytes:
    """What was decided, without by whom and when, as a digest: the same decision has the same one."""
    if isinstance(answer, Mapping):
        answer = {name: value for name, value in answer.items() if name not in {"by", "at"} and value is not None}
    text = json.dumps(answer, sort_keys=True, separators=(",", ":"), default=repr)
    return blake2b(text.encode(), digest_size=16, key=key).digest()


def _answer_place(interrupt_id: str) -> str:
    return f"interrupts\0{interrupt_id}\0answer"
