"""Accepting runs: those of messages, answers and retries, and those that go on with the turns of dead processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from hashlib import blake2b
from typing import Any, Final

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.config import thread_of, user_of
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.encryption.keys_of_threads import write_with_key
from holdfast.checkpoints.errors import KeyReused, UnknownRun
from holdfast.checkpoints.runs.claims import Claims
from holdfast.checkpoints.runs.records import Claimed, DeadTurn, NewRun, Run, run_of
from holdfast.checkpoints.serde.msgpack import Packing
from holdfast.checkpoints.threads.access import (
    not_begun_call,
    owner_call,
    refuse_others,
    refuse_strangers,
    standing_of,
)
from holdfast.checkpoints.threads.leases import Lease, default_owner

# As for lists of requests.
_LIMIT: Final = 1000


@checks_arguments
class Accepting:
    """The part of `Runs` about runs that begin."""

    _database: Database

    @property
    def workers(self) -> dict[str, Any]:
        """The claims of the workers of this process, by the name of their agent."""
        return self._database.workers

    def get(self, run_id: str) -> Run:
        """Return a run."""
        raise NotImplementedError

    # --- accepting

    def accept(self, new: NewRun, *, for_user: bool = False) -> Run:
        """Accept a run. When this returns, it is in the database, and a worker will carry it out.

        If a worker of this process has room, and the thread has no other open run, it has claimed the run by then.

        Args:
            new: the run.
            for_user: whether the user of the run has to be one who may use the thread.

        Returns:
            The run, or the one that was accepted earlier under the same idempotency key.

        Raises:
            KeyReused: the key was given for another request.
            InvalidThread: the id of the thread, or of the user, cannot be stored.
            UnknownThread: the thread is neither the user's nor shared with this user. Nothing was accepted.
        """
        thread_of({"configurable": {"thread_id": new.thread_id}})
        claims: Claims | None = self.workers.get(new.agent)
        with nullcontext() if claims is None else claims.reserving() as worker:
            rows, tickets = self._insert(new, worker=worker, for_user=for_user)
            if claims is not None and worker is not None and rows and rows[0].owner == worker:
                lease = Lease(new.thread_id, int(tickets[0].ticket)) if tickets else None
                claims.take(self._claimed(rows[0], new.input, worker, lease))
        if rows:
            return run_of(self._database.sealer, rows[0])
        return self.earlier(new) or self.get(new.run_id)

    def accept_for(self, owner: str, new: NewRun) -> Claimed:
        """Accept a run that a worker has from the start, as if it had claimed it. It has no idempotency key.

        Args:
            owner: the worker.
            new: the run.

        Raises:
            InvalidThread: as `accept`.
        """
        thread_of({"configurable": {"thread_id": new.thread_id}})
        [row], _ = self._insert(new, owner=owner)
        return self._claimed(row, new.input, owner)

    def accepted_for(self, owner: str, new: NewRun) -> Claimed:
        """Return a run that was accepted for a worker with the calls of `acceptance`.

        Raises:
            UnknownRun: it was not accepted, or was deleted since.
        """
        [rows] = self._database.read((self._database.backend.sql["run"], {"run_id": new.run_id}))
        if not rows:
            raise UnknownRun(new.run_id)
        return self._claimed(rows[0], new.input, owner)

    def acceptance(self, new: NewRun, *, answers: str | None = None, owner: str | None = None) -> list[Call]:
        """Return the calls that accept a run, for a transaction in which the thread is locked.

        Args:
            new: the run.
            answers: accept it only if it has answered the request with this id, in the same transaction.
            owner: the worker that has it from the start, if one has.
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
            return run_of(self._database.sealer, row)
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

    aaccept = async_twin(accept)

    # --- inside

    def _insert(
        self,
        new: NewRun,
        *,
        owner: str | None = None,
        worker: str | None = None,
        dead: DeadTurn | None = None,
        for_user: bool = False,
    ) -> tuple[Sequence[Row], Sequence[Row]]:
        """Insert a run, in a transaction of its own.

        Args:
            new: the run.
            owner: as for `acceptance`.
            worker: the worker that claims it if it is the first open run of its thread.
            dead: insert it only if nothing has gone on with this turn.
            for_user: as for `accept`.

        Returns:
            The run, if it was inserted, and the ticket of the lease, if that was taken with the claim.
        """
        sql, thread = self._database.backend.sql, {"thread_id": new.thread_id}
        found: list[Sequence[Row]] = []

        def insert(transaction: Transaction) -> None:
            found[:] = [], []
            if for_user:
                self._check_user(transaction, new)
            if dead is None or self._is_dead(transaction, dead):
                forget = sql["forget_runs"], {**thread, "age": times.RUN_KEPT}
                claim = [] if worker is None else self._claim_at_once(new, worker)
                last = [(sql["run"], {"run_id": new.run_id}), (sql["own_ticket"], {**thread, "nonce": new.run_id})]
                found[:] = transaction.run([forget, *self.acceptance(new, owner=owner), *claim, *last])[-2:]

        write_with_key(self._database.backend, self._database.sealer, new.thread_id, insert)
        runs, tickets = found
        return runs, tickets

    def _check_user(self, transaction: Transaction, new: NewRun) -> None:
        """Refuse a run in a thread of others, also if their first message was only accepted. The thread is locked."""
        backend, thread_id = self._database.backend, new.thread_id
        [rows] = transaction.run([owner_call(backend, thread_id, new.user_id)])
        if not refuse_others(standing_of(rows), thread_id, new.user_id).exists:
            [rows] = transaction.run([not_begun_call(backend, thread_id)])
            refuse_strangers(rows, thread_id, new.user_id)

    def _claim_at_once(self, new: NewRun, worker: str) -> Sequence[Call]:
        """Return the calls that claim a run which was just inserted, with the lease of its thread if that is free."""
        sql, run = self._database.backend.sql, {"run_id": new.run_id, "owner": worker}
        lease = {**run, "process": default_owner(), "ttl": times.LEASE_TTL}
        claim = sql["claim_run"].where(_IS_FIRST), {**run, "thread_id": new.thread_id, "ttl": times.RUN_TTL}
        return [claim, (sql["take_lease_of_run"], lease)]

    def _claimed(self, row: Row, input: Mapping[str, Any], owner: str, lease: Lease | None = None) -> Claimed:
        return Claimed(run_of(self._database.sealer, row), input, owner, lease, row.generation)

    def _is_dead(self, transaction: Transaction, dead: DeadTurn) -> bool:
        params = {"thread_id": dead.thread_id, "ticket": dead.ticket, "kept": times.DEAD_TURN_KEPT}
        [rows] = transaction.run([(self._database.backend.sql["is_dead"], params)])
        return bool(rows)


def _digest(new: NewRun) -> bytes:
    request = new.input if new.request is None else new.request
    text = json.dumps([new.kind, request], sort_keys=True, separators=(",", ":"), default=repr)
    return blake2b(text.encode(), digest_size=16).digest()


_HAS_ANSWERED: Final = """EXISTS (
  SELECT 1 FROM holdfast_interrupts AS i
  WHERE i.thread_id = :thread_id AND i.interrupt_id = :interrupt_id AND i.run_id = CAST(:run_id AS TEXT)
)"""

_IS_FIRST: Final = """NOT EXISTS (
  SELECT 1 FROM holdfast_runs AS earlier
  WHERE earlier.thread_id = r.thread_id AND earlier.number < r.number AND earlier.state IN ('accepted', 'running')
)"""
