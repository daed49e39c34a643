"""The figures of a run, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.cost import MOST, Cost
from tests.chaos.failover.failovers import Failovers
from tests.chaos.kills import Kills
from tests.chaos.outages import Outages
from tests.chaos.rush import Rush
from tests.chaos.servers.trial import Served
from tests.chaos.sweeps import Sweeps
from tests.chaos.talks.marks import MARKS
from tests.chaos.talks.verdict import Verdict


@dataclass
class Report:
    """The findings of a run, so far."""

    seed: int
    kills: dict[str, Kills] = field(default_factory=dict)
    """By backend."""
    rush: Rush | None = None
    outages: Outages | None = None
    failovers: Failovers | None = None
    sweeps: Sweeps | None = None
    served: list[Served] = field(default_factory=list)
    cost: dict[str, Cost] = field(default_factory=dict)
    """By backend."""
    seconds: float = 0.0

    def broken(self) -> list[str]:
        """Return the broken promises: part, thread, seed, and what was found."""
        found = [(f"kills, {backend}", *what) for backend, part in self.kills.items() for what in _of(part)]
        if self.rush is not None:
            found += [("rush", *what) for what in self.rush.failures]
            found += [("rush", *what) for verdict in self.rush.verdicts for what in verdict.broken]
        if self.outages is not None:
            found += [("outages", *what) for what in _of(self.outages)]
        if self.failovers is not None:
            found += [("failover", *what) for what in _of(self.failovers)]
        if self.sweeps is not None:
            found += [("sweeps", *what) for what in self.sweeps.failures]
        found += [(f"servers, {part.name}", *what) for part in self.served for what in part.broken]
        found += [(f"cost, {backend}", *what) for backend, part in self.cost.items() for what in part.failures]
        return [f"{part}: thread {thread}, seed {self.seed}: {what}" for part, thread, what in found]

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"seed": self.seed, "seconds": round(self.seconds), "broken": self.broken()}
        for backend, part in self.kills.items():
            marked = {mark: part.by_mark[mark] for mark in MARKS}
            kills = {"kills": part.total, "at_random": part.at_random, "at_marks": marked, "processes": part.processes}
            found[f"kills_{backend}"] = {**kills, **_counts(part.verdict), "seconds": round(part.seconds)}
        if self.rush is not None:
            counts = _counts(*self.rush.verdicts)
            rush = {"rounds": dict(self.rush.rounds), "answers": self.rush.answers, "told": dict(self.rush.told)}
            found["rush"] = {**rush, **counts, "seconds": round(self.rush.seconds)}
        if self.outages is not None:
            part_ = self.outages
            outages = {"restarts": part_.restarts, "cuts": part_.cuts, "connections_cut": part_.connections}
            slowest = {"slowest_recovery": round(part_.slowest, 2), "seconds": round(part_.seconds)}
            found["outages"] = {**outages, **_counts(part_.verdict), **slowest}
        if self.failovers is not None:
            failover = {**self.failovers.figures(), **_counts(self.failovers.verdict)}
            found["failover"] = {**failover, "seconds": round(self.failovers.seconds)}
        if self.sweeps is not None:
            found["sweeps"] = {"tests": self.sweeps.tests, "seconds": round(self.sweeps.seconds)}
        for served in self.served:
            figures = {name.strip(): figure for name, figure in served.figures().items()}
            found[f"servers, {served.name}"] = {**figures, **_counts(served.verdict), "seconds": round(served.seconds)}
        for backend, cost in self.cost.items():
            found[f"cost_{backend}"] = {kind: cost.added[kind] for kind in MOST}
        return found

    def table(self) -> str:
        """For people."""
        lines = [
            line
            for part in (
                self._kills(),
                self._rush(),
                self._outages(),
                self._failovers(),
                self._served(),
                self._sweeps(),
                self._cost(),
            )
            for line in part
        ]
        broken = self.broken()
        verdict = f"{len(broken)} broken" if broken else "nothing lost, nothing twice, nothing unasked"
        return "\n".join([*lines, "", f"Seed {self.seed}, {self.seconds:.0f} s: {verdict}."])

    def _kills(self) -> list[str]:
        if not self.kills:
            return []
        lines = ["", "Processes killed with SIGKILL", _row("", *self.kills)]
        parts = list(self.kills.values())
        lines.append(_row("kills", *(part.total for part in parts)))
        lines.append(_row("  at a random moment", *(part.at_random for part in parts)))
        lines += [_row(f"  {_place(mark)}", *(part.by_mark[mark] for part in parts)) for mark in MARKS]
        return [*lines, *_verdicts([part.verdict for part in parts]), _seconds(*parts)]

    def _rush(self) -> list[str]:
        if self.rush is None:
            return []
        rounds = [self.rush.rounds[backend] for backend in self.rush.rounds]
        told = sum(self.rush.told.values())
        return [
            "",
            "Processes that answer and send at once",
            _row("", *self.rush.rounds),
            _row("rounds", *rounds),
            *_verdicts(self.rush.verdicts),
            _row("answers, taken", self.rush.answers - told),
            _row("answers, refused and told so", told),
            _seconds(self.rush),
        ]

    def _outages(self) -> list[str]:
        if self.outages is None:
            return []
        part = self.outages
        return [
            "",
            "PostgreSQL goes away under load",
            _row("restarts", part.restarts),
            _row("cuts of all connections", part.cuts),
            _row("connections cut", part.connections),
            *_verdicts([part.verdict]),
            _row("longest recovery, s", f"{part.slowest:.1f}"),
            _seconds(part),
        ]

    def _failovers(self) -> list[str]:
        if self.failovers is None:
            return []
        figures = self.failovers.figures()
        return [
            "",
            "The primary of PostgreSQL is killed under load, and its standby takes over",
            *(_row(name.replace("_", " "), figure) for name, figure in figures.items()),
            *_verdicts([self.failovers.verdict]),
            _seconds(self.failovers),
        ]

    def _served(self) -> list[str]:
        if not self.served:
            return []
        figures = [part.figures() for part in self.served]
        return [
            "",
            "Two servers of one database, killed while clients talk to both",
            _row("", *(part.kind for part in self.served)),
            _row("", *(part.place.backend for part in self.served)),
            *(_row(label, *(each[label] for each in figures)) for label in figures[0]),
            *_verdicts([part.verdict for part in self.served]),
            _row("broken otherwise", *(len(part.broken) - len(part.verdict.broken) for part in self.served)),
            _seconds(*self.served),
        ]

    def _sweeps(self) -> list[str]:
        if self.sweeps is None:
            return []
        rows = [_row("tests that passed", self.sweeps.tests), _row("tests that failed", len(self.sweeps.failures))]
        return ["", "Tests that the fast suite leaves out, or of which it has a sample", *rows, _seconds(self.sweeps)]

    def _cost(self) -> list[str]:
        if not self.cost:
            return []
        lines = ["", "Transactions that the ledger adds to a tool call", _row("", *self.cost)]
        return [*lines, *(_row(kind, *(part.added[kind] for part in self.cost.values())) for kind in MOST)]


_ROWS = {
    "threads": "threads",
    "asking": "  left with a question",
    "messages": "messages acknowledged or seen",
    "effects": "effects in the world",
    "paid": "  under an approval",
    "again": "  repeated because a person said so",
    "doubts": "calls in doubt, asked about",
    "told": "refused, told so, and repeated",
}


def _of(part: Kills | Outages | Failovers) -> list[tuple[str, str]]:
    return [*part.failures, *part.verdict.broken]


def _counts(*verdicts: Verdict) -> dict[str, int]:
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total.update(verdict.counts)
    return {name: total[name] for name in _ROWS}


def _verdicts(verdicts: list[Verdict]) -> list[str]:
    lines = [_row(label, *(verdict.counts[name] for verdict in verdicts)) for name, label in _ROWS.items()]
    return [*lines, _row("broken promises", *(len(verdict.broken) for verdict in verdicts))]


def _seconds(*parts: Kills | Rush | Outages | Failovers | Sweeps | Served) -> str:
    return _row("seconds", *(f"{part.seconds:.0f}" for part in parts))


def _place(mark: str) -> str:
    point, _, when = mark.partition(":")
    return f"just {when} the effect" if point == "tool" else f"just {when} the commit: {point}"


def _row(label: str, *values: Any) -> str:
    return f"  {label:<44}" + "".join(f"{value:>12}" for value in values)
