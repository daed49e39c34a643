"""One writer per thread at a time: the friendly side of the guard, for who would rather wait than be refused.

Who wants to write takes a ticket and stands in line; the lowest ticket that has not expired holds the lease. The owner
moves its expiry on while it lives, so the lease of a process that died ends by itself. All times are the database's.

A lease is a courtesy between well-behaved writers. A process that slept past its expiry may wake up and write; then the
guard refuses it, because somebody else has moved the head.

While the database is out of reach nobody can take a lease, and all of them may expire. Then the first to come back has
it: its owner, who goes on as if nothing had been, or somebody else, and then its owner is told by `lost`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from holdfast.checkpoints.backends.base import Backend, Transaction
from holdfast.checkpoints.backends.executor import Executor
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.errors import DatabaseUnavailable, ThreadBusy

T = TypeVar("T")

# A process that died holds a thread for this long at the most; one that lives says so three times in that time.
TTL: Final = 15.0
_BEATS: Final = 3

# How long to wait for somebody else's turn before `ThreadBusy`: as long as a turn with a slow model may take.
WAIT: Final = 30.0

# Nothing tells when somebody else is done, so who waits looks again, at first often.
_FIRST_LOOK: Final = 0.01
_SLOWEST_LOOK: Final = 0.25

# How long to try to give a lease back: afterwards it ends by itself, and the caller has something to tell.
_LEAVE: Final = 5.0


@dataclass
class Lease:
    """The right to write to a thread, for now."""

    thread_id: str
    ticket: int
    """Grows with every lease of a thread: a fencing token for services that take one."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when somebody else may have taken the lease although its owner lives: it was suspended, or the database was
    out of reach, for longer than `ttl`. Then the guard decides: what this owner saves is kept as long as nobody else
    has saved a checkpoint, and refused afterwards."""


def default_owner() -> str:
    """This process, as a person would look for it."""
    return f"{socket.gethostname()}, process {os.getpid()}"


@contextmanager
def lease(
    backend: Backend,
    thread_id: str,
    *,
    purpose: str = "run",
    owner: str | None = None,
    wait: float = WAIT,
    ttl: float = TTL,
    give_up: threading.Event | None = None,
) -> Iterator[Lease]:
    """Hold the lease of a thread for as long as the block takes.

    Args:
        backend: the database.
        thread_id: the thread.
        purpose: for the one who has to wait: what this is for.
        owner: for the one who has to wait: who this is. By default host and process.
        wait: seconds to wait for the lease. 0: take it if it is free.
        ttl: seconds after which the lease of a process that died ends.
        give_up: when this is set by another thread, waiting ends as if `wait` were over.

    Raises:
        ThreadBusy: somebody else held it all the time.
    """
    line = _LeaseQueue(backend, thread_id, owner or default_owner(), purpose, ttl, give_up or threading.Event())
    stop = threading.Event()
    try:
        held = Lease(thread_id, line.wait_for(line.enter(), wait))
        beat = threading.Thread(target=line.beat, args=(held, stop), name=f"holdfast-lease-{held.ticket}", daemon=True)
        beat.start()
        try:
            yield held
        finally:
            stop.set()
            beat.join()
    finally:
        with suppress(DatabaseUnavailable):  # then it expires
            line.leave()


@asynccontextmanager
async def async_lease(
    lease_of: Callable[[threading.Event], AbstractContextManager[Lease]],
) -> AsyncIterator[Lease]:
    """A lease for code on an event loop, which must not be blocked by waiting.

    Args:
        lease_of: gives the lease to take; it is passed the event that ends the waiting.
    """
    give_up = threading.Event()
    lease = lease_of(give_up)
    # Waiting blocks, so it is done in a thread; in one of its own, since those who wait would soon fill any pool, and
    # the work that they wait for would find no thread.
    with closing(Executor(1, wait_for_it=False)) as offload:
        entering = asyncio.ensure_future(offload.run(lease.__enter__))
        try:
            held = await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread has to end before the caller goes on: a lease that nobody knows of would be held for ever.
            give_up.set()
            if not isinstance((await asyncio.gather(entering, return_exceptions=True))[0], BaseException):
                await offload.run(lease.__exit__, None, None, None)
            raise
        try:
            yield held
        finally:
            await offload.run(lease.__exit__, None, None, None)


@dataclass(frozen=True)
class _LeaseQueue:
    """Those who want to write to one thread, as one of them sees it."""

    backend: Backend
    thread_id: str
    owner: str
    purpose: str
    ttl: float
    give_up: threading.Event
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What one asks under: a place that was given without one's knowing is found by it."""

    def enter(self) -> int:
        """Take a place in line, and return its ticket."""
        attempts = 0

        def enter() -> int:
            nonlocal attempts
            attempts += 1
            with self.backend.writing() as transaction:
                return self._place(transaction, is_first=attempts == 1)

        return self._persist(enter)

    def _place(self, transaction: Transaction, *, is_first: bool) -> int:
        sql = self.backend.sql
        if not is_first:
            # Perhaps another attempt has taken it. One that is still at its commit ends before the lock is got.
            asked = self._params(nonce=self.nonce)
            _, rows = transaction.run([(sql["lock_thread"], self._params()), (sql["place_in_line"], asked)])
            if rows:
                return int(rows[0][0])
        # The thread's row is its lock: the number and the place in line are taken as one.
        *_, [(ticket,)] = transaction.run([(sql["add_thread"], self._params()), (sql["take_ticket"], self._params())])
        asked = self._params(owner=self.owner, purpose=self.purpose, nonce=self.nonce, ttl=self.ttl)
        transaction.send([(sql["enter_line"], {**asked, "ticket": ticket})])
        return int(ticket)

    def wait_for(self, ticket: int, wait: float) -> int:
        """Wait until the ticket is the lowest. Returns the one that holds the lease: another one, if the place was lost
        meanwhile, because this process was suspended or the database was out of reach."""
        deadline = time.monotonic() + wait
        pause, next_sign = _FIRST_LOOK, time.monotonic() + self.ttl / _BEATS
        while True:
            first, owner, purpose, since = self._persist(self._first)
            if first == ticket and self._persist(partial(self._renew, "take_lease", ticket)):
                return ticket
            now = time.monotonic()
            if now >= next_sign or first is None or first > ticket:
                next_sign = now + self.ttl / _BEATS
                if not self._persist(partial(self._renew, "stay_in_line", ticket)):
                    ticket = self.enter()
                    continue
            if now >= deadline or self.give_up.is_set():
                raise ThreadBusy(self.thread_id, owner=owner, purpose=purpose, since=since, waited=wait)
            self.give_up.wait(min(pause, max(deadline - now, 0)))
            pause = min(pause * 1.5, _SLOWEST_LOOK)

    def beat(self, held: Lease, stop: threading.Event) -> None:
        renew = partial(self._renew, "hold_lease", held.ticket)
        while not stop.wait(self.ttl / _BEATS):
            # When the database stays out of reach the lease may expire; the next beat finds out.
            with suppress(DatabaseUnavailable):
                if not persist(self.backend, renew, give_up=stop):
                    held.lost.set()
                    return

    def leave(self) -> None:
        def leave() -> None:
            with self.backend.writing() as transaction:
                transaction.send([(self.backend.sql["leave_line"], self._params(nonce=self.nonce))])

        persist(self.backend, leave, give_up=self.give_up, limit=_LEAVE)

    def _persist(self, work: Callable[[], T]) -> T:
        """All of it may be repeated: a place is taken once, what was renewed is renewed again, and the rest reads."""
        return persist(self.backend, work, give_up=self.give_up)

    def _first(self) -> tuple[int | None, str, str, float]:
        with self.backend.reading() as transaction:
            [rows] = transaction.run([(self.backend.sql["first_in_line"], self._params())])
        return rows[0] if rows else (None, "nobody", "", 0.0)

    def _renew(self, statement: str, ticket: int) -> bool:
        with self.backend.writing() as transaction:
            sql = self.backend.sql
            # Under the thread's lock: who comes back to an expired lease and who takes it see each other.
            renewal = (sql[statement], self._params(ticket=ticket, ttl=self.ttl))
            [_, rows] = transaction.run([(sql["lock_thread"], self._params()), renewal])
        return bool(rows)

    def _params(self, **params: Any) -> dict[str, Any]:
        return {"thread_id": self.thread_id, **params}
