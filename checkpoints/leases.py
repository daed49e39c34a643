"""One writer per thread at a time: the friendly side of the guard, for who would rather wait than be refused.

Who wants to write takes a ticket and stands in line; the lowest ticket that has not expired holds the lease. The owner
moves its expiry on while it lives, so the lease of a process that died ends by itself. All times are the database's.

A lease is a courtesy between well-behaved writers. A process that slept past its expiry may wake up and write; then the
guard refuses it, because somebody else has moved the head.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from checkpoints.errors import DatabaseUnavailable, ThreadBusy
from checkpoints.offload import Offload
from checkpoints.port import Backend

# A process that died holds a thread for this long at the most; one that lives says so three times in that time.
TTL: Final = 15.0
_BEATS: Final = 3

# How long to wait for somebody else's turn before `ThreadBusy`: as long as a turn with a slow model may take.
WAIT: Final = 30.0

# Nothing tells when somebody else is done, so who waits looks again, at first often.
_FIRST_LOOK: Final = 0.01
_SLOWEST_LOOK: Final = 0.25


@dataclass
class Lease:
    """The right to write to a thread, for now."""

    thread_id: str
    ticket: int
    """Grows with every lease of a thread: a fencing token for services that take one."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when the lease expired although its owner lives: it was suspended, or the database was out of reach."""


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
    line = _Line(backend, thread_id, owner or default_owner(), purpose, ttl)
    ticket = line.enter()
    stop = threading.Event()
    try:
        line.wait_for(ticket, wait, give_up or threading.Event())
        held = Lease(thread_id, ticket)
        beat = threading.Thread(target=line.beat, args=(held, stop), name=f"holdfast-lease-{ticket}", daemon=True)
        beat.start()
        try:
            yield held
        finally:
            stop.set()
            beat.join()
    finally:
        with suppress(DatabaseUnavailable):  # then it expires
            line.leave(ticket)


@asynccontextmanager
async def on_a_loop(
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
    with closing(Offload(1, wait_for_it=False)) as offload:
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
class _Line:
    """Those who want to write to one thread, as one of them sees it."""

    backend: Backend
    thread_id: str
    owner: str
    purpose: str
    ttl: float

    def enter(self) -> int:
        with self.backend.writing() as transaction:
            sql = self.backend.sql
            # The thread's row is its lock: the number and the place in line are taken as one.
            *_, [(ticket,)] = transaction.run(
                [(sql["add_thread"], self._params()), (sql["take_ticket"], self._params())]
            )
            transaction.send(
                [(sql["enter_line"], self._params(ticket=ticket, owner=self.owner, purpose=self.purpose, ttl=self.ttl))]
            )
        return int(ticket)

    def wait_for(self, ticket: int, wait: float, give_up: threading.Event) -> None:
        deadline = time.monotonic() + wait
        pause, next_sign = _FIRST_LOOK, time.monotonic() + self.ttl / _BEATS
        while True:
            first, owner, purpose, since = self._first()
            if first == ticket and self._renew("hold_lease", ticket):
                return
            now = time.monotonic()
            if now >= deadline or give_up.is_set():
                raise ThreadBusy(self.thread_id, owner=owner, purpose=purpose, since=since, waited=wait)
            if now >= next_sign:
                if not self._renew("stay_in_line", ticket):  # suspended for so long that the place is lost
                    raise ThreadBusy(self.thread_id, owner=owner, purpose=purpose, since=since, waited=wait)
                next_sign = now + self.ttl / _BEATS
            give_up.wait(min(pause, max(deadline - now, 0)))
            pause = min(pause * 1.5, _SLOWEST_LOOK)

    def beat(self, held: Lease, stop: threading.Event) -> None:
        while not stop.wait(self.ttl / _BEATS):
            # While the database is out of reach the lease may expire; the next beat finds out.
            with suppress(DatabaseUnavailable):
                if not self._renew("hold_lease", held.ticket):
                    held.lost.set()
                    return

    def leave(self, ticket: int) -> None:
        with self.backend.writing() as transaction:
            transaction.send([(self.backend.sql["leave_line"], self._params(ticket=ticket))])

    def _first(self) -> tuple[int | None, str, str, float]:
        with self.backend.reading() as transaction:
            [rows] = transaction.run([(self.backend.sql["first_in_line"], self._params())])
        return rows[0] if rows else (None, "nobody", "", 0.0)

    def _renew(self, statement: str, ticket: int) -> bool:
        with self.backend.writing() as transaction:
            [rows] = transaction.run([(self.backend.sql[statement], self._params(ticket=ticket, ttl=self.ttl))])
        return bool(rows)

    def _params(self, **params: Any) -> dict[str, Any]:
        return {"thread_id": self.thread_id, **params}
