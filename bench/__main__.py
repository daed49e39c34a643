"""`python -m bench`: what a conversation costs with each checkpointer, all of them in one run.

Prints a Markdown table; `--out DIR` also writes `results.json` and the plots. `--url URL` measures Holdfast on a
database of your own alone.
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
    parser.add_argument("measures", nargs="*", choices=[*ALL, []], help=f"which, of {', '.join(ALL)}; all by default")
    parser.add_argument("--turns", type=int, default=400, help="how long the long conversation is (default: 400)")
    parser.add_argument("--url", help="measure Holdfast on this empty database alone")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results.json and the plots there")
    options = parser.parse_args()
    chosen = options.measures or ALL
    with places(options.url) as (folder, server, who):
        found = dict(measured(chosen, who, options.turns, folder, server))
    print(report.table(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / "results.json"
        # What was not measured now stays as it was measured last.
        before = json.loads(results.read_text()) if options.measures and results.exists() else {}
        results.write_text(json.dumps({**before, **found}, indent=1) + "\n")
        report.plots({**before, **found}, options.out)


@contextmanager
def places(url: str | None) -> Iterator[tuple[Path, str, list[Peer]]]:
    """A folder, a PostgreSQL server, and who is measured."""
    with tempfile.TemporaryDirectory() as name:
        if url:
            yield Path(name), "", [peer_at(url)]
            return
        with postgres_server() as server:
            yield Path(name), server, peers(Path(name), server)


def measured(
    chosen: list[str], who: list[Peer], turns: int, folder: Path, server: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The figures of each measure."""
    stored = [peer for peer in who if peer.database != "memory" and not peer.delta]
    ours = [peer for peer in who if peer.ours]
    if LONG in chosen:
        yield LONG, [asdict(told(peer, measures.long_conversation, turns)) for peer in who]
    if GROWTH in chosen:
        yield GROWTH, [{"name": peer.label, "ratio": told(peer, measures.growth)} for peer in ours]
    if TOOLS in chosen:
        yield TOOLS, [named(peer) | {"bytes": told(peer, measures.with_tools)} for peer in stored]
    if AT_ONCE in chosen and server:
        print("many at once ...", file=sys.stderr, flush=True)
        yield AT_ONCE, [asdict(found) for found in measures.at_once(folder, server)]
    if MEMORY in chosen:
        yield MEMORY, [{"name": peer.label, "ratio": told(peer, measures.memory_held)} for peer in ours[:1]]
    if BOUNDED in chosen:
        yield BOUNDED, [named(peer) | told(peer, bounded.bounded) for peer in ours if peer.database != "memory"]
    if LISTING in chosen and server:
        yield LISTING, [named(peer) | told(peer, listing.listing) for peer in ours]
    if RECORD in chosen and server:
        yield RECORD, [named(peer) | {"ratio": told(peer, recording.recording)} for peer in ours]
    if SEARCH in chosen:
        yield SEARCH, [asdict(told(peer, searching.searching)) for peer in ours]


def named(peer: Peer) -> dict[str, Any]:
    return {"name": peer.label, "database": peer.database, "ours": peer.ours}


def told(peer: Peer, measure: Callable[..., Any], *arguments: Any) -> Any:
    """Measure, and say so: some take minutes."""
    print(f"{measure.__name__.replace('_', ' ')}: {peer.label} ...", file=sys.stderr, flush=True)
    return measure(peer, *arguments)


if __name__ == "__main__":
    main()
