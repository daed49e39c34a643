"""The time of a turn when PostgreSQL is a network of 1 ms each way apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.peers import pairs, peers
from bench.proxy import delaying
from bench.rounds import Meter, compare
from bench.short import threads_of
from bench.sizes import FULL, Sizes

CHARACTERS = 500


def distant(folder: Path, server: str, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the time of a turn in short threads through a delaying proxy.

    Args:
        folder: for files.
        server: the URL of a PostgreSQL server that listens on a Unix socket.
        sizes: how much to measure.
    """
    [socket_folder] = parse_qs(urlsplit(server).query)["host"]
    with delaying(f"{socket_folder}/.s.PGSQL.5432") as port:

        def reach(url: str) -> str:
            return f"postgresql://postgres:@127.0.0.1:{port}{urlsplit(url).path}"

        [pair] = (pair for pair in pairs(peers(folder, server, reach)) if pair.database == "PostgreSQL")
        with pair.opened() as savers:
            steps = (threads_of(saver, CHARACTERS, sizes.short_turns) for saver in savers)
            found = compare(*steps, rounds=sizes.distant_rounds, turns=sizes.short_turns, meter=Meter())
    return {"database": "PostgreSQL", "delay_ms": 1, **found}
