"""The heartbeat of the effects that this process runs.

It has a thread of its own, so it beats while a tool blocks its thread or an event loop. What it says stands in the
database by the database's clock; who finds a beat missing for long enough takes the owner for gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Final

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.effects.states import Started
from holdfast.checkpoints.errors import DatabaseUnavailable

_log = logging.getLogger(__name__)

TTL: Final = 15.0
"""Seconds after which an owner that says nothing is taken for gone."""

PERIOD: Final = TTL / 3
"""Seconds from one beat to the next. An effect that is over sooner costs none."""


@dataclass
class _Flight:
    """An effect that is under way."""

    started: Started
    outcome: Sequence[Call] = ()
    """Says how it ended, if that could not be written yet."""
    since: float = field(default_factory=time.monotonic)


class Heart:
    """See the module."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None

    def add(self, started: Started) -> None:
        """Beat for this effect from now on."""
        with self._lock:
            self._flights[started.lineage, started.key] = _Flight(started)
            if self._thread is None:
                self._thread = Thread(target=self._beat, name="holdfast-effects", daemon=True)
                self._thread.start()

    def holds(self, started: Started) -> bool:
        """Whether it is under way, as far as was said."""
        with self._lock:
            flight = self._flights.get((started.lineage, started.key))
        return flight is not None and flight.started == started and not flight.outcome

    def drop(self, started: Started) -> None:
        """It is over, and on record as such."""
        with self._lock:
            self._flights.pop((started.lineage, started.key), None)

    def keep(self, started: Started, *outcome: Call) -> None:
        """It is over, and that could not be written: beat on, and write it as soon as the database is back."""
        with self._lock:
            self._flights[started.lineage, started.key] = _Flight(started, outcome)

    def close(self) -> None:
        """Write what is left to be written, if that can be done now, and beat no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._once()

    def _beat(self) -> None:
        while not self._stop.wait(PERIOD):
            self._once()

    def _once(self) -> None:
        with self._lock:
            flights = list(self._flights.values())
        for flight in flights:
            if not flight.outcome and time.monotonic() - flight.since < PERIOD:
                continue  # what it said when it started is young enough
            try:
                with self._backend.writing() as transaction:
                    transaction.run(flight.outcome or [self._sign(flight.started)])
            except DatabaseUnavailable as error:
                _log.warning("The ledger cannot be reached, and is tried again: %s", error)
                return
            except Exception:  # noqa: BLE001 - see below
                # An outcome that cannot be written at all leaves its effect in doubt, and must not end the others.
                _log.exception("A beat of the ledger failed.")
            if flight.outcome:
                self._drop(flight)

    def _drop(self, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get((flight.started.lineage, flight.started.key)) is flight:  # no later outcome
                del self._flights[flight.started.lineage, flight.started.key]

    def _sign(self, started: Started) -> Call:
        params = {"lineage": started.lineage, "effect_key": started.key, "attempt": started.attempt}
        return self._backend.sql["beat_effect"], {**params, "owner": started.owner, "ttl": TTL}
