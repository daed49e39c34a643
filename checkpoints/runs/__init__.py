"""Runs: turns that are accepted when they are in the database, and that any process can carry out.

Whoever accepts a run need not carry it out. A worker claims the first open run of a thread, renews its claim while it
lives, and records how the run ended. If the worker dies, its claim expires, and another worker goes on with the run.
The runs of one thread are claimed one after the other, in the order in which they were accepted.

The input of a run is stored until the run has ended. By then what it said is in its thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal

from langchain_core.messages import BaseMessage

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.config import run_value, thread_of, user_of
from holdfast.checkpoints.core.arguments import check_count, checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.encryption.keys_of_threads import write_with_key
from holdfast.checkpoints.errors import KeyReused, UnknownRun
from holdfast.checkpoints.load import MessageRows, explained
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.runs.claims import Claims
from holdfast.checkpoints.runs.records import Claimed, DeadTurn, NewRun, Run
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.transcript.header import MOST_ROWS

__all__ = ["Claimed", "Claims", "DeadTurn", "NewRun", "Run", "Runs"]

# As for lists of requests.
_LIMIT: Final = 1000

# The runs of a worker that one look tells to stop. They are first, so the next look tells the others.
_STOPS: Final = 16


@checks_arguments
class Runs:
    """The runs of a database.

    Its methods block. For event loops there are twins, such as `aget`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- accepting

    def accept(self, new: NewRun, *, owner: str | None = None) -> Run:
        """Accept a run. When this returns, it is in the database, and a worker will carry it out.

        Args:
            new: the run.
            owner: the worker that has the run from the start, as if it had claimed it.

        Returns:
            The run, or the one that was accepted earlier under the same idempotency key.

        Raises:
            KeyReused: the key was given for another request.
            InvalidThread: the id of the thread, or of the user, cannot be stored.
        """
        thread_of({"configurable": {"thread_id": new.thread_id}})
        self._insert(new, owner=owner)
        return self.earlier(new) or self.get(new.run_id)

    def acceptance(self, new: NewRun, *, answers: str | None = None, owner: str | None = None) -> list[Call]:
        """Return the calls that accept a run, for a transaction in which the thread is locked.

        Args:
            new: the run.
            answers: accept it only if it has answered the request with this id, in the same transaction.
            owner: as for `accept`.
        """
        sql, body = self._database.backend.sql, Packing(self._database.types).pack(dict(new.input))
        if self._database.storage_filter is not None:
            body = self._database.storage_filter.body("msgpack", body)
        sealer = self._database.sealer
        type_, blob = sealer.seal_value(new.thread_id, places.run_input(new.run_id), "msgpack", body)
        condition = [] if answers is None else [_HAS_ANSWERED]
        params = {
            "thread_id": new.thread_id,
            "run_id": new.run_id,
            "agent": new.agent,
            "user_id": user_of(new.user_id),
            "kind": new.kind,
            "type": type_,
            "blob": blob,
            "key": new.key,
            "owner": owner,
            "ttl": times.RUN_TTL,
            "digest": sealer.seal_bytes(new.thread_id, places.run_request(new.run_id), _digest(new)),
        }
        answered = {} if answers is None else {"interrupt_id": answers}
        return [
            (sql["accept_run"].where(*condition), {**params, **answered}),
            (sql["take_ticket"], {"thread_id": new.thread_id}),
        ]

    def earlier(self, new: NewRun) -> Run | None:
        """Return the run that was accepted earlier under the idempotency key of a new one; `None` if there is none.

        Raises:
            KeyReused: the key was given for another request.
        """
        if new.key is None:
            return None
        params = {"thread_id": new.thread_id, "key": new.key, "user_id": user_of(new.user_id)}
        [rows] = self._database.read((self._database.backend.sql["run_of_key"], params))
        for row in rows:
            place = places.run_request(row.run_id)
            if self._database.sealer.open_bytes(new.thread_id, place, bytes(row.request_digest)) != _digest(new):
                raise KeyReused(new.thread_id, new.key)
            return self._run_of(row)
        return None

    # --- turns without a run, whose process has died

    def dead_turns(self, purpose: str) -> Sequence[DeadTurn]:
        """Return the turns that have no run, whose process has died, and that nothing has gone on with since.

        A process that dies leaves its lease behind, until the next holder of a lease of the thread gives it back. A
        turn that was cancelled, or has raised an error, has given its lease back.

        Args:
            purpose: that of the leases.
        """
        params = {"purpose": purpose, "kept": times.DEAD_TURN_KEPT, "limit": _LIMIT}
        [rows] = self._database.read((self._database.backend.sql["dead_turns"], params))
        return [DeadTurn(row.thread_id, int(row.ticket), row.owner) for row in rows]

    def take_up(self, dead: DeadTurn, new: NewRun) -> Run | None:
        """Accept the run that goes on with a dead turn, unless something has gone on with it.

        Returns:
            The run, or `None`.
        """
        self._insert(new, dead=dead)
        with suppress(UnknownRun):
            return self.get(new.run_id)
        return None

    # --- reading

    def get(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            UnknownRun: there is none with this id.
        """
        call = self._database.backend.sql["run"], {"run_id": run_id}
        [rows] = self._database.read(call) if is_sql_text(run_id) else [[]]
        if not rows:
            raise UnknownRun(run_id)
        return self._run_of(rows[0])

    def list(self, thread_id: str, *, limit: int = _LIMIT) -> Sequence[Run]:
        """Return the runs of a thread, newest first.

        Args:
            thread_id: the thread.
            limit: the maximum number of runs.
        """
        check_count(limit, "limit")
        params = {"thread_id": str(thread_id), "limit": limit}
        [rows] = self._database.read((self._database.backend.sql["runs_of_thread"], params))
        return [self._run_of(row) for row in rows]

    def open(self, limit: int = _LIMIT) -> Sequence[Run]:
        """Return the runs that have not ended, of all threads, oldest first.

        Args:
            limit: the maximum number of runs.
        """
        check_count(limit, "limit")
        [rows] = self._database.read((self._database.backend.sql["open_runs"], {"limit": limit}))
        return [self._run_of(row) for row in rows]

    def some(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Return those of some runs that there are."""
        params = {"run_ids": self._database.backend.array(run_ids)}
        [rows] = self._database.read((self._database.backend.sql["some_runs"], params))
        return [self._run_of(row) for row in rows]

    def has_begun(self, run: Run) -> bool:
        """Return whether a checkpoint of a run is in its thread: an earlier attempt has taken its input."""
        params = {"thread_id": run.thread_id, "run_id": run.run_id, "run_value": run_value(run.run_id)}
        [[row]] = self._database.read((self._database.backend.sql["has_begun"], params))
        return bool(row.has_begun)

    def was_sent(self, run: Run) -> bool:
        """Return whether the message of a run is in its thread: an earlier attempt has sent it."""
        params = {"thread_id": run.thread_id, "run_id": run.run_id, "after": run.after_seq or 0}
        [[row]] = self._database.read((self._database.backend.sql["was_sent"], params))
        return bool(row.was_sent)

    def said(self, run: Run, *, after_seq: int = 0) -> Sequence[tuple[int, BaseMessage]]:
        """Return the messages that were said in a run so far, each with the number of its row, in their order.

        Args:
            run: the run.
            after_seq: return only messages with a higher number.

        Raises:
            DamagedThread, NotStorable: a message cannot be read.
        """
        if run.after_seq is None:
            return []
        until = MOST_ROWS if run.until_seq is None else run.until_seq
        bounds = {"thread_id": run.thread_id, "after": max(after_seq, run.after_seq), "until_seq": until}
        [found] = self._database.read((self._database.backend.sql["said"].where(), bounds))
        rows = MessageRows(run.thread_id, {row.seq: row for row in found}, {}, self._database)
        messages = rows.make([row.seq if row.message_id is not None else -row.seq for row in found])
        return list(zip((row.seq for row in found), messages, strict=True))

    # --- carrying out

    def claim(
        self, agent: str, owner: str, *, limit: int = 1, stop: Callable[[str], object] = lambda _: None
    ) -> Sequence[Claimed]:
        """Claim runs that no living worker has: of each thread its first open one, the oldest first.

        Args:
            agent: the name of the agent that can carry them out.
            owner: the worker. It renews its claims before `times.RUN_TTL` is over.
            limit: the maximum number of runs.
            stop: called with the id of each run that this worker has and that was asked to stop.
        """
        sql = self._database.backend.sql
        params = {"agent": agent, "owner": owner, "limit": limit + _STOPS}
        [found] = self._database.read((sql["free_runs"], params))
        for row in found:
            if row.is_stopped:
                stop(row.run_id)
        free = [row for row in found if not row.is_stopped][:limit]
        for row in free:
            if row.is_deleted:
                self._database.write((sql["delete_run"], {"run_id": row.run_id}))
        params = {"owner": owner, "ttl": times.RUN_TTL}
        claims = [(sql["claim_run"], {"run_id": row.run_id, **params}) for row in free if not row.is_deleted]
        # A claim whose commit was lost is not repeated: it would be found taken. It expires.
        claimed = self._database.write(*claims, repeatable=False) if claims else []
        return [Claimed(self._run_of(row), self._input(row), owner) for rows in claimed for row in rows]

    def claims(self, stop: Callable[[str], object]) -> Claims:
        """Return the claims of a new worker, which it renews until they end; see `Claims`.

        Args:
            stop: called with the id of a run that was asked to stop, or that another worker has by now.
        """
        return Claims(self, stop)

    def renew(self, owner: str, run_ids: Sequence[str]) -> dict[str, bool]:
        """Renew claims of a worker.

        Returns:
            The runs that it still has, by id, and whether each was asked to stop.
        """
        params = {"owner": owner, "run_ids": self._database.backend.array(run_ids), "ttl": times.RUN_TTL}
        [rows] = self._database.write((self._database.backend.sql["renew_runs"], params))
        return {row.run_id: row.cancelled_at is not None for row in rows}

    def release(self, claimed: Claimed) -> bool:
        """Give a run back, so that a worker claims it anew. Return whether it was still this worker's."""
        return self._end("release_run", claimed)

    def finish(
        self,
        claimed: Claimed,
        state: Literal["done", "failed", "cancelled"],
        *,
        error_type: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Record how a run ended.

        Args:
            claimed: the run.
            state: how it ended.
            error_type, error: why it failed. Neither holds a text of the conversation.

        Returns:
            Whether it was still this worker's.
        """
        return self._end("finish_run", claimed, state=state, error_type=error_type, error=error)

    def cancel(self, run_id: str) -> Run:
        """Ask a run to stop. One that has not begun is cancelled at once; a worker stops one that has.

        Raises:
            UnknownRun: there is none with this id.
        """
        run = self.get(run_id)
        self._database.write((self._database.backend.sql["cancel_run"], {"run_id": run.run_id}))
        return self.get(run_id)

    def delete(self, run_id: str) -> None:
        """Delete the record of a run, open or ended. If a worker has it, it is told to stop."""
        self._database.write((self._database.backend.sql["delete_run"], {"run_id": run_id}))

    # --- the same for event loops

    aaccept = async_twin(accept)
    aget = async_twin(get)
    alist = async_twin(list)
    acancel = async_twin(cancel)
    adelete = async_twin(delete)
    asome = async_twin(some)
    asaid = async_twin(said)

    # --- inside

    def _insert(self, new: NewRun, *, owner: str | None = None, dead: DeadTurn | None = None) -> None:
        """Insert a run, in a transaction of its own.

        Args:
            new: the run.
            owner: as for `accept`.
            dead: insert it only if nothing has gone on with this turn.
        """

        def insert(transaction: Transaction) -> None:
            if dead is None or self._is_dead(transaction, dead):
                age = {"thread_id": new.thread_id, "age": times.RUN_KEPT}
                forget = self._database.backend.sql["forget_runs"], age
                transaction.run([forget, *self.acceptance(new, owner=owner)])

        write_with_key(self._database.backend, self._database.sealer, new.thread_id, insert)

    def _is_dead(self, transaction: Transaction, dead: DeadTurn) -> bool:
        params = {"thread_id": dead.thread_id, "ticket": dead.ticket, "kept": times.DEAD_TURN_KEPT}
        [rows] = transaction.run([(self._database.backend.sql["is_dead"], params)])
        return bool(rows)

    def _end(self, statement: str, claimed: Claimed, **how: str | None) -> bool:
        run = claimed.run
        params = {"run_id": run.run_id, "owner": claimed.owner, "attempts": run.attempts, **how}
        if params.get("error") is not None:
            place = places.run_error(run.run_id)
            params["error"] = self._database.sealer.seal_text(run.thread_id, place, str(params["error"]))
        [rows] = self._database.write((self._database.backend.sql[statement], params))
        return bool(rows)

    def _input(self, row: Row) -> Mapping[str, Any]:
        with explained(row.thread_id, row.run_id, "input of a run"):
            open_value = self._database.sealer.open_value
            _, body = open_value(row.thread_id, places.run_input(row.run_id), row.input_type, bytes(row.input))
            found: Mapping[str, Any] = Unpacking(self._database.types).unpack(body)
            return found

    def _run_of(self, row: Row) -> Run:
        error, place = row.error, places.run_error(row.run_id)
        return Run(
            run_id=row.run_id,
            thread_id=row.thread_id,
            agent=row.agent,
            user_id=row.user_id,
            kind=row.kind,
            state=row.state,
            attempts=row.attempts,
            accepted_at=utc_datetime(row.accepted_at),
            started_at=_moment(row.started_at),
            ended_at=_moment(row.ended_at),
            is_cancelled=row.cancelled_at is not None,
            error_type=row.error_type,
            error=None if error is None else self._database.sealer.open_text(row.thread_id, place, error),
            after_seq=row.after_seq,
            until_seq=row.until_seq,
        )


def _digest(new: NewRun) -> bytes:
    request = new.input if new.request is None else new.request
    text = json.dumps([new.kind, request], sort_keys=True, separators=(",", ":"), default=repr)
    return blake2b(text.encode(), digest_size=16).digest()


def _moment(at: float | None) -> datetime | None:
    return None if at is None else utc_datetime(at)


_HAS_ANSWERED: Final = """EXISTS (
  SELECT 1 FROM holdfast_interrupts AS i
  WHERE i.thread_id = :thread_id AND i.interrupt_id = :interrupt_id AND i.run_id = CAST(:run_id AS TEXT)
)"""
