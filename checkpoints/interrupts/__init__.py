"""Requests for a person, over all threads, and their answers.

A request is a pause of any graph (`interrupt`). Its row is saved in the transaction that saves the pause (see
`record`). An answer is recorded before it is carried out, and the first one is kept: of several people who answer at
the same moment one wins, and the others get an error that names the winner. `Interrupts.todo` has the answers that were
recorded and not carried out yet, because the process died in between.

The text of a request stays where LangGraph keeps it, in the writes of the task that paused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.arguments import check_count, checks_arguments
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import HoldfastError, InvalidAnswer, ReadOnlyDatabase
from holdfast.checkpoints.interrupts.answers import Answered, answer_digest, is_same_answer
from holdfast.checkpoints.interrupts.forms import answer_problem
from holdfast.checkpoints.interrupts.record import insert_requests, interrupts_in, read_interrupts
from holdfast.checkpoints.interrupts.recording import Recording
from holdfast.checkpoints.interrupts.resume import answers_by_id, forget_saved_answers
from holdfast.checkpoints.interrupts.waiting import Waiting
from holdfast.checkpoints.moments import utc_datetime

__all__ = ["LIMIT", "Answered", "Interrupts", "Waiting", "answer_digest", "answers_by_id"]

_log = logging.getLogger(__name__)

# Rows that a list gives by default: more than a person looks through.
LIMIT: Final = 1000

# What is digested in place of an answer that did not come in time.
_EXPIRED_ANSWER: Final = {"expired": True}


@checks_arguments
@dataclass
class Interrupts(Recording):
    """The requests of a database.

    Its methods block. For event loops there are twins, such as `awaiting`.
    """

    _database: Database
    _next_look: float = field(default=float("-inf"), init=False, repr=False)
    """When all threads are looked through next, on the clock `time.monotonic`."""

    def waiting(self, limit: int = LIMIT, thread_id: str | None = None, user_id: str | None = None) -> list[Waiting]:
        """List the requests that wait, newest first; those of one step in the order of their tasks.

        Args:
            limit: the maximum number of requests.
            thread_id: list only the requests of this thread.
            user_id: list only the requests in this user's threads.
        """
        check_count(limit, "limit")
        try:
            self._add_unlisted(thread_id)
        except ReadOnlyDatabase as error:
            _log.warning("Pauses that a stock saver has saved are not listed here: %s", error)
        statement, params = self._of_thread("waiting", "i", thread_id)

        def read() -> list[tuple[Row, Any]]:
            with self._database.backend.reading() as transaction:
                [found] = transaction.run([(statement, {**params, "user_id": asked_user(user_id), "limit": limit})])
                return [(row, self._read(transaction, row)) for row in found]

        ordered = [entry for row, value in persist(self._database.backend, read) for entry in self._waiting(row, value)]
        steps = groupby(ordered, key=lambda entry: entry[0].thread_id)
        return [request for _, step in steps for request, _ in sorted(step, key=lambda entry: entry[1])]

    def look_ahead(self, seconds: float) -> None:
        """Do now what `waiting` would have to do within some seconds: look through all threads for pauses of a stock
        saver. The more threads there are, the longer that takes.

        Args:
            seconds: the time until the next call.
        """
        if time.monotonic() + seconds >= self._next_look:
            self._next_look = float("-inf")
            self._add_unlisted()

    def answer(
        self, thread_id: str, interrupt_id: str, answer: Any, by: str | None = None, *,
        run_id: str | None = None, also: Sequence[Any] = ()
    ) -> Answered:  # fmt: skip
        """Record an answer, before it is carried out. The first answer is kept.

        It is checked first if the form of the request is known (see `Waiting.actions`): each action has a decision
        that is allowed, and edited arguments fit the schema if there is one. Any other request takes any answer.

        Args:
            thread_id: the thread of the request.
            interrupt_id: the request.
            answer: the value that the graph's `interrupt` returns.
            by: the author of the answer. An answer that is a dict may name its author under "by".
            run_id: the run that brings the answer.
            also: statements of the same transaction, which come after the answer is recorded.

        Raises:
            InvalidAnswer: the answer does not fit. The request still waits.
            AlreadyAnswered: another answer is on record; the error names its author and time.
            RequestClosed: the request waits no more: the thread went on without an answer, or the request expired.
            UnknownInterrupt: there is no request with this id.
        """
        self._check(thread_id, {interrupt_id: answer})
        is_own, recorded = self._record(thread_id, interrupt_id, answer, by, also, run_id=run_id)
        if not is_own:
            raise recorded.told()
        return recorded

    def answer_all(
        self, thread_id: str, answers: Mapping[str, Any], *, run_id: str | None = None, also: Sequence[Any] = ()
    ) -> None:
        """Record answers to several requests of a thread as `answer` does: all of them, or none.

        Args:
            thread_id: the thread.
            answers: the answers by the ids of their requests.
            run_id, also: as for `answer`.

        Raises:
            InvalidAnswer, AlreadyAnswered, RequestClosed, UnknownInterrupt: as `answer`, for the first that is refused.
        """
        self._check(thread_id, answers)
        given = {id_: self._stored(thread_id, id_, answer, None, run_id=run_id) for id_, answer in answers.items()}
        lost = persist(self._database.backend, lambda: self._insert_all(str(thread_id), given, also), repeatable=False)
        if lost is not None:
            interrupt_id, row = lost
            raise self._judged(thread_id, interrupt_id, row).told()

    def settle(
        self, thread_id: str, interrupt_id: str, answer: Any, *, run_id: str | None = None, anywhere: bool = False
    ) -> Answered:
        """Record the answer that a run was resumed with, and return the answer on record, which may be an earlier one.

        Args:
            thread_id, interrupt_id, answer: as in `answer`.
            run_id: the run; deleting it reopens the request.
            anywhere: whether the run resumes an older checkpoint on purpose.

        Raises:
            RequestClosed, UnknownInterrupt: as `answer`.
        """
        return self._record(thread_id, interrupt_id, answer, None, run_id=run_id, anywhere=anywhere)[1]

    def recorded(self, thread_id: str, interrupt_id: str) -> Answered | None:
        """Return the answer that is on record for a request, or `None`."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [rows] = self._database.read((self._database.backend.sql["interrupt"], params))
        return next((self._answered(thread_id, row) for row in rows if row.answered_at is not None), None)

    def was_asked(self, thread_id: str, interrupt_id: str) -> bool:
        """Return whether a request exists, answered or not."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [rows] = self._database.read((self._database.backend.sql["interrupt"], params))
        return bool(rows)

    def answered(self, prefix: str, thread_id: str | None = None) -> Answered | None:
        """Return the newest answer to a request whose id has this prefix, in any thread or in the one given."""
        statement, params = self._of_thread("answered", "i", thread_id)
        bounds = {"first": prefix, "last": prefix + "g"}  # an id is hexadecimal
        [rows] = self._database.read((statement, {**params, **bounds}))
        return next((self._answered(row.thread_id, row) for row in rows), None)

    def is_dropped(self, thread_id: str, interrupt_id: str) -> bool:
        """Return whether a thread has gone on without carrying out the answer to a request."""
        params = {"thread_id": str(thread_id), "interrupt_id": interrupt_id}
        [[row]] = self._database.read((self._database.backend.sql["is_dropped"], params))
        return bool(row.is_dropped)

    def todo(self, limit: int = LIMIT, thread_id: str | None = None) -> list[Answered]:
        """List the answers that are not carried out yet, oldest first. A run may be carrying out some of them now.

        With an agent of `build_graph`, any run of the thread carries them out, such as `Conversation.retry`. With
        another graph, resume it: `graph.invoke(Command(resume={answer.interrupt_id: answer.answer}), …)`.
        """
        check_count(limit, "limit")
        statement, params = self._of_thread("todo", "i", thread_id)
        [rows] = self._database.read((statement, {**params, "limit": limit}))
        return [self._answered(row.thread_id, row) for row in rows]

    def expire(self, limit: int = LIMIT) -> list[str]:
        """Record that requests have expired, as an answer to each, which `todo` lists until it is carried out.

        Args:
            limit: the maximum number of requests.

        Returns:
            The ids of their threads.
        """
        check_count(limit, "limit")
        sql = self._database.backend.sql
        _, rows = self._database.write(
            (sql["close_all_passed"], {}),
            (sql["expire_interrupts"], {"limit": limit, "digest": answer_digest(_EXPIRED_ANSWER)}),
        )
        return sorted({str(thread_id) for (thread_id,) in rows})

    def reopen(self, request: Answered | Waiting) -> bool:
        """Discard an answer that the graph cannot use, so that its request waits again.

        That is the answer on record, and the one that LangGraph has saved for the task, if a run was resumed with it
        and failed. Without this, each later run would read it again, and fail again.

        Args:
            request: the answer on record; or, if there is none, the request as `waiting` lists it.

        Returns:
            Whether there was an answer, and the request waits again.
        """
        thread_id, interrupt_id = str(request.thread_id), request.interrupt_id
        is_open = False
        if isinstance(request, Answered):
            params = {"thread_id": thread_id, "interrupt_id": interrupt_id, "digest": bytes.fromhex(request.digest)}
            [rows] = self._database.write((self._database.backend.sql["reopen_answer"], params))
            is_open = bool(rows)
        if not any(waiting.interrupt_id == interrupt_id for waiting in self.waiting(thread_id=thread_id)):
            return is_open
        return forget_saved_answers(self._database, thread_id, interrupt_id) or is_open

    def hold(self, thread_id: str, *, keep: Sequence[str] = (), close: Sequence[str] = ()) -> None:
        """Note which requests stay open when the thread goes on with a message, and which this message closes.

        A request that is kept waits, and takes an answer, until its call is asked about again or is carried out. What
        was noted of other requests of the thread is taken back.

        Args:
            thread_id: the thread.
            keep, close: the ids of the requests.
        """
        sql, thread = self._database.backend.sql, {"thread_id": str(thread_id)}
        noted: list[Call] = [(sql["keep_request"], {**thread, "interrupt_id": id_}) for id_ in keep]
        noted += [(sql["drop_request"], {**thread, "interrupt_id": id_}) for id_ in close]
        self._database.write((sql["release_requests"], thread), *noted)

    def held(self, thread_id: str) -> dict[str, bool]:
        """Return what `hold` has noted of the requests of a thread: whether each is kept."""
        [rows] = self._database.read((self._database.backend.sql["noted_requests"], {"thread_id": str(thread_id)}))
        return {row.interrupt_id: row.closed_why == "kept" for row in rows}

    def move(self, thread_id: str, interrupt_id: str, checkpoint_id: str, task_id: str) -> None:
        """Bind a request that was kept to the task that carries its answer out."""
        task = {"thread_id": str(thread_id), "checkpoint_id": checkpoint_id, "task_id": task_id}
        self._database.write((self._database.backend.sql["move_request"], {**task, "interrupt_id": interrupt_id}))

    def check_resume(self, thread_id: str, resume: Any) -> None:
        """Refuse to resume a thread with another answer than the one that is on record.

        Args:
            thread_id: the thread.
            resume: the `resume` of LangGraph's `Command`: an answer, or answers by interrupt id.

        Raises:
            AlreadyAnswered: another answer is on record. Nothing was saved, and nothing runs.
        """
        answers = answers_by_id(resume)
        if answers is None:
            # It is for the only request that waits: LangGraph refuses it if there are several.
            due = [done for done in self.todo(thread_id=thread_id) if not done.expired]
            answers = {done.interrupt_id: resume for done in due} if len(due) == 1 else {}
        for interrupt_id, answer in answers.items():
            first = self.recorded(thread_id, interrupt_id)
            if first is not None and not first.expired and not self.is_recorded(first, answer):
                raise first.told()

    def is_recorded(self, recorded: Answered, answer: Any) -> bool:
        """Return whether an answer is the one on record, without its author and time."""
        return is_same_answer(self._database, recorded, answer)

    # --- the same for event loops

    awaiting = async_twin(waiting)
    aanswer = async_twin(answer)
    asettle = async_twin(settle)
    arecorded = async_twin(recorded)
    atodo = async_twin(todo)
    aexpire = async_twin(expire)
    areopen = async_twin(reopen)
    ahold = async_twin(hold)
    aheld = async_twin(held)

    # --- inside

    def _check(self, thread_id: str, answers: Mapping[str, Any]) -> None:
        """Raise `InvalidAnswer` for an answer that does not fit. One whose request waits no more gets another error."""
        for request in self.waiting(thread_id=thread_id):
            if request.interrupt_id in answers:
                problem = answer_problem(request.value, request.schema, answers[request.interrupt_id])
                if problem is not None:
                    raise InvalidAnswer(str(thread_id), request.interrupt_id, problem)

    def _waiting(self, row: Row, value: Sequence[Any] | HoldfastError) -> list[tuple[Waiting, tuple[str, str, int]]]:
        """Return a request with its sort key among those of its step; nothing if its task has another request now."""
        thread_id, interrupt_id, _, task_id, task_path, asked_at, expires_at, _, _, user_id = row
        facts = (utc_datetime(asked_at), None if expires_at is None else utc_datetime(expires_at), user_id or None)
        if isinstance(value, HoldfastError):
            return [(Waiting(thread_id, interrupt_id, None, *facts, str(value)), (task_path or "", task_id, 0))]
        return [
            (
                Waiting(thread_id, interrupt_id, pause.value, *facts, None, getattr(pause, "response_schema", None)),
                (task_path or "", task_id, number),
            )
            for number, pause in enumerate(interrupts_in(value))
            if pause.id == interrupt_id
        ]

    def _read(self, transaction: Transaction, row: Row) -> Any:
        """Read what a task wrote when it paused, or return the error: one bad value must not hide the others."""
        thread_id, _, checkpoint_id, task_id, *_ = row
        key = CheckpointKey(thread_id, "", checkpoint_id)
        return read_interrupts(transaction, self._database, key, task_id, row[7], row[8])

    # --- pauses that were saved without a request

    def _add_unlisted(self, thread_id: str | None = None) -> None:
        """Add requests for the pauses that a stock saver, or a version without requests, has saved.

        Args:
            thread_id: the thread; by default all of them, if it is time for that.
        """
        begin = time.monotonic()
        if thread_id is None:
            if begin < self._next_look:
                return
            self._next_look = begin + times.UNLISTED_PAUSES_POLL
        statement, params = self._of_thread("unlisted", "asked", thread_id)
        calls: list[Call] = []
        with self._database.backend.reading() as transaction:
            [rows] = transaction.run([(statement, params)])
            for thread, checkpoint_id, task_id, type_, blob in rows:
                key = CheckpointKey(thread, "", checkpoint_id)
                pauses = interrupts_in(read_interrupts(transaction, self._database, key, task_id, type_, blob))
                calls += insert_requests(self._database, key, task_id, pauses, asked_at=moment_of(checkpoint_id))
        if calls:
            self._database.write(*calls)
        if thread_id is None:
            rest = times.UNLISTED_PAUSES_REST * (time.monotonic() - begin)
            self._next_look = begin + max(times.UNLISTED_PAUSES_POLL, rest)

    def _of_thread(self, name: str, table: str, thread_id: str | None) -> tuple[Any, dict[str, Any]]:
        statement = self._database.backend.sql[name]
        if thread_id is None:
            return statement.where(), {}
        return statement.where(f"{table}.thread_id = :thread_id"), {"thread_id": str(thread_id)}
