"""The effects that this process is running: it renews their claims, and writes the outcomes that are still unwritten.

A renewal moves the expiry of a claim on, by the database's clock. An expired claim means that its owner is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.backends.heartbeat import Heartbeat
from holdfast.checkpoints.effects.states import Started
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.errors.logged import for_log

_log = logging.getLogger(__name__)


@dataclass
class _EffectInFlight:
    started: Started
    outcome: Sequence[Call] = ()
    """The calls that record how the effect ended, if they could not be run yet."""
    since: float = field(default_factory=time.monotonic)


class EffectsInFlight:
    """The effects that this process has started and whose outcome is not on record yet. Safe for threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._running: dict[tuple[str, str], _EffectInFlight] = {}
        self._lock = Lock()
        self._heartbeat: Heartbeat | None = None

    def add(self, started: Started) -> None:
        """Renew this effect's claim from now on."""
        with self._lock:
            self._running[started.lineage, started.key] = _EffectInFlight(started)
            if self._heartbeat is None:
                self._heartbeat = Heartbeat("holdfast-effects", times.EFFECT_RENEWAL, self._beat)
                self._heartbeat.start()

    def is_running(self, started: Started) -> bool:
        """Report if this attempt is under way, without an outcome so far."""
        with self._lock:
            running = self._running.get((started.lineage, started.key))
        return running is not None and running.started == started and not running.outcome

    def remove(self, started: Started) -> None:
        """Stop renewing: the outcome is on record."""
        with self._lock:
            self._running.pop((started.lineage, started.key), None)

    def keep_outcome(self, started: Started, *outcome: Call) -> None:
        """Go on renewing, and write the outcome, which could not be written, as soon as the database is back."""
        with self._lock:
            self._running[started.lineage, started.key] = _EffectInFlight(started, outcome)

    def close(self) -> None:
        """Stop renewing, and try once more to write the outcomes that are left."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._beat()

    def _beat(self) -> bool:
        with self._lock:
            effects = list(self._running.values())
        for running in effects:
            if not running.outcome and time.monotonic() - running.since < times.EFFECT_RENEWAL:
                continue  # its claim is young enough
            try:
                with self._backend.writing() as transaction:
                    transaction.run(running.outcome or [self._renewal(running.started)])
            except DatabaseUnavailable as error:
                _log.warning("The ledger of effects is out of reach and will be tried again: %s", error)
                return True
            except Exception as error:  # noqa: BLE001 - an outcome that can never be written must not end the renewal of others
                _log.error(
                    "An effect could not be renewed or its outcome not be written; it will be in doubt: %s",
                    for_log(error),
                )
            if running.outcome:
                self._remove(running)
        return True

    def _remove(self, running: _EffectInFlight) -> None:
        with self._lock:
            key = running.started.lineage, running.started.key
            if self._running.get(key) is running:  # and not a later outcome
                del self._running[key]

    def _renewal(self, started: Started) -> Call:
        params = {"lineage": started.lineage, "effect_key": started.key, "attempt": started.attempt}
        return self._backend.sql["beat_effect"], {**params, "owner": started.owner, "ttl": times.EFFECT_TTL}
