"""Two servers of one database, which are killed and started again."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.chaos.journal import Place
from tests.chaos.servers.scene import environment
from tests.support.serving import Server, starting, wait_until_up

PRELOADED: Final = ("uvicorn", "holdfast.server.serve_router", "holdfast.server.web", "tests.chaos.servers.scene")
"""What a server imports, for `forked.preload`."""

AGENT: Final = "tests.chaos.servers.scene:agent"

PROGRAMS: Final = {
    "router": ("-m", "holdfast", "serve", "--router", "--agent", AGENT),
    "dev server": ("-m", "holdfast", "serve", "--agent", AGENT),
}
"""What is served, and what follows `python` to start it."""

_STARTS: Final = 120.0
"""Seconds at the most until a server is up, beside seven others on two cores."""


@dataclass
class Replica:
    """A server that is killed, and started again under another address."""

    place: Place
    program: tuple[str, ...]
    number: int
    server: Server | None = None
    """The server, if it is up."""
    _life: ExitStack = field(default_factory=ExitStack)
    _lives: int = 0

    def start(self) -> str:
        """Start it, wait until it is up, and return its address."""
        server = self._begin()
        wait_until_up(server, _STARTS)
        self.server = server
        return server.url

    def start_and_kill(self, after: float) -> None:
        """Kill it so many seconds after it began to start."""
        server = self._begin()
        time.sleep(after)  # it starts
        server.kill()
        self._life.close()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        server, self.server = self.server, None
        assert server is not None
        server.kill()
        self._life.close()

    def stop(self) -> None:
        """Stop it as a user does."""
        self.server = None
        self._life.close()

    def _begin(self) -> Server:
        self._lives += 1
        log = self.place.folder / f"server-{self.number}-{self._lives}.log"
        return self._life.enter_context(starting(self.place.folder, self.program, log=log, **environment(self.place)))


class Pair:
    """Two replicas. One of them is up at any moment.

    Args:
        place: where.
        kind: what is served, one of `PROGRAMS`.
    """

    def __init__(self, place: Place, kind: str) -> None:
        self.replicas = [Replica(place, PROGRAMS[kind], number) for number in range(2)]

    def __enter__(self) -> Pair:
        with ExitStack() as started:
            started.push(self.__exit__)
            for replica in self.replicas:
                replica.start()
            started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self.replicas:
            replica.stop()

    @property
    def urls(self) -> list[str]:
        """The addresses of the replicas that are up."""
        return [server.url for replica in self.replicas if (server := replica.server) is not None]

    def url(self, random: Random, *, beside: str | None = None) -> str:
        """Return the address of a replica that is up.

        Args:
            random: chooses one.
            beside: the address of another one, if both are up.
        """
        deadline = time.monotonic() + _STARTS
        while time.monotonic() < deadline:
            if found := self.urls:
                return random.choice([url for url in found if url != beside] or found)
            time.sleep(0.01)  # the tests themselves start it
        raise AssertionError("no replica is up")
