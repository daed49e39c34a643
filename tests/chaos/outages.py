"""The database goes away, again and again, under processes that go on working and are not restarted."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.chaos.crowd import Crowd, End, Job, run
from tests.chaos.journal import Place
from tests.chaos.talks.playing import Player, opened
from tests.chaos.talks.scene import agent_on, script_of
from tests.chaos.talks.verdict import Verdict, judge
from tests.chaos.talks.ways import WAYS, Way
from tests.support.servers import Server

CHILDREN: Final = 6

_PATIENCE: Final = 30.0
"""Seconds after which a process whose database is back has to have noticed."""


@dataclass
class Outages:
    """The outcome."""

    place: Place
    restarts: int = 0
    cuts: int = 0
    connections: int = 0
    """How many were cut, not counting restarts."""
    slowest: float = 0.0
    """Seconds from the end of an outage to the next thing that a process has done, at the most."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0


def break_off(
    server: Server,
    place: Place,
    restarts: int,
    cuts: int,
    until: float,
    *,
    children: int = CHILDREN,
    changed: Mapping[str, Any] | None = None,
) -> Outages:
    """Restart the server and cut connections so often, and look at what is left.

    Args:
        server: whose database this is.
        place: where; nothing is there yet.
        restarts: how often the server is restarted.
        cuts: how often all connections are cut.
        until: when to stop, on the clock `time.monotonic`.
        children: how many processes work meanwhile.
        changed: see `Crowd`.
    """
    began, done, random = time.monotonic(), Outages(place), Random(place.seed)
    stop = place.folder / "stop"
    crowd, pids = Crowd(changed), []
    for number in range(children):

        def over(end: End, number: int = number) -> None:
            if end.error or end.killed:
                done.failures.append((f"o{number}", end.error or "killed"))

        patience = max(until - time.monotonic(), 0) + 2 * _PATIENCE
        pids.append(crowd.start(Job(work, (place, number, stop), longest=patience), over))
    _watch(crowd, lambda: len(list(place.journal.read())) > children, until)

    ended: list[float] = []
    kinds = ["restart"] * restarts + ["cut"] * cuts
    random.shuffle(kinds)
    for kind in kinds:
        pause = time.monotonic() + random.uniform(0.1, 0.6)
        _watch(crowd, lambda pause=pause: time.monotonic() > pause, until)  # type: ignore[misc]
        if time.monotonic() > until or done.failures:
            break
        if kind == "restart":
            server.restart()
            done.restarts += 1
        else:
            done.connections += server.cut()
            done.cuts += 1
        ended.append(time.monotonic())
    stop.touch()
    crowd.finish()
    done.verdict = run(judge, place)
    done.slowest = _slowest(place, pids, ended)
    if (done.restarts, done.cuts) != (restarts, cuts):
        done.failures.append(("-", f"stopped after {done.restarts} restarts and {done.cuts} cuts"))
    if done.slowest > _PATIENCE:
        done.failures.append(("-", f"a process did nothing for {done.slowest:.0f} s after its database was back"))
    done.seconds = time.monotonic() - began
    return done


def _watch(crowd: Crowd, enough: Callable[[], bool], until: float) -> None:
    while len(crowd) and not enough() and time.monotonic() < until:
        crowd.watch(0.02)


def _slowest(place: Place, pids: list[int], ended: list[float]) -> float:
    worked: dict[int, list[float]] = defaultdict(list)
    for line in place.journal.read():
        if "seen" in line:
            worked[line["pid"]].append(line["at"])
    found = 0.0
    for pid in pids:
        for end in ended:
            next_ = bisect_left(worked[pid], end)
            found = max(found, worked[pid][next_] - end if next_ < len(worked[pid]) else 0.0)
    return found


def work(place: Place, number: int, stop: Path, ready: Callable[[], None]) -> int:
    """Play one thread after the other, until it is enough. How many there were."""
    with opened(place) as saver:
        ready()
        agent, threads, is_last = agent_on(saver, place), 0, False
        while not is_last:
            is_last = stop.exists()  # one more then: it is played without an outage
            thread = f"o{number}x{threads}"
            way = Way(WAYS[(number + threads) % len(WAYS)], agent, thread)
            Player(place, script_of(place.seed, thread), way, patience=_PATIENCE).play()
            threads += 1
    return threads
