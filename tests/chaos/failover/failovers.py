"""The primary of two servers is killed, again and again, under clients of the router and under conversations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any, Final

from holdfast.checkpoints import open_checkpointer
from tests.chaos.crowd import Crowd, End, Job, run
from tests.chaos.failover.client import Client
from tests.chaos.failover.served import environment
from tests.chaos.journal import Place
from tests.chaos.outages import work
from tests.chaos.talks.verdict import Verdict, judge
from tests.support.cluster import Cluster, cluster
from tests.support.serving import served

MOST: Final = 30.0
"""Seconds from the kill to the next turn of each client, at the most."""

_REPLICAS: Final = 2
_CLIENTS: Final = 2
"""Of each replica."""

_CONVERSATIONS: Final = 3
"""Processes that have conversations without a server."""

_ROUTER: Final = ("-m", "holdfast", "serve", "--router", "--agent", "tests.chaos.failover.served:agent")

_TABLES: Final = (
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "holdfast_messages",
    "holdfast_threads",
    "holdfast_interrupts",
    "holdfast_effects",
    "holdfast_runs",
)


@dataclass
class Failovers:
    """The outcome."""

    promotions: list[float] = field(default_factory=list)
    """Seconds from each kill to the end of the promotion."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a kill to the next turn, for each kill and each client."""
    accepted: int = 0
    """Turns that the router has accepted."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """Return the numbers of kills and turns, and how long it took until the work went on."""
        recoveries = sorted(self.recoveries) or [0.0]
        return {
            "failovers": len(self.promotions),
            "turns_that_servers_accepted": self.accepted,
            "seconds_to_a_new_primary_at_most": round(max(self.promotions, default=0.0), 1),
            "seconds_to_the_next_turn_median": round(recoveries[len(recoveries) // 2], 1),
            "seconds_to_the_next_turn_at_most": round(recoveries[-1], 1),
        }


@dataclass(frozen=True)
class _Kill:
    at: float
    over: float
    """When the standby had taken over."""


def fail_over(folder: Path, seed: int, wanted: int, until: float) -> Failovers:
    """Kill the primary so often, let its standby take over, and look at what is left.

    Args:
        folder: for the world and the journal.
        seed: what is chosen.
        wanted: how many kills.
        until: when to stop, on the clock `time.monotonic`.
    """
    began, done, random = time.monotonic(), Failovers(), Random(f"{seed} failover")
    with cluster() as servers:
        servers.primary.ask("CREATE DATABASE chaos")
        place = Place(servers.url_of("chaos"), folder, seed)
        with open_checkpointer(place.url):
            pass  # the tables are there
        with _Load(place, done, until) as load:
            kills = list(_kills(servers, load, random, wanted, until))
        done.promotions = [kill.over - kill.at for kill in kills]
        done.verdict = run(judge, place)
        done.failures += [*_runs(place, done), *_differences(servers, "chaos"), *_late(load, kills, done)]
    if len(kills) < wanted:
        done.failures.append(("-", f"stopped after {len(kills)} of {wanted} kills"))
    done.seconds = time.monotonic() - began
    return done


def _kills(servers: Cluster, load: _Load, random: Random, wanted: int, until: float) -> Iterator[_Kill]:
    for number in range(wanted):
        load.watch(random.uniform(0.2, 2))
        if load.is_broken() or time.monotonic() > until:
            return
        began = time.monotonic()
        servers.primary.kill()
        load.watch(random.uniform(0, 2))  # until it is noticed
        servers.take_over()
        over = time.monotonic()
        yield _Kill(began, over)
        load.wait_for_turns(over, began + MOST)
        # Rewound or copied, it is a standby and no second primary.
        servers.rejoin(rewind=number % 2 == 0)


class _Load:
    """Servers with clients, and processes that have conversations, for as long as the block takes."""

    def __init__(self, place: Place, done: Failovers, until: float) -> None:
        self._place, self._done = place, done
        self._stop = place.folder / "stop"
        self._longest = max(until - time.monotonic(), 0) + 2 * MOST
        self._crowd = Crowd()
        self._pids: list[int] = []
        self._clients: list[Client] = []
        self._stack = ExitStack()

    def __enter__(self) -> _Load:
        place = self._place
        with self._stack as stack:
            for replica in range(_REPLICAS):
                server = stack.enter_context(served(place.folder, _ROUTER, **environment(place)))
                for number in range(_CLIENTS):
                    client = Client(place, server.url, f"h{replica}{number}", self._stop)
                    self._clients.append(client)
                    thread = Thread(target=client.run)
                    thread.start()
                    stack.callback(thread.join)
            for number in range(_CONVERSATIONS):

                def over(end: End, number: int = number) -> None:
                    if end.error or end.killed:
                        self._done.failures.append((f"o{number}", end.error or "killed"))

                job = Job(work, (place, number, self._stop), longest=self._longest)
                self._pids.append(self._crowd.start(job, over))
            self._stack = stack.pop_all()
        self.wait_for_turns(0, time.monotonic() + MOST)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.touch()
        self._crowd.finish()
        self._stack.close()
        self._done.failures += [(client.name, client.error) for client in self._clients if client.error]

    def watch(self, seconds: float) -> None:
        """Let it work for some time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._crowd.watch(min(left, 0.05))

    def is_broken(self) -> bool:
        """Return whether some of it has given up."""
        return len(self._crowd) < _CONVERSATIONS or any(client.error for client in self._clients)

    def wait_for_turns(self, after: float, until: float) -> None:
        """Wait until each client has had a turn after a moment, but not for too long."""
        while time.monotonic() < until and not self.is_broken():
            self.watch(0.2)
            worked = self.clients()
            if all(times and times[-1] > after for times in worked.values()):
                return

    def clients(self) -> dict[str, list[float]]:
        """Return when each client was told of a turn, by its name."""
        names = [str(pid) for pid in self._pids] + [client.name for client in self._clients]
        found: dict[str, list[float]] = {name: [] for name in names}
        for line in self._place.journal.read():
            if line.keys() & {"acknowledged", "carried_out", "ended"}:
                worked = found.get(line.get("client", str(line["pid"])))
                if worked is not None:
                    worked.append(line["at"])
        return found


