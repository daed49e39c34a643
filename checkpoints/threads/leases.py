"""Leases on threads: one writer at a time, for callers that prefer to wait over being refused.

A caller that wants to write takes a ticket and joins the thread's FIFO queue. The lowest ticket that has not expired
holds the lease. A lease holder renews its expiry while it lives, so the lease of a dead process expires by itself. All
times are those of the database.

A lease is advisory. A process that was suspended past its expiry may wake up and write. If another writer has saved a
checkpoint in between, the save is refused as a conflict.

While the database is out of reach, no lease can be taken, and all leases may expire. The first caller that reaches the
database again gets the lease. If that is the previous holder, it continues. If it is another caller, the previous
holder is informed by `Lease.lost`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Backend, Transaction
from holdfast.checkpoints.backends.executor import Executor
from holdfast.checkpoints.backends.heartbeat import Heartbeat
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.errors import DatabaseUnavailable, ThreadBusy

T = TypeVar("T")


@dataclass
class Lease:
    """The right to write to a thread for a limited time."""

    thread_id: str
    ticket: int
    """A number that grows with each lease of the thread: a fencing token for services that accept one."""
    is_unfinished: bool = False
    """Whether tasks of the thread's last turn were left to run when the lease was taken."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another caller may have taken the lease although this holder is alive: the process was suspended, or the
    database was out of reach, for longer than `ttl`. From then on the conflict check decides: this holder's saves
    succeed until another writer has saved a checkpoint, and are refused afterwards."""


def default_owner() -> str:
    """Name this process by host and process id, for people."""
    return f"{socket.gethostname()}, process {os.getpid()}"


@contextmanager
def lease(
    backend: Backend,
    thread_id: str,
    *,
    purpose: str = "run",
    owner: str | None = None,
    wait: float = times.LEASE_WAIT,
    ttl: float = times.LEASE_TTL,
    give_up: threading.Event | None = None,
) -> Iterator[Lease]:
    """Hold the lease of a thread for the duration of the block.

    Args:
        backend: the database.
        thread_id: the thread.
        purpose: the reason for the lease, shown to callers that wait.
        owner: the name of the lease holder, shown to callers that wait. The default is host and process id.
        wait: seconds to wait for the lease; 0 takes it only if it is free.
        ttl: seconds after which the lease of a dead process expires.
        give_up: ends the wait as if `wait` were over when another thread sets it.

    Raises:
        ThreadBusy: other callers held the lease during the whole wait.
    """
    queue = _LeaseQueue(backend, thread_id, owner or default_owner(), purpose, ttl, give_up or threading.Event())
    try:
        held = queue.wait_for(queue.enter(), wait)
        heartbeat = queue.heartbeat(held)
        heartbeat.start()
        try:
            yield held
        finally:
            heartbeat.stop()
    finally:
        with suppress(DatabaseUnavailable):  # then the lease expires
            queue.leave()


@asynccontextmanager
async def async_lease(
    lease_of: Callable[[threading.Event], AbstractContextManager[Lease]],
) -> AsyncIterator[Lease]:
    """Hold a lease in code on an event loop, without blocking the loop during the wait.

    Args:
        lease_of: builds the lease to hold from the event that ends the wait.
    """
    give_up = threading.Event()
    lease = lease_of(give_up)
    # The wait blocks a thread of its own. In a shared pool, the waiting callers would occupy every thread, and the work
    # that they wait for could not run.
    with closing(Executor(1, wait_for_it=False)) as executor:
        entering = asyncio.ensure_future(executor.run(lease.__enter__))
        try:
            held = await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread has to end before the cancellation goes on. Otherwise it could take a lease that is never
            # released.
            give_up.set()
            if not isinstance((await asyncio.gather(entering, return_exceptions=True))[0], BaseException):
                await executor.run(lease.__exit__, None, None, None)
            raise
        try:
            yield held
        finally:
            await executor.run(lease.__exit__, None, None, None)


@dataclass(frozen=True)
class _LeaseQueue:
    """The FIFO queue for the lease of one thread, from the point of view of one caller."""

    backend: Backend
    thread_id: str
    owner: str
    purpose: str
    ttl: float
    give_up: threading.Event
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Identifies the caller's entry in the queue when the commit of `enter` was lost and its ticket is unknown."""

    def enter(self) -> int:
        """Join the queue, and return the ticket."""
        attempts = 0

        def enter() -> int:
            nonlocal attempts
            attempts += 1
            with self.backend.writing() as transaction:
                return self._take_ticket(transaction, is_first=attempts == 1)

        return self._persist(enter)

    def _take_ticket(self, transaction: Transaction, *, is_first: bool) -> int:
        sql = self.backend.sql
        if not is_first:
            # An earlier attempt may have joined the queue. If its commit is still in progress, it ends before the lock
            # is granted.
            own = self._params(nonce=self.nonce)
            _, entries = transaction.run([(sql["lock_thread"], self._params()), (sql["own_ticket"], own)])
            if entries:
                return int(entries[0].ticket)
        # The thread's row is the lock: no other caller joins between taking the number and inserting the entry.
        *_, [taken] = transaction.run([(sql["add_thread"], self._params()), (sql["take_ticket"], self._params())])
        entry = self._params(owner=self.owner, purpose=self.purpose, nonce=self.nonce, ttl=self.ttl)
        transaction.send([(sql["join_lease_queue"], {**entry, "ticket": taken.ticket})])
        return int(taken.ticket)

    def wait_for(self, ticket: int, wait: float) -> Lease:
        """Wait until the ticket is the lowest, and return the lease that it holds.

        It is that of another ticket if the entry expired meanwhile, because the process was suspended or the database
        was out of reach. The caller has then joined the queue again at its end.
        """
        deadline = time.monotonic() + wait
        pause, next_renewal = times.FIRST_POLL, time.monotonic() + self.ttl / times.RENEWALS_PER_TTL
        while True:
            first, owner, purpose, since, second = self._persist(self._front)
            if first == ticket and (taken := self._persist(partial(self._renew, "take_lease", ticket))):
                return Lease(self.thread_id, ticket, bool(taken[0].unfinished))
            now = time.monotonic()
            if now >= next_renewal or first is None or first > ticket:
                next_renewal = now + self.ttl / times.RENEWALS_PER_TTL
                if not self._persist(partial(self._renew, "renew_ticket", ticket)):
                    ticket = self.enter()
                    continue
            if now >= deadline or self.give_up.is_set():
                raise ThreadBusy(self.thread_id, owner=owner, purpose=purpose, since=since, waited=wait)
            self.give_up.wait(min(pause, max(deadline - now, 0)))
            pause = min(pause * times.POLL_GROWTH, times.NEXT_IN_QUEUE_POLL if second == ticket else times.SLOWEST_POLL)

    def heartbeat(self, held: Lease) -> Heartbeat:
        """Return the heartbeat that renews a lease until it is stopped or the lease is lost."""
        renew = partial(self._renew, "hold_lease", held.ticket)

        def beat() -> bool:
            # If the database stays out of reach, the lease may expire; the next renewal finds out.
            with suppress(DatabaseUnavailable):
                if not persist(self.backend, renew, give_up=heartbeat.stopping):
                    held.lost.set()
                    return False
            return True

        heartbeat = Heartbeat(f"holdfast-lease-{held.ticket}", self.ttl / times.RENEWALS_PER_TTL, beat)
        return heartbeat

    def leave(self) -> None:
        """Release the lease, or leave the queue."""

        def leave() -> None:
            with self.backend.writing() as transaction:
                transaction.send([(self.backend.sql["leave_lease_queue"], self._params(nonce=self.nonce))])

        persist(self.backend, leave, give_up=self.give_up, limit=times.LEASE_RELEASE)

    def _persist(self, work: Callable[[], T]) -> T:
        """Run a unit of work of this class, each of which is idempotent."""
        return persist(self.backend, work, give_up=self.give_up)

    def _front(self) -> tuple[int | None, str, str, float, int | None]:
        """Read ticket, owner, purpose and age in seconds of the first entry in the queue, and the next one's ticket."""
        with self.backend.reading() as transaction:
            [entries] = transaction.run([(self.backend.sql["first_tickets"], self._params())])
        if not entries:
            return None, "an unknown owner", "", 0.0, None
        return *entries[0], entries[1][0] if len(entries) > 1 else None

    def _renew(self, statement: str, ticket: int) -> Sequence[Row]:
        """Run one of the statements that move an entry's expiry, and return its row if the entry still qualified."""
        with self.backend.writing() as transaction:
            sql = self.backend.sql
            # Under the thread's lock, so that a holder that renews an expired lease and a caller that takes it see each
            # other.
            renewal = (sql[statement], self._params(ticket=ticket, ttl=self.ttl))
            [_, rows] = transaction.run([(sql["lock_thread"], self._params()), renewal])
        return rows

    def _params(self, **params: Any) -> dict[str, Any]:
        return {"thread_id": self.thread_id, **params}
