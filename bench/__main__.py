"""`python -m bench`: measure the time and space of conversations with each checkpointer, in one run.

Without names, it takes what the first tables of docs/performance.md have: 15 minutes, or three with `--quick`. It
prints Markdown tables. `--out DIR` also writes `results.json`; a measure that was not taken keeps its last figures
there, and `python -m bench.table` writes the tables of the pages from them, and the plots. `--url URL` measures only
Holdfast, on a database of your own. The databases are in the folder for temporary files (`TMPDIR`). It should be on a
disk, since the stock savers write more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench import (
    approving,
    bounded,
    crowd,
    distance,
    encrypting,
    growth,
    guarding,
    importing,
    listing,
    long,
    others,
    searching,
    serving,
    short,
    states,
    sweeping,
    table,
)
from bench.peers import Pair, Peer, pairs, peer_at, peers, place_of
from bench.places import filesystem_of, new_database, postgres_server
from bench.rounds import Meter
from bench.sizes import FULL, QUICK, Sizes


@dataclass(frozen=True)
class Bench:
    """What the measures have to work with."""

    peers: list[Peer]
    folder: Path
    server: str
    """The URL of a PostgreSQL server; empty if only Holdfast is measured."""
    sizes: Sizes

    @property
    def pairs(self) -> list[Pair]:
        return pairs(self.peers)

    @property
    def ours(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.ours]

    def meter(self, database: str) -> Meter:
        """Return a meter that includes the server of that database."""
        return Meter(self.server if database == "PostgreSQL" else "")


Rows = Iterator[Any]


def _short(bench: Bench) -> Rows:
    for pair in bench.pairs:
        for characters in short.LENGTHS:
            yield short.short(pair, characters, bench.meter(pair.database), bench.sizes)


def _logged(bench: Bench) -> Rows:
    for pair in bench.pairs:
        for characters in short.LENGTHS:
            yield short.logged(pair, characters, bench.sizes)


def _distant(bench: Bench) -> Rows:
    if bench.server:
        yield distance.distant(bench.folder, bench.server, bench.sizes)


def _crowd(bench: Bench) -> Rows:
    for pair in bench.pairs:
        yield crowd.crowd(pair.database, bench.folder, bench.server, bench.sizes)


def _long(bench: Bench) -> Rows:
    for database in dict.fromkeys(peer.database for peer in bench.peers):
        compared = [peer for peer in bench.peers if peer.database == database]
        if not bench.sizes.is_whole:
            compared = [peer for peer in compared if not peer.delta and (peer.ours or database != "memory")]
        for found in long.long_conversations(compared, bench.sizes):
            yield asdict(found)


def _bounded(bench: Bench) -> Rows:
    for peer in bench.ours:
        if peer.database != "memory":
            yield bounded.bounded(peer, bench.sizes)


def _approving(bench: Bench) -> Rows:
    for pair in bench.pairs:
        yield approving.approving(pair, bench.meter(pair.database), bench.sizes)


def _guarding(bench: Bench) -> Rows:
    for peer in bench.ours:
        if peer.database != "memory":
            yield guarding.guarding(peer, bench.meter(peer.database), bench.sizes)


def _states(bench: Bench) -> Rows:
    for kind in states.KINDS:
        for pair in bench.pairs:
            yield states.states(pair, kind, bench.meter(pair.database), bench.sizes)


def _growth(bench: Bench) -> Rows:
    for peer in bench.ours:
        yield peer.labels | {"ratio": growth.growth(peer)}


def _tools(bench: Bench) -> Rows:
    for pair in bench.pairs:
        ours, stock = growth.with_tools(pair.ours), growth.with_tools(pair.stock)
        yield {"database": pair.database, "ours": ours, "stock": stock, "ratio": ours / stock}


def _memory(bench: Bench) -> Rows:
    for peer in bench.ours[:1]:
        yield peer.labels | {"ratio": growth.memory_held(peer)}


def _listing(bench: Bench) -> Rows:
    for peer in bench.ours:
        yield peer.labels | listing.listing(peer)


def _search(bench: Bench) -> Rows:
    for peer in bench.ours:
        yield asdict(searching.searching(peer))


def _importing(bench: Bench) -> Rows:
    for peer in bench.ours:
        yield peer.labels | importing.importing(peer, bench.meter(peer.database))


def _sweeping(bench: Bench) -> Rows:
    for pair in bench.pairs:
        yield sweeping.sweeping(pair.database, bench.folder, bench.server)


def _serving(bench: Bench) -> Rows:
    for pair in bench.pairs:
        for thinks in (0, 0.3):
            yield serving.turns(pair.database, thinks, bench.folder, bench.server, bench.sizes)
        yield serving.streams(pair.database, bench.folder, bench.server, bench.sizes)
        yield serving.many_threads(pair.database, bench.folder, bench.server, bench.sizes)


def _encrypting(bench: Bench) -> Rows:
    for pair in bench.pairs:
        meter = bench.meter(pair.database)
        yield encrypting.encrypting(pair.database, bench.folder, bench.server, meter, bench.sizes)


def _rotating(bench: Bench) -> Rows:
    for pair in bench.pairs:
        yield encrypting.rotating(pair.database, bench.folder, bench.server)


def _others(bench: Bench) -> Rows:
    """Measure Holdfast, and each checkpointer of another database whose packages and server are installed."""
    from tests.support import other_savers

    own = [f"sqlite:///{bench.folder / 'others.db'}", *([new_database(bench.server)] if bench.server else [])]
    for url in own:
        database, place = place_of(url)
        yield others.others(f"{database}, Holdfast", url, lambda _, place=place: place.size(), bench.sizes)
    for kind, name in other_savers.NAMES.items():
        if why := other_savers.missing(kind):
            print(f"{name} is left out: {why}", file=sys.stderr)
            continue
        with other_savers.served(kind) as url:
            yield others.others(name, url, others.stored_bytes(kind), bench.sizes)


MEASURES: dict[str, Callable[[Bench], Rows]] = {
    "short": _short,
    "log": _logged,
    "distance": _distant,
    "crowd": _crowd,
    "long": _long,
    "bounded": _bounded,
    "approval": _approving,
    "middleware": _guarding,
    "states": _states,
    "encrypting": _encrypting,
}
"""The measures of a run without names."""

ON_DEMAND: dict[str, Callable[[Bench], Rows]] = {
    "growth": _growth,
    "tools": _tools,
    "memory": _memory,
    "listing": _listing,
    "search": _search,
    "importing": _importing,
    "sweeping": _sweeping,
    "rotating": _rotating,
    "serving": _serving,
    "others": _others,
}
"""The measures that are taken when they are named. They take another half an hour."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*MEASURES, *ON_DEMAND]
    parser.add_argument("measures", nargs="*", choices=[*names, []], help=f"the measures to take: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="measure less of everything, in less than three minutes")
    parser.add_argument("--turns", type=int, help="the length of the long conversation in turns (default: 400)")
    parser.add_argument("--url", help="measure only Holdfast, on this empty database")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for results.json")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    if options.turns:
        sizes = replace(sizes, turns=options.turns)
    with prepared(options.url, sizes) as bench:
        found = run_measures(options.measures or list(MEASURES), bench)
    print(table.tables(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / "results.json"
        before = json.loads(results.read_text("utf-8")) if results.exists() else {}
        found = {**before, **found, "runs": {**before.get("runs", {}), **found["runs"]}}
        results.write_text(json.dumps(_rounded(found), indent=1) + "\n", "utf-8")


@contextmanager
def prepared(url: str | None, sizes: Sizes) -> Iterator[Bench]:
    """Make a folder and start a PostgreSQL server, for all peers. With `url` there is no server, and one peer."""
    with tempfile.TemporaryDirectory() as name:
        if url:
            yield Bench([peer_at(url)], Path(name), "", sizes)
            return
        with postgres_server() as server:
            yield Bench(peers(Path(name), server), Path(name), server, sizes)


def run_measures(chosen: list[str], bench: Bench) -> dict[str, Any]:
    """Return the rows of each of the chosen measures, and under `runs` when and where each was taken."""
    found: dict[str, Any] = {"runs": {}}
    all_measures = {**MEASURES, **ON_DEMAND}
    for name in chosen:
        load, begin, at = os.getloadavg()[0], time.perf_counter(), datetime.now(UTC)
        found[name] = []
        for row in all_measures[name](bench):
            found[name].append(row)
            note = partial(print, file=sys.stderr, flush=True)
            note(f"{time.perf_counter() - begin:6.1f} s  {name}: {_outline(row)}")
        found["runs"][name] = {
            "at": at.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - begin, 1),
            "load": [round(load, 2), round(os.getloadavg()[0], 2)],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "disk": filesystem_of(bench.folder),
            "quick": not bench.sizes.is_whole,
        }
    return found


def _outline(row: dict[str, Any]) -> str:
    """Say in a line what a row is about. Some measures take minutes."""
    shown = ("name", "kind", "database", "characters", "time", "cpu", "all_cpu", "ratio", "bytes")
    return ", ".join(
        f"{name} {row[name]:.2f}" if isinstance(row[name], float) else f"{row[name]}" for name in shown if name in row
    )


def _rounded(value: Any) -> Any:
    """Round all figures to six digits: more would only make the file longer."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


if __name__ == "__main__":
    main()
