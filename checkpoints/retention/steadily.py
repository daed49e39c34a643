"""Pruning of a thread while it goes on, in the background, so that its checkpoints stay about as many."""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import partial
from threading import Lock, Thread
from typing import Any, Final

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors.logged import for_log
from holdfast.checkpoints.retention.newest import MOST, MOST_BESIDE, keep_newest

_MOST_THREADS: Final = 4096

_log = logging.getLogger(__name__)


class SteadyPruning:
    """Prunes each thread of a checkpointer whenever it has gone some steps further.

    To note a save costs a division. What there is to prune is read, and deleted, by a thread of this process that ends
    when nothing is left to do.
    """

    def __init__(self, database: Database, count: int) -> None:
        """
        Args:
            database: the open database.
            count: the number of newest checkpoints to keep; and after how many steps to prune a thread.
        """
        self._database = database
        self._count = count
        self._lock = Lock()
        self._rounds: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._due: OrderedDict[str, None] = OrderedDict()
        self._worker: Thread | None = None

    def note(self, thread_id: str, ns: str, step: Any) -> None:
        """Note that a checkpoint was saved.

        Args:
            thread_id, ns: its thread and namespace.
            step: its step, by which this process knows how far a thread is that others have continued.
        """
        if not isinstance(step, int):
            return
        place, at = (thread_id, ns), step // self._count
        with self._lock:
            before = self._rounds.get(place, (step - 1) // self._count)
            self._rounds[place] = at
            self._rounds.move_to_end(place)
            if len(self._rounds) > _MOST_THREADS:
                self._rounds.popitem(last=False)
            if at == before or step < self._count:
                return
            self._due[thread_id] = None
            if self._worker is None:
                self._worker = Thread(target=self._work, name="holdfast-pruning", daemon=True)
                self._worker.start()

    def finish(self) -> None:
        """Wait until nothing is left to do."""
        with self._lock:
            worker = self._worker
        if worker is not None:
            worker.join()

    def _work(self) -> None:
        while (thread_id := self._next()) is not None:
            try:
                self._prune(thread_id)
            except Exception as error:  # noqa: BLE001 - the conversation goes on, and a later round tries again
                _log.warning("Thread %s: its older checkpoints could not be pruned: %s", thread_id, for_log(error))

    def _next(self) -> str | None:
        with self._lock:
            if not self._due:
                self._worker = None
                return None
            return self._due.popitem(last=False)[0]

    def _prune(self, thread_id: str) -> None:
        sql, params = self._database.backend.sql, {"thread_id": thread_id, "most": self._count + MOST_BESIDE}
        if not self._database.read((sql["is_long"], params))[0]:
            return
        while persist(self._database.backend, partial(self._prune_some, thread_id)) >= MOST:
            pass

    def _prune_some(self, thread_id: str) -> int:
        with self._database.backend.writing() as transaction:
            return keep_newest(transaction, self._database, thread_id, self._count)
