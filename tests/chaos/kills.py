"""Processes are killed, at random moments and at every marked point, in the middle of everything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.chaos.crowd import Crowd, End, Job, each, run
from tests.chaos.journal import Place
from tests.chaos.talks.marks import AFTER_A_DOUBT, MARKS
from tests.chaos.talks.playing import play
from tests.chaos.talks.verdict import Verdict, judge
from tests.chaos.talks.ways import WAYS

WIDTH: Final = 12
"""Processes at once: most of them wait for what a dead one held."""

PER_LIFE: Final = 4

_PATIENCE_OF_A_THREAD: Final = 25
"""Processes after which a thread is to be at rest."""


@dataclass(frozen=True)
class Kill:
    """When a process is killed: at a mark, having passed it some times, or after some time."""

    mark: str | None = None
    passes: int = 0
    after: float | None = None
    from_start: bool = False


@dataclass
class Kills:
    """The outcome."""

    place: Place
    by_mark: Counter[str] = field(default_factory=Counter)
    at_random: int = 0
    processes: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return self.at_random + sum(self.by_mark.values())


def kill(
    place: Place,
    wanted: int,
    until: float,
    *,
    width: int = WIDTH,
    per_mark: int = 3,
    per_life: int = PER_LIFE,
    changed: Mapping[str, Any] | None = None,
) -> Kills:
    """Kill so many processes, and look at what is left.

    Args:
        place: where; nothing is there yet.
        wanted: how many kills.
        until: when to stop, on the clock `time.monotonic`.
        width: how many processes at once.
        per_mark: how many of the kills are to be made at each mark, at the least.
        per_life: how many are planned for a thread; from the second on they hit those who recover from the one before.
        changed: see `Crowd`.
    """
    began, done = time.monotonic(), Kills(place)
    crowd = Crowd(changed)
    usual = _rehearse(crowd, place, done)
    plan = _Plan(place.seed, wanted, per_mark, per_life, usual, done)

    def lives() -> Iterator[Callable[[Crowd], bool]]:
        number = 0
        while time.monotonic() < until and plan.left() > 0:
            number += 1
            life = Life(place, f"t{number}", plan, done)
            yield life.start

    each(lives(), crowd, width)
    done.verdict = run(judge, place)
    done.failures += [("rehearsal", f"{mark} is never reached") for mark in plan.never]
    missing = [mark for mark in plan.reachable if done.by_mark[mark] < per_mark]
    if done.total < wanted or missing:
        done.failures.append(("-", f"out of time: {done.total} of {wanted} kills, too few at {missing or 'no mark'}"))
    done.seconds = time.monotonic() - began
    return done


def _rehearse(crowd: Crowd, place: Place, done: Kills) -> Counter[str]:
    """Play a thread without a kill. How often it passes each mark."""
    ends: list[End] = []
    crowd.start(Job(play, (place, "rehearsal", WAYS[0], (None, 0))), ends.append)
    crowd.finish()
    if ends[0].error:
        done.failures.append(("rehearsal", ends[0].error))
    return Counter(ends[0].result or [])


@dataclass
class _Plan:
    """Which kills come next: the rarest mark, or any moment."""

    seed: int
    wanted: int
    per_mark: int
    per_life: int
    usual: Counter[str]
    done: Kills
    tried: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed} {self.done.place.backend}")
        self.never = [m for m in MARKS if not self.usual[m] and m.partition(":")[0] not in AFTER_A_DOUBT]
        self.reachable = [mark for mark in MARKS if self.usual[mark] or mark.partition(":")[0] in AFTER_A_DOUBT]

    def left(self) -> int:
        """How many kills are still to be made."""
        rare = sum(max(0, self.per_mark - self.done.by_mark[mark]) for mark in self.reachable)
        return max(self.wanted - self.done.total, rare)

    def life(self) -> list[Kill]:
        """The kills of one thread."""
        kills: list[Kill] = []
        for _ in range(self.per_life):
            if self._random.random() < 0.55:
                kills += self._marked(first=not kills)
            else:
                kills.append(self._anywhere())
        return kills

    def _marked(self, *, first: bool) -> list[Kill]:
        rarest = min(self.done.by_mark[mark] + self.tried[mark] / 2 for mark in self.reachable)
        mark = self._random.choice([m for m in self.reachable if self.done.by_mark[m] + self.tried[m] / 2 == rarest])
        self.tried[mark] += 1
        if point := AFTER_A_DOUBT.get(mark.partition(":")[0]):
            return [Kill(point), Kill(mark)]
        # What comes later has fewer marks left to pass.
        most = self.usual[mark] - 1 if first else min(2, self.usual[mark] - 1)
        return [Kill(mark, self._random.randint(0, most))]

    def _anywhere(self) -> Kill:
        if self._random.random() < 0.1:
            return Kill(after=self._random.uniform(0, 0.08), from_start=True)
        return Kill(after=self._random.uniform(0, 0.9) ** 2)


@dataclass
class Life:
    """A thread, and the processes that play it one after the other."""

    place: Place
    thread: str
    plan: _Plan
    done: Kills
    _processes: int = 0

    def start(self, crowd: Crowd) -> bool:
        """Begin."""
        self._kills = iter(self.plan.life())
        self._next(crowd)
        return True

    def _next(self, crowd: Crowd) -> None:
        self._processes += 1
        self.done.processes += 1
        kill = next(self._kills, None) or Kill()
        way = WAYS[(sum(self.thread.encode()) + self._processes) % len(WAYS)]
        job = Job(play, (self.place, self.thread, way, (kill.mark, kill.passes)), kill.after, kill.from_start)

        def over(end: End) -> None:
            if end.error:
                self.done.failures.append((self.thread, end.error))
            elif end.killed and self._processes > _PATIENCE_OF_A_THREAD:
                self.done.failures.append((self.thread, f"it is not at rest after {self._processes} processes"))
            elif end.killed:
                if kill.mark is None:
                    self.done.at_random += 1
                else:
                    self.done.by_mark[kill.mark] += 1
                self._next(crowd)

        crowd.start(job, over)
