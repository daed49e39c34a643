"""Runs: turns that are accepted when they are in the database, and that any process can carry out.

Whoever accepts a run need not carry it out. A worker claims the first open run of a thread, renews its claim while it
lives, and records how the run ended. If the worker dies, its claim expires, and another worker goes on with the run.
The runs of one thread are claimed one after the other, in the order in which they were accepted.

The input of a run is stored until the run has ended. By then what it said is in its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.messages import BaseMessage

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.config import run_value
from holdfast.checkpoints.core.arguments import check_count, checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import UnknownRun
from holdfast.checkpoints.load import MessageRows, explained
from holdfast.checkpoints.runs.accepting import Accepting
from holdfast.checkpoints.runs.claims import Claims
from holdfast.checkpoints.runs.records import Claimed, DeadTurn, EndedRun, NewRun, Run, RunMark, run_of
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.serde.msgpack import Unpacking
from holdfast.checkpoints.threads.leases import Lease
from holdfast.checkpoints.transcript.header import MOST_ROWS

__all__ = ["Claimed", "Claims", "DeadTurn", "EndedRun", "NewRun", "Run", "Runs"]

# As for lists of requests.
_LIMIT: Final = 1000

# The runs of a worker that one look tells to stop. They are first, so the next look tells the others.
_STOPS: Final = 16


@checks_arguments
class Runs(Accepting):
    """The runs of a database.

    Its methods block. For event loops there are twins, such as `aget`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return run_of(self._database.sealer, rows[0])

    def list(self, thread_id: str, *, limit: int = _LIMIT) -> Sequence[Run]:
        """Return the runs of a thread, newest first.

        Args:
            thread_id: the thread.
            limit: the maximum number of runs.
        """
        check_count(limit, "limit")
        params = {"thread_id": str(thread_id), "limit": limit}
        [rows] = self._database.read((self._database.backend.sql["runs_of_thread"], params))
        return [run_of(self._database.sealer, row) for row in rows]

    def open(self, limit: int = _LIMIT) -> Sequence[Run]:
        """Return the runs that have not ended, of all threads, oldest first.

        Args:
            limit: the maximum number of runs.
        """
        check_count(limit, "limit")
        [rows] = self._database.read((self._database.backend.sql["open_runs"], {"limit": limit}))
        return [run_of(self._database.sealer, row) for row in rows]

    def some(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Return those of some runs that there are."""
        params = {"run_ids": self._database.backend.array(run_ids)}
        [rows] = self._database.read((self._database.backend.sql["some_runs"], params))
        return [run_of(self._database.sealer, row) for row in rows]

    def has_begun(self, run: Run) -> bool:
        """Return whether a checkpoint of a run is in its thread: an earlier attempt has taken its input."""
        params = {"thread_id": run.thread_id, "run_id": run.run_id, "run_value": run_value(run.run_id)}
        [[row]] = self._database.read((self._database.backend.sql["has_begun"], params))
        return bool(row.has_begun)

    def check_mark(self, mark: RunMark, generation: int | None) -> None:
        """Refuse a turn whose run was deleted, with its thread or alone, before it has loaded the thread.

        Args:
            mark: that of the run.
            generation: the generation of the thread that was loaded.

        Raises:
            UnknownRun: the run was deleted.
        """
        if generation != mark.generation:  # or a message was redacted, or another run rolled back
            self.get(mark.run_id)

    def was_sent(self, run: Run) -> bool:
        """Return whether the message of a run is in its thread: an earlier attempt has sent it.

        Raises:
            UnknownRun: the run was deleted, with its thread or alone.
        """
        params = {"thread_id": run.thread_id, "run_id": run.run_id, "after": run.after_seq or 0}
        [rows] = self._database.read((self._database.backend.sql["was_sent"], params))
        if not rows:
            raise UnknownRun(run.run_id)
        return bool(rows[0].was_sent)

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
        claims = [
            (sql["claim_run"].where(), {"run_id": row.run_id, "thread_id": row.thread_id, **params})
            for row in free
            if not row.is_deleted
        ]
        # A claim whose commit was lost is not repeated: it would be found taken. It expires.
        claimed = self._database.write(*claims, repeatable=False) if claims else []
        return [self._claimed(row, self._input(row), owner) for rows in claimed for row in rows]

    def claims(self, stop: Callable[[str], object], **options: Any) -> Claims:
        """Return the claims of a new worker, which it renews until they end.

        Args:
            stop, **options: those of `Claims`.
        """
        return Claims(self, stop, **options)

    def renew(self, owner: str, run_ids: Sequence[str]) -> dict[str, bool]:
        """Renew claims of a worker.

        Returns:
            The runs that it still has, by id, and whether each was asked to stop.
        """
        params = {"owner": owner, "run_ids": self._database.backend.array(run_ids), "ttl": times.RUN_TTL}
        [rows] = self._database.write((self._database.backend.sql["renew_runs"], params))
        return {row.run_id: row.cancelled_at is not None for row in rows}

    def hold_lease(self, lease: Lease) -> None:
        """Renew the lease that was taken with a claim."""
        sql, place = self._database.backend.sql, {"thread_id": lease.thread_id}
        renewal = sql["hold_lease"], {**place, "ticket": lease.ticket, "ttl": times.LEASE_TTL}
        _, rows = self._database.write((sql["lock_thread"], place), renewal)
        if not rows:
            lease.lost.set()

    def release(self, claimed: Claimed) -> bool:
        """Give a run back, so that a worker claims it anew. Return whether it was still this worker's."""
        return self._end("release_run", claimed) is not None

    def finish(
        self,
        claimed: Claimed,
        state: Literal["done", "failed", "cancelled"],
        *,
        error_type: str | None = None,
        error: str | None = None,
    ) -> EndedRun | None:
        """Record how a run ended.

        Args:
            claimed: the run.
            state: how it ended.
            error_type, error: why it failed. Neither holds a text of the conversation.

        Returns:
            The run as it is on record; `None` if it was another worker's by now.
        """
        return self._end("finish_run", claimed, state=state, error_type=error_type, error=error)

    def cancel(self, run_id: str, *, error_type: str | None = None) -> Run:
        """Ask a run to stop. One that has not begun is cancelled at once; a worker stops one that has.

        Args:
            run_id: the run.
            error_type: the name of the error with which its worker is to stop it, if its kind of worker knows several.

        Raises:
            UnknownRun: there is none with this id.
        """
        params = {"run_id": self.get(run_id).run_id, "error_type": error_type}
        self._database.write((self._database.backend.sql["cancel_run"], params))
        return self.get(run_id)

    def delete(self, run_id: str) -> None:
        """Delete the record of a run, open or ended. If a worker has it, it is told to stop."""
        self._database.write((self._database.backend.sql["delete_run"], {"run_id": run_id}))

    # --- the same for event loops

    aget = async_twin(get)
    alist = async_twin(list)
    acancel = async_twin(cancel)
    adelete = async_twin(delete)
    asome = async_twin(some)
    asaid = async_twin(said)

    # --- inside

    def _end(self, statement: str, claimed: Claimed, **how: str | None) -> EndedRun | None:
        """End a claim, and the lease that was taken with it."""
        run, sql = claimed.run, self._database.backend.sql
        params = {"run_id": run.run_id, "owner": claimed.owner, "attempts": run.attempts, **how}
        if params.get("error") is not None:
            place = places.run_error(run.run_id)
            params["error"] = self._database.sealer.seal_text(run.thread_id, place, str(params["error"]))
        thread = {"thread_id": run.thread_id}
        leave = [] if claimed.lease is None else [(sql["leave_lease_queue"], {**thread, "nonce": run.run_id})]
        rows, following, *_ = self._database.write((sql[statement], params), (sql["next_run"], thread), *leave)
        return EndedRun(run_of(self._database.sealer, rows[0]), bool(following)) if rows else None

    def _input(self, row: Row) -> Mapping[str, Any]:
        with explained(row.thread_id, row.run_id, "input of a run"):
            open_value = self._database.sealer.open_value
            _, body = open_value(row.thread_id, places.run_input(row.run_id), row.input_type, bytes(row.input))
            found: Mapping[str, Any] = Unpacking(self._database.types).unpack(body)
            return found