def _late(load: _Load, kills: list[_Kill], done: Failovers) -> Iterator[tuple[str, str]]:
    """Note how long each client waited for its next turn after each kill, and yield those that waited too long."""
    for client, worked in load.clients().items():
        for number, kill in enumerate(kills, 1):
            waited = next((at - kill.at for at in worked if at > kill.over), None)
            if waited is None:
                yield client, f"no turn after kill {number}"
                continue
            done.recoveries.append(waited)
            if waited > MOST:
                yield client, f"{waited:.0f} s to its next turn after kill {number}"


def _runs(place: Place, done: Failovers) -> Iterator[tuple[str, str]]:
    """Yield each turn that was accepted and has not ended."""
    with open_checkpointer(place.url) as saver:
        for line in place.journal.read():
            if "run" in line:
                done.accepted += 1
                found = saver.runs.get(line["run"])
                if found.state != "done":
                    yield line["thread"], f"run {found.run_id} was accepted, and is {found.state}: {found.error}"


def _differences(servers: Cluster, database: str) -> Iterator[tuple[str, str]]:
    """Yield each way in which the standby is another database than the primary."""
    if not servers.standby.ask("SELECT pg_is_in_recovery()"):
        yield "-", "the server that was killed is a second primary"
    servers.wait_until_equal()
    for table in _TABLES:
        digest = f"SELECT md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} AS t"
        if servers.primary.ask(digest, database) != servers.standby.ask(digest, database):
            yield "-", f"the standby has other rows in {table} than the primary"
