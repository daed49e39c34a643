"""The ledger of effects: a tool call that changes the world runs once, or a person is asked.

Before an effect runs, the ledger records it as *started*; afterwards as *done* or *failed*, with its result. Of several
executions, in threads, processes and replicas, one gets the claim to run it, and the others wait for the outcome. If
the claim's owner dies in between, the outcome is unknown: the effect is *in doubt*, and does not run again until a
person has decided.

The copies of a conversation share their entries (a *lineage*): an effect that has run in one copy does not run in
another without asking.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Event, Lock
from typing import Any, TypeAlias

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.core.arguments import check_count, checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.effects.in_flight import EffectsInFlight
from holdfast.checkpoints.effects.keys import arguments_digest, effect_key, idempotency_key
from holdfast.checkpoints.effects.states import (
    Effect,
    Ended,
    Entry,
    InDoubt,
    Running,
    Started,
    Why,
    classify,
)
from holdfast.checkpoints.effects.stored import entry_of, pack_result, result_of, stored_arguments
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    EffectClosed,
    EffectNotApproved,
    EffectNotCommitted,
    EffectTaken,
)
from holdfast.checkpoints.threads.leases import default_owner

__all__ = [
    "Effect",
    "Effects",
    "Ended",
    "Entry",
    "InDoubt",
    "Running",
    "Started",
    "Why",
    "arguments_digest",
    "effect_key",
    "idempotency_key",
]

_Status: TypeAlias = Started | Running | Ended | InDoubt | None


@checks_arguments
class Effects:
    """The ledger of a database.

    Its methods block. For event loops there are twins, such as `ain_doubt`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: EffectsInFlight | None = None
        self._lock = Lock()

    # --- running

    def begin(self, effect: Effect, give_up: Event | None = None) -> Started | Ended | InDoubt:
        """Claim an effect to run it, or return its outcome. Waits while another execution runs it.

        Args:
            effect: the effect to run.
            give_up: ends the wait when another thread sets it.

        Returns:
            The claim; or how the effect ended; or the doubt about it.

        Raises:
            EffectNotCommitted: the call is in no committed checkpoint. Nothing ran.
            EffectClosed: the thread has gone on with a new message, so the call was closed. Nothing ran.
            EffectNotApproved: the answer under which the effect may run is not on record. Nothing ran.
            EffectTaken: `give_up` was set.
        """
        since = time.monotonic()
        standing: Row | None = None

        def claim() -> _Status:
            nonlocal standing
            status = self._claim(effect)
            if status is None and standing is not None and standing.is_committed:
                raise EffectNotApproved(effect.thread_id, effect.tool)
            # The checkpoint may have been committed since the claim. Then the next claim tells if an answer is missing.
            standing = None if status is not None else self._standing(effect)
            if standing is not None and standing.has_gone_on:
                raise EffectClosed(effect.thread_id, effect.tool)
            return status

        for status in self._poll(claim, effect, give_up):
            if isinstance(status, Started):
                self.in_flight.add(status)
            if isinstance(status, Started | Ended | InDoubt):
                return status
            # One that is committed by now is claimed once more, however long that look took.
            is_committed = standing is not None and standing.is_committed
            if status is None and not is_committed and time.monotonic() - since > times.CHECKPOINT_WAIT:
                break
        raise EffectNotCommitted(effect.thread_id, effect.tool)

    def is_saved(self, thread_id: str, ns: str, checkpoint_id: str, give_up: Event | None = None) -> bool:
        """Return whether a checkpoint is saved. Waits for one that is still being saved.

        After that no run that began before it can claim an effect, so what the ledger does not have will not begin.

        Raises:
            EffectTaken: `give_up` was set.
        """
        since, place = time.monotonic(), Effect(thread_id, "", "a call", b"", ns, checkpoint_id)
        for _ in self._poll(lambda: None, place, give_up):
            if self._standing(place).is_committed:
                return True
            if time.monotonic() - since > times.CHECKPOINT_WAIT:
                break
        return False

    def outcome(self, effect: Effect, give_up: Event | None = None) -> Ended | InDoubt | None:
        """Return the outcome of an effect, or `None` if it never started. Waits while it is running.

        Raises:
            EffectTaken: `give_up` was set.
        """
        for status in self._poll(lambda: self.look(effect), effect, give_up):
            if not isinstance(status, Running | Started):
                return status
        return None

    def finish(self, started: Started, value: Any, *, failed: bool = False) -> Any:
        """Record how an effect ended.

        If the database is out of reach, the outcome is kept, and written when the database is back.

        Returns:
            The outcome that counts: `value`, or what a person decided in the meantime.

        Raises:
            NotStorable: `value` cannot be stored. The effect is still *started*.
            EffectTaken: a person let the effect run again, and another execution is running it.
            DatabaseUnavailable: the outcome is not written yet.
        """
        type_, result = pack_result(self._database, started.thread_id, started.key, value)
        params = {"state": "failed" if failed else "done", "type": type_, "result": result}
        if self._record_end(started, "finish_effect", **params):
            return value
        row = self._row(started.lineage, started.key)
        if row is None or row.state == "started":
            raise EffectTaken(started.lineage, row.tool if row else "?", "a person let it run again")
        return result_of(self._database, row)

    def doubt(self, started: Started, why: Why) -> bool:
        """Record that it is unknown whether an effect took place.

        Returns:
            Whether that was recorded: the effect may have ended meanwhile.
        """
        return self._record_end(started, "doubt_effect", why=why)

    def doubt_if_open(self, started: Started) -> None:
        """Record an effect as in doubt, with the reason "error", if this process still runs it without an outcome."""
        if self.in_flight.is_running(started):
            self.doubt(started, "error")

    def release(self, started: Started) -> None:
        """Give the claim up: the tool has done nothing yet, and will be run again."""
        self._record_end(started, "release_effect")

    # --- deciding

    def entry(self, thread_id: str, key: str) -> Entry | None:
        """Return the entry of an effect, which ran in this thread or in any copy of it."""
        row = self._row(thread_id, key)
        return None if row is None else entry_of(self._database, row)

    def look(self, effect: Effect) -> Running | Ended | InDoubt | None:
        """Return the status of an effect without waiting, or `None` if it never started."""
        row = self._row(effect.thread_id, effect.key)
        return None if row is None else self._classified(row, effect)

    def in_doubt(self, limit: int = 100) -> list[Entry]:
        """List the effects that a person has to decide about, in all threads, oldest first."""
        check_count(limit, "limit")
        [rows] = self._database.read((self._sql["effects_in_doubt"], {"limit": limit}))
        return [entry_of(self._database, row) for row in rows]

    def run_again(self, doubt: InDoubt, effect: Effect, *, by: str | None) -> Started | None:
        """Claim an effect anew, after a person has let it run again by answering `effect.interrupt_id`.

        Returns:
            The claim, or `None` if the entry has changed since the person was asked.
        """
        entry = doubt.entry
        params = {
            **self._claim_params(effect),
            "lineage": entry.lineage,
            "attempt": entry.attempt,
            "state": entry.state,
            "by": by,
        }
        names = ("tool", "ns", "checkpoint_id", "answer_digest", "root_id")
        rows = self._write("rerun_effect", {name: value for name, value in params.items() if name not in names})
        if rows:
            started = Started(*rows[0])
        else:
            now = self.entry(entry.lineage, entry.key)
            if now is None or now.owner != params["owner"]:
                return None
            started = Started(now.lineage, now.key, now.attempt, now.owner, now.thread_id)  # as in `_status`
        self.in_flight.add(started)
        return started

    def settle(self, doubt: InDoubt, value: Any, *, skipped: bool, by: str | None) -> bool:
        """Record a person's verdict on a doubt: the effect took place, with this result, or it must not run.

        Returns:
            Whether the effect was still in doubt.
        """
        entry = doubt.entry
        type_, result = pack_result(self._database, entry.thread_id, entry.key, value)
        params = {
            "lineage": entry.lineage,
            "effect_key": entry.key,
            "attempt": entry.attempt,
            "new_state": "skipped" if skipped else "done",
            "decision": "skip" if skipped else "happened",
            "by": by,
            "type": type_,
            "result": result,
        }
        return bool(self._write("settle_effect", params))

    def close(self) -> None:
        """Write the outcomes that are left, and stop renewing the claims of this process."""
        with self._lock:
            in_flight, self._in_flight = self._in_flight, None
        if in_flight is not None:
            in_flight.close()

    # --- the same for event loops

    ain_doubt = async_twin(in_doubt)
    aentry = async_twin(entry)

    # --- inside

    @property
    def in_flight(self) -> EffectsInFlight:
        """The effects that this process runs. Made on first use, so that a process forked before then has its own."""
        with self._lock:
            if self._in_flight is None:
                self._in_flight = EffectsInFlight(self._database.backend)
            return self._in_flight

    @property
    def _sql(self) -> Any:
        return self._database.backend.sql

    def _poll(self, look: Callable[[], _Status], effect: Effect, give_up: Event | None) -> Iterator[_Status]:
        """Yield the status of an effect at each look, for as long as the caller asks for more."""
        give_up = give_up or Event()
        pause = times.FIRST_POLL
        missed: dict[datetime, float] = {}  # when this process first saw that a renewal was overdue
        while True:
            status = look()
            yield self._doubt_if_expired(status, missed) if isinstance(status, Running) else status
            if give_up.wait(pause):
                raise EffectTaken(effect.thread_id, effect.tool, "the wait for its outcome was ended")
            pause = min(pause * times.POLL_GROWTH, times.SLOWEST_POLL)

    def _claim(self, effect: Effect) -> _Status:
        """Try once to claim an effect.

        Returns:
            The claim or the status; `None` if the call's checkpoint, or the answer to its request, is not on record.
        """
        params = self._claim_params(effect)
        _, claimed, found = self._database.write(
            (self._sql["lock_thread"], {"thread_id": effect.thread_id}),
            (self._sql["claim_effect"], params),
            self._entry(effect.thread_id, effect.key),
        )
        if claimed:
            return Started(*claimed[0])
        return self._status(found[0], effect, params["owner"]) if found else None

    def _status(self, row: Row, effect: Effect, owner: str) -> _Status:
        if row.state == "started" and row.owner == owner:
            # The connection was lost during the commit, and the commit did take place.
            return Started(row.lineage, row.effect_key, row.attempt, owner, row.thread_id)
        return self._classified(row, effect)

    def _standing(self, effect: Effect) -> Row:
        """Return whether the checkpoint of a call is committed, and whether its thread has gone on without the call."""
        place = {"thread_id": effect.thread_id, "ns": effect.ns, "checkpoint_id": effect.checkpoint_id}
        [[row]] = self._database.read((self._sql["standing"], {**place, "root_id": effect.root_id}))
        return row

    def _doubt_if_expired(self, running: Running, missed: dict[datetime, float]) -> Running | InDoubt:
        """Record an effect as in doubt if its owner has not renewed the claim for long enough.

        An owner that survived an outage gets one full interval to renew, by the clock of this process. So a jump of the
        database's clock alone never puts an effect in doubt.
        """
        entry = running.entry
        if not entry.expired:
            return running
        if time.monotonic() - missed.setdefault(entry.alive_until, time.monotonic()) < times.EFFECT_RENEWAL:
            return running
        params = {"lineage": entry.lineage, "effect_key": entry.key, "attempt": entry.attempt}
        if self._write("orphan_effect", {**params, "alive_until": entry.alive_until.timestamp()}):
            return InDoubt(replace(entry, state="in_doubt", why="owner"), "owner")
        return running

    def _claim_params(self, effect: Effect) -> dict[str, Any]:
        return {
            "thread_id": effect.thread_id,
            "effect_key": effect.key,
            "tool": effect.tool,
            "args_digest": stored_arguments(self._database, effect.thread_id, effect.key, effect.args_digest),
            "owner": f"{default_owner()}, {secrets.token_hex(8)}",  # identifies the claim
            "ttl": times.EFFECT_TTL,
            "ns": effect.ns,
            "checkpoint_id": effect.checkpoint_id,
            "interrupt_id": effect.interrupt_id,
            "answer_digest": effect.answer_digest,
            "run_id": effect.run_id,
            "root_id": effect.root_id,
        }

    def _row(self, thread_id: str, key: str) -> Row | None:
        [rows] = self._database.read(self._entry(thread_id, key))
        return rows[0] if rows else None

    def _entry(self, thread_id: str, key: str) -> Call:
        return self._sql["effect"], {"thread_id": thread_id, "effect_key": key}

    def _record_end(self, started: Started, name: str, **params: Any) -> bool:
        """Run a statement that ends a claim, and return whether the claim was still valid."""
        claim = {"lineage": started.lineage, "effect_key": started.key, "attempt": started.attempt}
        params = {**claim, "owner": started.owner, **params}
        try:
            recorded = bool(self._write(name, params))
        except DatabaseUnavailable:
            self.in_flight.keep_outcome(started, (self._sql[name], params))
            raise
        self.in_flight.remove(started)
        return recorded

    def _write(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        [rows] = self._database.write((self._sql[name], params))
        return rows

    def _classified(self, row: Row, effect: Effect) -> Running | Ended | InDoubt:
        """Return what a row of the ledger means for a caller, with the outcome if there is one."""
        status = classify(entry_of(self._database, row), effect)
        return status if isinstance(status, Running) else replace(status, value=result_of(self._database, row))
