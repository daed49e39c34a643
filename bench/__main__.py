"""`python -m bench`: measure the time and space of conversations with each checkpointer, in one run.

Prints a Markdown table. `--out DIR` also writes `results.json` and the plots. `--url URL` measures only Holdfast, on a
database of your own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import bounded, listing, measures, recording, report, searching
from bench.peers import Peer, peer_at, peers, postgres_server

LONG, GROWTH, TOOLS, AT_ONCE, MEMORY = "long", "growth", "tools", "at-once", "memory"
BOUNDED, LISTING, SEARCH, RECORD = "bounded", "listing", "search", "record"
ALL = [LONG, GROWTH, TOOLS, AT_ONCE, MEMORY, BOUNDED, LISTING, SEARCH, RECORD]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", choices=[*ALL, []], help=f"the measures to take: {', '.join(ALL)}; all by default"
    )
    parser.add_argument(
        "--turns", type=int, default=400, help="the length of the long conversation in turns (default: 400)"
    )
    parser.add_argument("--url", help="measure only Holdfast, on this empty database")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for results.json and the plots")
    options = parser.parse_args()
    chosen = options.measures or ALL
    with prepared_peers(options.url) as (folder, server, all_peers):
        found = dict(run_measures(chosen, all_peers, options.turns, folder, server))
    print(report.table(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / "results.json"
        # A measure that was not taken now keeps its last figures.
        before = json.loads(results.read_text()) if options.measures and results.exists() else {}
        results.write_text(json.dumps({**before, **found}, indent=1) + "\n")
        report.plots({**before, **found}, options.out)


@contextmanager
def prepared_peers(url: str | None) -> Iterator[tuple[Path, str, list[Peer]]]:
    """Make a folder and start a PostgreSQL server; yield both, with the peers to measure.

    With `url` there is no server, and one peer.
    """
    with tempfile.TemporaryDirectory() as name:
        if url:
            yield Path(name), "", [peer_at(url)]
            return
        with postgres_server() as server:
            yield Path(name), server, peers(Path(name), server)


def run_measures(
    chosen: list[str], all_peers: list[Peer], turns: int, folder: Path, server: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the chosen measures, and yield the name and the figures of each."""
    stored = [peer for peer in all_peers if peer.database != "memory" and not peer.delta]
    ours = [peer for peer in all_peers if peer.ours]
    if LONG in chosen:
        yield LONG, [asdict(run_measure(peer, measures.long_conversation, turns)) for peer in all_peers]
    if GROWTH in chosen:
        yield GROWTH, [{"name": peer.label, "ratio": run_measure(peer, measures.growth)} for peer in ours]
    if TOOLS in chosen:
        yield TOOLS, [labels_of(peer) | {"bytes": run_measure(peer, measures.with_tools)} for peer in stored]
    if AT_ONCE in chosen and server:
        print("many at once ...", file=sys.stderr, flush=True)
        yield AT_ONCE, [asdict(found) for found in measures.at_once(folder, server)]
    if MEMORY in chosen:
        yield MEMORY, [{"name": peer.label, "ratio": run_measure(peer, measures.memory_held)} for peer in ours[:1]]
    if BOUNDED in chosen:
        yield (
            BOUNDED,
            [labels_of(peer) | run_measure(peer, bounded.bounded) for peer in ours if peer.database != "memory"],
        )
    if LISTING in chosen and server:
        yield LISTING, [labels_of(peer) | run_measure(peer, listing.listing) for peer in ours]
    if RECORD in chosen and server:
        yield RECORD, [labels_of(peer) | {"ratio": run_measure(peer, recording.recording)} for peer in ours]
    if SEARCH in chosen:
        yield SEARCH, [asdict(run_measure(peer, searching.searching)) for peer in ours]


def labels_of(peer: Peer) -> dict[str, Any]:
    """Return the fields that say which peer a figure is of."""
    return {"name": peer.label, "database": peer.database, "ours": peer.ours}


def run_measure(peer: Peer, measure: Callable[..., Any], *arguments: Any) -> Any:
    """Run one measure, and print its name first: some take minutes."""
    print(f"{measure.__name__.replace('_', ' ')}: {peer.label} ...", file=sys.stderr, flush=True)
    return measure(peer, *arguments)


if __name__ == "__main__":
    main()
