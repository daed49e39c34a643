"""Sweep a database by a retention policy, in the background of an application or a server.

    with RetentionWorker(checkpointer, policy):     # or: async with
        ...                                         # what the application does; the worker sweeps every hour

Several may be at work on one database: each thread is deleted once.
"""

from __future__ import annotations

import logging
from threading import Event
from typing import Final

from holdfast.checkpoints import HoldfastSaver, RetentionPolicy, Swept
from holdfast.checkpoints.errors.logged import for_log
from holdfast.graph.plans import Io
from holdfast.worker.periodic import Periodic

PERIOD: Final = 3600.0

_log = logging.getLogger(__name__)


class RetentionWorker(Periodic):
    """A worker that sweeps a database again and again; see `HoldfastSaver.sweep`.

    Args:
        saver: the checkpointer.
        policy: what to keep.
        period: seconds between the end of a sweep and the next one.

    Raises:
        ValueError: the period is not above 0.
    """

    def __init__(self, saver: HoldfastSaver, policy: RetentionPolicy, *, period: float = PERIOD) -> None:
        super().__init__(saver, period=period)
        self._policy = policy
        self._give_up = self._stopped

    def stop(self) -> None:
        """Let `run` or `arun` end, after the transaction of a sweep that is under way."""
        super().stop()
        self._give_up.set()

    async def _pass(self, io: Io) -> float:
        try:
            swept = await io.wait(self._sweep)
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("The retention policy could not be carried out: %s", for_log(error))
            return self._period
        for problem in swept.failed.values():
            _log.warning("The retention policy could not be carried out: %s", problem)
        if swept.threads or swept.emptied or swept.checkpoints:
            _log.info("The retention policy was carried out: %s", swept)
        return self._period

    def _sweep(self, give_up: Event | None) -> Swept:
        self._give_up = give_up or self._stopped
        if self._stopped.is_set():  # `stop` may have been called just before
            self._give_up.set()
        return self._saver.sweep(self._policy, give_up=self._give_up)
