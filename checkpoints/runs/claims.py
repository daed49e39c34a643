"""The runs that a worker of this process has claimed: their claims are renewed until they end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Literal

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.heartbeat import Heartbeat
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.threads.leases import default_owner

if TYPE_CHECKING:
    from holdfast.checkpoints.runs import Claimed, Runs


class Claims:
    """The claims of one worker. Safe for threads.

    Args:
        runs: the runs of the database.
        stop: called with the id of a run that was asked to stop, or that another worker has by now.
    """

    def __init__(self, runs: Runs, stop: Callable[[str], object]) -> None:
        self._runs = runs
        self._stop = stop
        self._owner = f"{default_owner()}, worker {uuid.uuid4().hex}"
        self._held: set[str] = set()
        self._lock = Lock()
        self._heartbeat: Heartbeat | None = None

    @property
    def owner(self) -> str:
        """The worker, as the owner of its runs."""
        return self._owner

    def claim(self, agent: str, limit: int) -> Sequence[Claimed]:
        """Claim runs of an agent, and renew the claims from now on. Stop those of this worker that were told to."""
        claimed = self._runs.claim(agent, self._owner, limit=limit, stop=self._stop)
        self.hold(*(one.run.run_id for one in claimed))
        return claimed

    def hold(self, *run_ids: str) -> None:
        """Renew the claims of runs that this worker has from now on, also those that it has accepted for itself."""
        with self._lock:
            self._held.update(run_ids)
            if self._held and self._heartbeat is None:
                self._heartbeat = Heartbeat("holdfast-runs", times.RUN_RENEWAL, self._beat)
                self._heartbeat.start()

    def release(self, claimed: Claimed) -> bool:
        """Give a run back; see `Runs.release`."""
        return self._runs.release(claimed)

    def finish(
        self,
        claimed: Claimed,
        state: Literal["done", "failed", "cancelled"],
        error_type: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Record how a run ended; see `Runs.finish`."""
        return self._runs.finish(claimed, state, error_type=error_type, error=error)

    def forget(self, run_id: str) -> None:
        """Renew the claim of a run no more. If its end is not on record, the claim expires."""
        with self._lock:
            self._held.discard(run_id)

    def close(self) -> None:
        """Renew no more claims."""
        with self._lock:
            heartbeat, self._heartbeat = self._heartbeat, None
            self._held.clear()
        if heartbeat is not None:
            heartbeat.stop()

    def _beat(self) -> bool:
        with self._lock:
            held = set(self._held)
        if held:
            with suppress(DatabaseUnavailable):  # the claims may expire; the next renewal finds out
                still = self._runs.renew(self._owner, sorted(held))
                for run_id in held:
                    if still.get(run_id, True):
                        self._stop(run_id)
        return True
