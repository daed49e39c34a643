"""A trial of two servers at one place: kills, then clients that answer the same requests, then the verdict."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.crowd import run
from tests.chaos.journal import Place
from tests.chaos.servers.clients import Tally
from tests.chaos.servers.dev_server import DevServer
from tests.chaos.servers.doors import Door, Router
from tests.chaos.servers.kills import CLIENTS, Killing
from tests.chaos.servers.replicas import Pair
from tests.chaos.servers.rush import Rounds, Rush
from tests.chaos.servers.truth import Truth
from tests.chaos.servers.verdict import judge_served
from tests.chaos.talks.verdict import Verdict

DOORS: Final[Mapping[str, type[Door]]] = {"router": Router, "dev server": DevServer}
"""What is served, and how clients speak to it."""


@dataclass
class Served:
    """The outcome at one place."""

    place: Place
    kind: str
    """What was served, one of `DOORS`."""
    kills: int = 0
    at_the_start: int = 0
    """Those of a server that was starting."""
    statuses: int = 0
    """Statuses that were compared after a start."""
    tally: Tally = field(default_factory=Tally)
    rounds: Rounds = field(default_factory=Rounds)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The place, for people."""
        return f"{self.kind}, {self.place.backend}"

    def figures(self) -> dict[str, int | float]:
        """What was done and seen, by words for people."""
        return {
            "kills": self.kills,
            "  of a server that starts": self.at_the_start,
            "turns accepted": self.verdict.counts["runs"],
            "  begun again by the other server": self.verdict.counts["runs_again"],
            "  the longest, s": round(self.tally.slowest, 1),
            "streams taken up again": self.tally.counts["streams taken up"],
            "statuses compared": self.statuses + self.tally.counts["statuses"],
            "rounds of 8 who answer at once": self.rounds.rounds,
            "  answers": self.rounds.answers,
            "  refused and told so": self.rounds.told,
        }

    @property
    def broken(self) -> list[tuple[str, str]]:
        """The broken promises: a thread, and what was found."""
        return [*self.tally.failures, *self.rounds.failures, *self.verdict.broken]


@dataclass(frozen=True)
class Trial:
    """What is to be tried.

    Args:
        place: where; nothing is there yet.
        kind: what is served, one of `DOORS`.
        kills: how many servers are killed.
        rounds: how often clients answer the same requests.
        clients: how many talk while servers are killed.
    """

    place: Place
    kind: str
    kills: int
    rounds: int
    clients: int = CLIENTS


def try_all(trials: list[Trial], until: float) -> list[Served]:
    """Try these at the same time: most of it is waiting for what a dead process holds.

    Args:
        trials: what is to be tried.
        until: when to stop, on the clock `time.monotonic`.
    """
    with ThreadPoolExecutor(len(trials)) as pool:
        return list(pool.map(lambda trial: try_out(trial, until), trials))


def try_out(trial: Trial, until: float) -> Served:
    """Try out two servers, and look at what is left."""
    began, done = time.monotonic(), Served(trial.place, trial.kind)
    try:
        _serve(trial, done, until)
        done.verdict = run(judge_served, trial.place)
    except Exception:  # noqa: BLE001 - it is a finding, and the other trials go on
        done.tally.failures.append(("-", traceback.format_exc()))
    done.seconds = time.monotonic() - began
    return done


def _serve(trial: Trial, done: Served, until: float) -> None:
    place = trial.place
    with Truth(place) as truth, Pair(place, trial.kind) as pair, closing(DOORS[trial.kind]()) as door:
        killing = Killing(place, pair, door, truth, done.tally)
        try:
            killing.kill(trial.kills, until, trial.clients)
        finally:
            done.kills, done.at_the_start, done.statuses = killing.kills, killing.at_the_start, killing.statuses
        Rush(place, pair, door, truth, done.rounds).play(trial.rounds, until)
