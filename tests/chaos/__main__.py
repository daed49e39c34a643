"""`make chaos`. Its exit code is 1 where a promise was broken."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.cost import count
from tests.chaos.failover.failovers import fail_over
from tests.chaos.journal import Place
from tests.chaos.kills import kill
from tests.chaos.outages import break_off
from tests.chaos.report import Report
from tests.chaos.rush import rush
from tests.chaos.servers.replicas import PRELOADED
from tests.chaos.servers.trial import DOORS, Trial, try_all
from tests.chaos.sweeps import sweep
from tests.support import forked
from tests.support.servers import Server, server

PARTS = ("cost", "outages", "failover", "rush", "sweeps", "kills", "servers")
BACKENDS = ("sqlite", "postgres")


def main(words: list[str] | None = None) -> int:
    """Run what is asked for, and print what was found."""
    options = _options(words)
    report, began = Report(options.seed), time.monotonic()
    if "servers" in options.only:
        forked.preload(*PRELOADED)
    print(f"Seed {options.seed}; give it as --seed to choose the same again.", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-chaos-", ignore_cleanup_errors=True) as folder, server() as ours:
        _run(options, report, _Places(Path(folder), ours, options.seed), began)
    report.seconds = time.monotonic() - began
    print(json.dumps(report.figures(), indent=2) if options.json else report.table())
    for line in report.broken():
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if report.broken() else 0


def _run(options: argparse.Namespace, report: Report, places: _Places, began: float) -> None:
    until = began + options.limit
    for part in PARTS:
        if part not in options.only or (part in ("outages", "failover") and "postgres" not in options.backends):
            continue
        print(f"{time.monotonic() - began:4.0f} s: {part} ...", file=sys.stderr, flush=True)
        match part:
            case "cost":
                for backend in options.backends:
                    report.cost[backend] = count(places.new(backend))
            case "outages":
                place = places.new("postgres")
                report.outages = break_off(places.server, place, options.restarts, options.cuts, until)
            case "failover":
                report.failovers = fail_over(places.folder(), options.seed, options.failovers, until)
            case "rush":
                report.rush = rush([places.new(backend) for backend in options.backends], options.rounds, until)
            case "sweeps":
                report.sweeps = sweep(until)
            case "kills":
                for left, backend in zip(range(len(options.backends), 0, -1), options.backends, strict=True):
                    share = (until - time.monotonic()) / left
                    wanted = -(-options.kills // len(options.backends))
                    report.kills[backend] = kill(places.new(backend), wanted, time.monotonic() + share)
            case "servers":
                report.served = try_all(list(_trials(options, places)), until)


def _trials(options: argparse.Namespace, places: _Places) -> Iterator[Trial]:
    """Yield a trial for each kind of server on each database. SQLite has fewer rounds: one process writes at a time."""
    share = len(options.servers) * len(options.backends)
    for kind in options.servers:
        for backend in options.backends:
            rounds = options.server_rounds if backend == "postgres" else options.server_rounds // 4
            yield Trial(places.new(backend), kind, -(-options.server_kills // share), rounds)


class _Places:
    """New databases."""

    def __init__(self, folder: Path, server: Server, seed: int) -> None:
        self.server = server
        self._folder = folder
        self._seed = seed
        self._number = 0

    def folder(self) -> Path:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        return folder

    def new(self, backend: str) -> Place:
        folder = self.folder()
        url = f"sqlite:///{folder / 'holdfast.db'}"
        if backend == "postgres":
            url = self.server.database(f"chaos_{self._number}")
        return Place(url, folder, self._seed)


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="what is chosen; another one each time"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="run this part; may be given more than once")
    parser.add_argument(
        "--backend", dest="backends", action="append", choices=BACKENDS, help="on this one; both by default"
    )
    parser.add_argument("--kills", type=int, default=1000, help="how many, over all backends")
    parser.add_argument("--rounds", type=int, default=200, help="in which processes race each other")
    parser.add_argument("--restarts", type=int, default=50, help="of PostgreSQL")
    parser.add_argument("--cuts", type=int, default=50, help="of all its connections")
    parser.add_argument("--failovers", type=int, default=5, help="of PostgreSQL to a standby")
    parser.add_argument("--server-kills", type=int, default=200, help="how many, over all servers and backends")
    parser.add_argument("--server-rounds", type=int, default=100, help="of answers at once, for each kind of server")
    parser.add_argument(
        "--server", dest="servers", action="append", choices=list(DOORS), help="kill this kind; all by default"
    )
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds after which it gives up, and fails")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(words)
    options.only = options.only or list(PARTS)
    options.backends = options.backends or list(BACKENDS)
    options.servers = options.servers or list(DOORS)
    return options


if __name__ == "__main__":
    sys.exit(main())
