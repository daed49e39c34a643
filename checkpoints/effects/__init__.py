"""The ledger: a tool call that changes the world runs once, or a person is asked.

Before it runs it is on record as *started*; after it as *done* or *failed*, with its result. Of any number of
executions, in threads, processes and on replicas, one gets to run it; the others wait for what comes of it. If its
owner is gone in between, nobody knows whether it took effect: it is *in doubt*, and is not run before a person has
decided.

Copies of a conversation share their record (a *lineage*): what one of them has run, no other runs unasked.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Lock
from typing import Any, TypeAlias

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.effects.in_flight import EffectsInFlight
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
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    EffectNotApproved,
    EffectNotCommitted,
    EffectTaken,
    NotStorable,
)
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.threads.leases import default_owner

_Seen: TypeAlias = Started | Running | Ended | InDoubt | None


def effect_key(message_id: str, tool_call_id: str) -> str:
    """Which call of which message. (Some endpoints call every call `call_0`, and ids may be too long for a key.)"""
    return _digest(f"{message_id}\0{tool_call_id}".encode()).hex()


def arguments_digest(tool: str, args: Mapping[str, Any], *, key: bytes = b"") -> bytes:
    """Of a tool and the arguments that it runs with."""
    text = json.dumps([tool, args], sort_keys=True, default=repr, ensure_ascii=True)
    return _digest(text.encode(), key)


def idempotency_key(effect: Effect, lineage: str) -> str:
    """What a service is told, so that it does the same thing once: the same on each attempt, and another one for other
    arguments."""
    return _digest(f"{lineage}\0{effect.key}\0".encode() + effect.args_digest).hex()


def _digest(data: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=16, key=key).digest()


class Effects:
    """The ledger of a database. Synchronous; an event loop calls it through `HoldfastSaver.offload`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: EffectsInFlight | None = None
        self._lock = Lock()

    # --- running

    def begin(self, effect: Effect, give_up: Event | None = None) -> Started | Ended | InDoubt:
        """Get the right to run an effect, or what came of it; waits while somebody else runs it.

        Args:
            effect: what is to be run.
            give_up: when another thread sets this, waiting ends.

        Raises:
            EffectNotCommitted: the call is in no committed checkpoint. Nothing ran.
            EffectNotApproved: the answer under which it is to run is not on record. Nothing ran.
            EffectTaken: `give_up` was set.
        """
        since, committed = time.monotonic(), False

        def claim() -> _Seen:
            nonlocal committed
            verdict = self._claim(effect)
            if verdict is None and committed:
                raise EffectNotApproved(effect.thread_id, effect.tool)
            # The checkpoint may have come in the very moment.
            committed = verdict is None and self._is_committed(effect)
            return verdict

        for verdict in self._looks(claim, effect, give_up):
            if isinstance(verdict, Started):
                self.in_flight.add(verdict)
            if isinstance(verdict, Started | Ended | InDoubt):
                return verdict
            if verdict is None and time.monotonic() - since > times.CHECKPOINT_WAIT:
                break
        raise EffectNotCommitted(effect.thread_id, effect.tool)

    def outcome(self, effect: Effect, give_up: Event | None = None) -> Ended | InDoubt | None:
        """What came of an effect; waits while somebody runs it. `None` if it never began.

        Raises:
            EffectTaken: `give_up` was set.
        """
        for verdict in self._looks(lambda: self.look(effect), effect, give_up):
            if not isinstance(verdict, Running | Started):
                return verdict
        return None

    def finish(self, started: Started, value: Any, *, failed: bool = False) -> Any:
        """Put on record how an effect ended.

        If the database is away, the outcome is kept, and written when it is back.

        Returns:
            What counts: `value`, or what was decided in the meantime.

        Raises:
            NotStorable: `value` cannot be kept. It is still *started*.
            EffectTaken: a person let it run again, and somebody else is doing that.
            DatabaseUnavailable: it could not be written yet.
        """
        type_, result = self._packed(started.lineage, started.key, value)
        params = {"state": "failed" if failed else "done", "type": type_, "result": result}
        if self._ends(started, "finish_effect", **params):
            return value
        entry = self.entry(started.lineage, started.key)
        if entry is None or entry.state == "started":
            raise EffectTaken(started.lineage, entry.tool if entry else "?", "a person let it run again")
        return self._value(entry)

    def doubt(self, started: Started, why: Why) -> bool:
        """Say that nobody knows whether it took effect. Whether that was the news: it may have ended meanwhile."""
        return self._ends(started, "doubt_effect", why=why)

    def doubt_if_open(self, started: Started) -> None:
        """As `doubt` with "error", of an effect of which nothing was said yet."""
        if self.in_flight.is_running(started):
            self.doubt(started, "error")

    def release(self, started: Started) -> None:
        """Take the claim back: the tool did nothing yet, and will be run again."""
        self._ends(started, "release_effect")

    # --- deciding

    def entry(self, thread_id: str, key: str) -> Entry | None:
        """What is on record of an effect, in a thread or any copy of it."""
        [rows] = self._database.read(self._entry(thread_id, key))
        return Entry(*rows[0]) if rows else None

    def look(self, effect: Effect) -> Running | Ended | InDoubt | None:
        """What is on record of an effect, without waiting; `None` if it never began."""
        entry = self.entry(effect.thread_id, effect.key)
        return None if entry is None else self._with_value(classify(entry, effect))

    def in_doubt(self, limit: int = 100) -> list[Entry]:
        """What a person has to decide about, in all threads, oldest first."""
        [rows] = self._database.read((self._sql["effects_in_doubt"], {"limit": limit}))
        return [Entry(*row) for row in rows]

    def run_again(self, doubt: InDoubt, effect: Effect, *, by: str | None) -> Started | None:
        """Let an effect run again, as the person who answered `effect.interrupt_id` wants; `None` if it has changed
        since they were asked."""
        entry = doubt.entry
        params = {
            **self._claim_params(effect),
            "lineage": entry.lineage,
            "attempt": entry.attempt,
            "state": entry.state,
            "by": by,
        }
        names = ("tool", "ns", "checkpoint_id", "answer_digest")
        rows = self._write("rerun_effect", {name: value for name, value in params.items() if name not in names})
        if rows:
            started = Started(*rows[0])
        else:
            now = self.entry(entry.lineage, entry.key)
            if now is None or now.owner != params["owner"]:
                return None
            started = Started(now.lineage, now.key, now.attempt, now.owner)  # it was lost at the commit, as in `_seen`
        self.in_flight.add(started)
        return started

    def settle(self, doubt: InDoubt, value: Any, *, skipped: bool, by: str | None) -> bool:
        """Put on record what a person knows: that it happened, with this result, or that it is not to be run.

        Returns:
            Whether it was still in doubt.
        """
        entry = doubt.entry
        type_, result = self._packed(entry.lineage, entry.key, value)
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
        """Write what is left to be written, and say no more that this process lives."""
        with self._lock:
            in_flight, self._in_flight = self._in_flight, None
        if in_flight is not None:
            in_flight.close()

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

    def _looks(self, look: Callable[[], _Seen], effect: Effect, give_up: Event | None) -> Iterator[_Seen]:
        """What is seen at each look, for as long as the caller wants to look again."""
        give_up = give_up or Event()
        pause = times.FIRST_POLL
        missed: dict[float, float] = {}  # when this process first saw that a beat was missing
        while True:
            verdict = look()
            yield self._bury(verdict, missed) if isinstance(verdict, Running) else verdict
            if give_up.wait(pause):
                raise EffectTaken(effect.thread_id, effect.tool, "nobody waits for it any more")
            pause = min(pause * times.POLL_GROWTH, times.SLOWEST_POLL)

    def _claim(self, effect: Effect) -> _Seen:
        """`None`: there is no checkpoint with the call, yet, or no answer under which it may run."""
        params = self._claim_params(effect)
        claimed, found = self._database.write(
            (self._sql["claim_effect"], params), self._entry(effect.thread_id, effect.key)
        )
        if claimed:
            return Started(*claimed[0])
        return self._seen(Entry(*found[0]), effect, params["owner"]) if found else None

    def _seen(self, entry: Entry, effect: Effect, owner: str) -> _Seen:
        if entry.state == "started" and entry.owner == owner:
            # The connection was lost at the commit, and it did take place.
            return Started(entry.lineage, entry.key, entry.attempt, owner)
        return self._with_value(classify(entry, effect))

    def _is_committed(self, effect: Effect) -> bool:
        place = {"thread_id": effect.thread_id, "ns": effect.ns, "checkpoint_id": effect.checkpoint_id}
        [[(committed,)]] = self._database.read((self._sql["is_committed"], place))
        return bool(committed)

    def _bury(self, running: Running, missed: dict[float, float]) -> Running | InDoubt:
        """Declare in doubt what its owner has not signed for long enough.

        After an outage an owner that lives gets one full period to say so, by the clock of this process: a jump of the
        database's clock alone makes nobody an orphan.
        """
        entry = running.entry
        if not entry.expired:
            return running
        if time.monotonic() - missed.setdefault(entry.alive_until, time.monotonic()) < times.EFFECT_RENEWAL:
            return running
        params = {"lineage": entry.lineage, "effect_key": entry.key, "attempt": entry.attempt}
        if self._write("orphan_effect", {**params, "alive_until": entry.alive_until}):
            return InDoubt(entry._replace(state="in_doubt", why="owner"), "owner")
        return running

    def _claim_params(self, effect: Effect) -> dict[str, Any]:
        return {
            "thread_id": effect.thread_id,
            "effect_key": effect.key,
            "tool": effect.tool,
            "args_digest": effect.args_digest,
            "owner": f"{default_owner()}, {secrets.token_hex(8)}",  # a claim is known again by this
            "ttl": times.EFFECT_TTL,
            "ns": effect.ns,
            "checkpoint_id": effect.checkpoint_id,
            "interrupt_id": effect.interrupt_id,
            "answer_digest": effect.answer_digest,
            "run_id": effect.run_id,
        }

    def _entry(self, thread_id: str, key: str) -> Call:
        return self._sql["effect"], {"thread_id": thread_id, "effect_key": key}

    def _ends(self, started: Started, name: str, **params: Any) -> bool:
        """Write how it ended; whether the ledger took it."""
        of = {"lineage": started.lineage, "effect_key": started.key, "attempt": started.attempt}
        params = {**of, "owner": started.owner, **params}
        try:
            taken = bool(self._write(name, params))
        except DatabaseUnavailable:
            self.in_flight.keep_outcome(started, (self._sql[name], params))
            raise
        self.in_flight.remove(started)
        return taken

    def _write(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        [rows] = self._database.write((self._sql[name], params))
        return rows

    def _packed(self, lineage: str, key: str, value: Any) -> tuple[str, bytes]:
        body = Packing(self._database.types).pack(value)
        return self._database.sealer.seal_value(lineage, _place(lineage, key), "msgpack", body)

    def _with_value(self, verdict: Running | Ended | InDoubt) -> Running | Ended | InDoubt:
        entry = verdict.entry
        if isinstance(verdict, Ended):
            return Ended(entry, self._value(entry))
        if isinstance(verdict, InDoubt):
            return InDoubt(entry, verdict.why, self._value(entry))
        return verdict

    def _value(self, entry: Entry) -> Any:
        if entry.result is None or entry.result_type is None:
            return None
        place = _place(entry.lineage, entry.key)
        type_, body = self._database.sealer.open_value(entry.lineage, place, entry.result_type, bytes(entry.result))
        if type_ != "msgpack":
            raise NotStorable(f"A result in the ledger has the form {type_!r}, which this version does not read.")
        return Unpacking(self._database.types).unpack(body)


def _place(lineage: str, key: str) -> str:
    return "\0".join(("effects", lineage, key))
