"""Retention: a policy says how long threads are kept, and a sweep deletes what is older.

A sweep works in short transactions and rests between them, so that conversations go on meanwhile. If it is cut off,
each thread is as it was, or gone. In each transaction it locks the threads and judges them again, so several sweeps may
be at work at once, in any processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any, Final

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import DamagedThread, NotStorable
from holdfast.checkpoints.retention import due
from holdfast.checkpoints.retention.due import Found
from holdfast.checkpoints.retention.empty import empty_thread
from holdfast.checkpoints.retention.newest import MOST, count_older, keep_newest
from holdfast.checkpoints.retention.policy import RetentionPolicy, RetentionRule
from holdfast.checkpoints.threads.prune import bury_threads

_MOST_ROWS: Final = 512
"""About how many rows one transaction deletes, unless a thread has more."""

_ROWS_BESIDE: Final = 8  # of a thread, beside messages and checkpoints

__all__ = ["RetentionPolicy", "RetentionRule", "Swept", "sweep"]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has deleted; of a dry run, what it would delete."""

    threads: int = 0
    """Threads that were deleted with all that was said in them."""
    emptied: int = 0
    """Threads whose state was deleted, and whose transcript was kept."""
    checkpoints: int = 0
    messages: int = 0
    """Messages that were said in the deleted threads."""
    bytes: int = 0
    """About how many bytes of messages and checkpoints; the database reuses this space."""
    pending: int = 0
    """Threads that the policy would delete or prune, but that are pending or in use."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why the checkpoints of a thread could not be pruned, by thread."""
    is_dry: bool = False


def sweep(database: Database, policy: RetentionPolicy, *, dry_run: bool, give_up: Event) -> Swept:
    """Delete what a policy says, in small transactions.

    Args:
        database: the open database.
        policy: the policy.
        dry_run: whether only to count.
        give_up: ends the sweep after the transaction that is under way.
    """
    return _Sweep(database, policy, dry_run, give_up).run()


