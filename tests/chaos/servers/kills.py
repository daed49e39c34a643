"""Servers are killed at random moments, and started again, while another one takes over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Final

from tests.chaos.journal import Place
from tests.chaos.servers.clients import Client, Tally
from tests.chaos.servers.doors import Door
from tests.chaos.servers.replicas import Pair, Replica
from tests.chaos.servers.truth import Truth

CLIENTS: Final = 5
"""Clients of a place at once."""

_PAUSE: Final = 6.0
"""Seconds at the most between two kills."""

_AT_THE_START: Final = 0.1
"""The share of kills that hit a server that is starting."""

_AT_REST: Final = 20
"""Threads at rest whose status is compared after each start."""


@dataclass
class Killing:
    """The replicas of a place are killed while clients talk to them."""

    place: Place
    pair: Pair
    door: Door
    truth: Truth
    tally: Tally = field(default_factory=Tally)
    kills: int = 0
    at_the_start: int = 0
    """Those of a server that was starting."""
    statuses: int = 0
    """Statuses that were compared after a start."""

    def __post_init__(self) -> None:
        self._random = Random(f"{self.place.seed} {self.place.url}")

    def kill(self, wanted: int, until: float, clients: int = CLIENTS) -> None:
        """Kill so many servers, and let the clients come to an end.

        Args:
            wanted: how many kills.
            until: when to stop, on the clock `time.monotonic`.
            clients: how many talk meanwhile.
        """
        with self._talks(clients):
            while self.kills < wanted and time.monotonic() < until:
                time.sleep(self._random.uniform(0, _PAUSE))  # at any moment
                self._kill_one(self._random.choice(self.pair.replicas))
        for url in self.pair.urls:
            self._compare_list(self.door.statuses(url))
        if self.kills < wanted:
            self.tally.failures.append(("-", f"out of time: {self.kills} of {wanted} kills"))

    @contextmanager
    def _talks(self, clients: int) -> Iterator[None]:
        """Let clients talk for as long as the block takes, and until they have come to an end."""
        stop = Event()
        with ThreadPoolExecutor(clients) as pool:
            try:
                for number in range(clients):
                    client = Client(number, self.place, self.pair, self.door, self.truth, self.tally)
                    pool.submit(client.work, stop)
                yield
            finally:
                stop.set()

    def _kill_one(self, replica: Replica) -> None:
        replica.kill()
        self.kills += 1
        if self._random.random() < _AT_THE_START:
            replica.start_and_kill(self._random.uniform(0, 2))
            self.kills += 1
            self.at_the_start += 1
        self._check_statuses(replica.start())

    def _check_statuses(self, url: str) -> None:
        """Compare what a server that has started says of the threads with what they are."""
        going_on = set(self.tally.talking.values())
        listed = self.door.statuses(url)
        going_on |= set(self.tally.talking.values())
        at_rest = [thread for thread in listed if thread not in going_on][:_AT_REST]
        self._compare_list({thread: listed[thread] for thread in at_rest})
        for thread in going_on:
            told, true = self.truth.beside(thread, lambda: self.door.status(url, thread))  # noqa: B023 - it is called here
            self._compare(thread, "server", told, true)

    def _compare_list(self, listed: dict[str, str]) -> None:
        for thread, told in listed.items():
            self._compare(thread, "list", told, self.truth.status(thread))

    def _compare(self, thread: str, who: str, told: str, true: str) -> None:
        self.statuses += 1
        if told != true:
            self.tally.failures.append((thread, f"after a start the {who} says that it is {told}; it is {true}"))
