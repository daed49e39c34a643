"""`python -m bench`: one long conversation with each checkpointer, side by side."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from bench.conversation import Talk, converse
from bench.databases import new_database, postgres_bytes, postgres_server, sqlite_bytes
from checkpoints import open_checkpointer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--turns", type=int, default=400, help="how long the conversation is (default: 400)")
    parser.add_argument("--no-stock", action="store_true", help="leave out the stock savers, which take long")
    arguments = parser.parse_args()
    print(f"{arguments.turns} turns of two messages of 2,000 characters, every checkpoint kept\n", flush=True)
    print(f"{'':22}{'bytes on disk ÷ text':>22}{'turns 1 to 10':>18}{'last 20 turns':>18}", flush=True)
    for name, talk, stored in measure(arguments.turns, stock=not arguments.no_stock):
        ratio = stored / talk.text_bytes
        print(f"{name:22}{ratio:22.2f}{talk.first_turns_ms:15.1f} ms{talk.last_turns_ms:15.1f} ms", flush=True)


def measure(turns: int, *, stock: bool) -> Iterator[tuple[str, Talk, int]]:
    """Each checkpointer's name, its conversation, and the bytes on disk after it was closed."""
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        path = Path(folder) / "ours.db"
        with open_checkpointer(f"sqlite:///{path}") as ours:
            talk = converse(ours, turns)
        yield "SQLite, Holdfast", talk, sqlite_bytes(path)
        if stock:
            path = Path(folder) / "stock.db"
            with SqliteSaver.from_conn_string(str(path)) as sqlite:
                talk = converse(sqlite, turns)
            yield "SQLite, stock", talk, sqlite_bytes(path)
        url = new_database(server)
        with open_checkpointer(url) as ours:
            talk = converse(ours, turns)
        yield "PostgreSQL, Holdfast", talk, postgres_bytes(url)
        if stock:
            url = new_database(server)
            with PostgresSaver.from_conn_string(url) as postgres:
                postgres.setup()
                talk = converse(postgres, turns)
            yield "PostgreSQL, stock", talk, postgres_bytes(url)


if __name__ == "__main__":
    main()