class _Sweep:
    """One sweep, with what it has done so far."""

    def __init__(self, database: Database, policy: RetentionPolicy, dry_run: bool, give_up: Event) -> None:
        self._database, self._policy = database, policy
        self._dry_run, self._give_up = dry_run, give_up
        [[clock]] = database.read((database.backend.sql["clock"], {}))
        self._now = float(clock.now)
        self._seen: set[str] = set()
        self._swept = Swept(is_dry=dry_run)
        self._held = 0.0

    def run(self) -> Swept:
        for page in due.pages(self._database, self._policy, self._now):
            new = [found for found in page if found.verdict != "keep" and found.thread_id not in self._seen]
            self._seen.update(found.thread_id for found in new)
            self._add(pending=sum(found.verdict == "pending" for found in new))
            self._delete([found for found in new if found.verdict in ("delete", "empty")])
            for found in new:
                if found.verdict == "prune" and not self._give_up.is_set():
                    self._prune(found)
            if self._give_up.is_set():
                break
        return self._swept

    # --- whole threads

    def _delete(self, todo: list[Found]) -> None:
        sizes = self._sizes(todo)
        if self._dry_run:
            self._count(todo, sizes)
            return
        for batch in _batches(todo, sizes):
            if self._give_up.is_set():
                return
            self._count(persist(self._database.backend, partial(self._delete_some, batch)), sizes)
            self._rest()

    def _delete_some(self, some: Sequence[Found]) -> list[Found]:
        """Delete those of some threads of which the policy still says the same. Return them."""
        with self._writing() as transaction:
            done = self._locked(transaction, some)
            gone = [found.thread_id for found in done if found.verdict == "delete"]
            if gone:
                bury_threads(transaction, self._database, gone)
            for found in done:
                if found.verdict == "empty":
                    empty_thread(transaction, self._database, found.thread_id, found.head)
        for found in done:
            self._database.forget(found.thread_id)
            if found.verdict == "delete":
                self._database.sealer.erase(found.thread_id)
        return done

    def _locked(self, transaction: Transaction, some: Sequence[Found]) -> list[Found]:
        """Lock threads that are idle, and return those of which the policy still says the same."""
        sql, params = self._database.backend.sql, self._among(some)
        # In this order: what was committed before a thread was locked is seen then.
        locked, facts = transaction.run([(sql["lock_idle_threads"], params), due.facts_about(sql, params)])
        ids, rows = {row.thread_id for row in locked}, {row.thread_id: row for row in facts}
        return [found for found in some if found.thread_id in ids and self._is_still(found, rows.get(found.thread_id))]

    def _is_still(self, found: Found, row: Row | None) -> bool:
        if row is None:
            return False
        again = due.judge(self._policy, row, self._now, is_long=found.verdict == "prune")
        return (again.verdict, again.head) == (found.verdict, found.head)

    # --- older checkpoints

    def _prune(self, found: Found) -> None:
        database, thread_id = self._database, found.thread_id
        before, size = self._sizes([found])[thread_id]
        gone = 0
        try:
            if self._dry_run:
                with database.backend.reading() as transaction:
                    gone = count_older(transaction, database, thread_id, found.keep)
            else:
                gone = self._prune_all(found)
        except (DamagedThread, NotStorable) as error:
            self._swept.failed[thread_id] = str(error)
        self._add(checkpoints=gone, bytes=size * gone // max(before, 1))

    def _prune_all(self, found: Found) -> int:
        gone, more = 0, True
        while more and not self._give_up.is_set():
            number = persist(self._database.backend, partial(self._prune_some, found))
            gone, more = gone + number, number >= MOST
            self._rest()
        return gone

    def _prune_some(self, found: Found) -> int:
        with self._writing() as transaction:
            if not self._locked(transaction, [found]):
                return 0
            return keep_newest(transaction, self._database, found.thread_id, found.keep)

    # --- counting

    def _sizes(self, found: Sequence[Found]) -> dict[str, tuple[int, int]]:
        """Return how many checkpoints each thread has, and their bytes."""
        sizes = dict.fromkeys((at.thread_id for at in found), (0, 0))
        if found:
            [rows] = self._database.read((self._database.backend.sql["checkpoints_size"], self._among(found)))
            sizes.update((row.thread_id, (int(row.number), int(row.bytes))) for row in rows)
        return sizes

    def _among(self, found: Sequence[Found]) -> dict[str, Any]:
        return {"thread_ids": self._database.backend.array([at.thread_id for at in found])}

    def _count(self, done: Sequence[Found], sizes: Mapping[str, tuple[int, int]]) -> None:
        for found in done:
            number, size = sizes[found.thread_id]
            self._add(checkpoints=number, bytes=size)
            if found.verdict == "delete":
                self._add(threads=1, messages=found.messages, bytes=found.bytes)
            else:
                self._add(emptied=1)

    def _add(self, **more: int) -> None:
        self._swept = replace(self._swept, **{name: getattr(self._swept, name) + by for name, by in more.items()})

    # --- beside conversations

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        """Begin a transaction, and measure how long it holds what it locks."""
        begin = time.monotonic()
        try:
            with self._database.backend.writing() as transaction:
                begin = time.monotonic()  # others may have held it before
                yield transaction
        finally:
            self._held = time.monotonic() - begin

    def _rest(self) -> None:
        """Leave the database to others for longer than the last transaction has held it."""
        self._give_up.wait(min(self._held * times.SWEEP_REST, times.SWEEP_LONGEST_REST))


def _batches(todo: Sequence[Found], sizes: Mapping[str, tuple[int, int]]) -> Iterator[list[Found]]:
    """Divide threads among transactions that delete about as many rows each."""
    batch: list[Found] = []
    rows = 0
    for found in todo:
        more = found.messages + sizes[found.thread_id][0] + _ROWS_BESIDE
        if batch and rows + more > _MOST_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(found)
        rows += more
    if batch:
        yield batch
