"""The runs that a worker of this process has claimed: their claims are renewed until they end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Literal

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.heartbeat import Heartbeat
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.runs.records import Claimed, EndedRun
from holdfast.checkpoints.threads.leases import Lease, default_owner

if TYPE_CHECKING:
    from holdfast.checkpoints.runs import Runs


class Claims:
    """The claims of one worker. Safe for threads.

    Args:
        runs: the runs of the database.
        stop: called with the id of a run that was asked to stop, or that another worker has by now.
        room: returns how many turns the worker could begin now of those that its process accepts.
        has_more: called when `taken` has something. Each of the three may be called in any thread.
    """

    def __init__(
        self,
        runs: Runs,
        stop: Callable[[str], object],
        room: Callable[[], int] = lambda: 0,
        has_more: Callable[[], object] = lambda: None,
    ) -> None:
        self._runs = runs
        self._stop, self._room, self._has_more = stop, room, has_more
        self._owner = f"{default_owner()}, worker {uuid.uuid4().hex}"
        self._held: dict[str, Lease | None] = {}
        self._taken: list[Claimed] = []
        self._reserved = 0
        self._lock = Lock()
        self._heartbeat: Heartbeat | None = None

    @property
    def owner(self) -> str:
        """The worker, as the owner of its runs."""
        return self._owner

    # --- runs that this process accepts

    def open(self, agent: str) -> None:
        """Let runs of an agent that this process accepts be claimed at once."""
        self._runs.workers[agent] = self

    @contextmanager
    def reserving(self) -> Iterator[str | None]:
        """Keep room for a run that is accepted in the block. Yield its owner; `None` if the worker has no room."""
        with self._lock:
            has_room = self._room() > len(self._taken) + self._reserved
            self._reserved += has_room
        try:
            yield self._owner if has_room else None
        finally:
            with self._lock:
                self._reserved -= has_room

    def take(self, claimed: Claimed) -> None:
        """Add a run that was claimed when it was accepted."""
        self.hold(claimed)
        with self._lock:
            self._taken.append(claimed)
        self._has_more()

    def taken(self) -> Sequence[Claimed]:
        """Return, once, what was claimed when it was accepted."""
        with self._lock:
            taken, self._taken = self._taken, []
        return taken

    # --- claims

    def claim(self, agent: str, limit: int) -> Sequence[Claimed]:
        """Claim runs of an agent, and renew the claims from now on. Stop those of this worker that were told to."""
        claimed = self._runs.claim(agent, self._owner, limit=limit, stop=self._stop)
        self.hold(*claimed)
        return claimed

    def hold(self, *runs: Claimed | str) -> None:
        """Renew the claims of runs that this worker has, and of their leases, from now on.

        Args:
            runs: the runs; the id of one that this worker has accepted for itself.
        """
        with self._lock:
            for run in runs:
                if isinstance(run, str):
                    self._held[run] = None
                else:
                    self._held[run.run.run_id] = run.lease
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
    ) -> EndedRun | None:
        """Record how a run ended; see `Runs.finish`."""
        return self._runs.finish(claimed, state, error_type=error_type, error=error)

    def forget(self, run_id: str) -> None:
        """Renew the claim of a run no more. If its end is not on record, the claim expires."""
        with self._lock:
            self._held.pop(run_id, None)

    def close(self) -> None:
        """Renew no more claims, and give back what was claimed and not begun."""
        workers = self._runs.workers
        for agent in [agent for agent, claims in workers.items() if claims is self]:
            del workers[agent]
        for claimed in self.taken():
            with suppress(DatabaseUnavailable):  # it expires
                self.release(claimed)
        with self._lock:
            heartbeat, self._heartbeat = self._heartbeat, None
            self._held.clear()
        if heartbeat is not None:
            heartbeat.stop()

    def _beat(self) -> bool:
        with self._lock:
            held = dict(self._held)
        if held:
            with suppress(DatabaseUnavailable):  # the claims may expire; the next renewal finds out
                still = self._runs.renew(self._owner, sorted(held))
                for run_id in held:
                    if still.get(run_id, True):
                        self._stop(run_id)
                for lease in held.values():
                    if lease is not None:
                        self._runs.hold_lease(lease)
        return True
