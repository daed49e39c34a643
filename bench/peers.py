"""The checkpointers to compare, each on an empty database of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from bench.places import Memory, Place, PostgresDatabase, SqliteFile, new_database
from holdfast.checkpoints import open_checkpointer, urls

POOLED: Final[dict[str, Any]] = {
    "max_size": 10,
    # As the documentation of the stock saver wants its connections.
    "kwargs": {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
}
"""The options of the pool of a stock saver. Ours has ten connections too."""


@dataclass(frozen=True)
class Peer:
    """A checkpointer to measure."""

    name: str
    database: str
    """`SQLite`, `PostgreSQL` or `memory`."""
    opened: Callable[[], AbstractContextManager[tuple[Any, Place]]]
    """Opens the checkpointer on an empty database, and gives it with its place."""
    delta: bool = False
    """Whether it is measured with `DeltaChannel(snapshot_frequency=50)` in place of `add_messages`."""
    ours: bool = False

    @property
    def label(self) -> str:
        return self.name if self.database == "memory" else f"{self.database}, {self.name}"

    @property
    def labels(self) -> dict[str, Any]:
        """The fields that say which peer a figure is of."""
        return {"name": self.label, "database": self.database, "ours": self.ours}


class Pair(NamedTuple):
    """Our checkpointer and the stock saver of the same database."""

    database: str
    ours: Peer
    stock: Peer

    @contextmanager
    def opened(self) -> Iterator[tuple[Any, Any]]:
        """Open both, each on an empty database."""
        with self.ours.opened() as (ours, _), self.stock.opened() as (stock, _):
            yield ours, stock


def pairs(all_peers: list[Peer]) -> list[Pair]:
    """Return each checkpointer of ours with the stock saver of its database."""
    return [
        Pair(ours.database, ours, stock)
        for ours in all_peers
        for stock in all_peers
        if ours.ours and not stock.ours and not stock.delta and ours.database == stock.database
    ]


def peers(folder: Path, server: str, reach: Callable[[str], str] = lambda url: url) -> list[Peer]:
    """List all checkpointers to compare.

    Args:
        folder: for files.
        server: the URL of a PostgreSQL server.
        reach: turns the URL of a database of that server into the URL that the checkpointers connect to.
    """

    @contextmanager
    def ours_sqlite() -> Iterator[tuple[Any, Place]]:
        path = folder / f"{uuid.uuid4().hex}.db"
        with open_checkpointer(f"sqlite:///{path}") as saver:
            yield saver, SqliteFile(path)

    @contextmanager
    def stock_sqlite() -> Iterator[tuple[Any, Place]]:
        path = folder / f"{uuid.uuid4().hex}.db"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            saver.setup()
            yield saver, SqliteFile(path)

    @contextmanager
    def ours_postgres() -> Iterator[tuple[Any, Place]]:
        url = new_database(server)
        with open_checkpointer(reach(url)) as saver:
            yield saver, PostgresDatabase(url)

    @contextmanager
    def stock_postgres() -> Iterator[tuple[Any, Place]]:
        url = new_database(server)
        with ConnectionPool(reach(url), **POOLED) as pool:
            saver = PostgresSaver(pool)
            saver.setup()
            yield saver, PostgresDatabase(url)

    @contextmanager
    def in_memory() -> Iterator[tuple[Any, Place]]:
        yield InMemorySaver(), Memory()

    return [
        Peer("Holdfast", "SQLite", ours_sqlite, ours=True),
        Peer("stock", "SQLite", stock_sqlite),
        Peer("stock with DeltaChannel", "SQLite", stock_sqlite, delta=True),
        Peer("Holdfast", "PostgreSQL", ours_postgres, ours=True),
        Peer("stock", "PostgreSQL", stock_postgres),
        Peer("stock with DeltaChannel", "PostgreSQL", stock_postgres, delta=True),
        Peer("InMemorySaver", "memory", in_memory),
    ]


def peer_at(url: str) -> Peer:
    """Return the peer for Holdfast on one database. It should be empty, because all that is in it is counted."""
    kind, place = place_of(url)

    @contextmanager
    def opened() -> Iterator[tuple[Any, Place]]:
        with open_checkpointer(url) as saver:
            yield saver, place

    return Peer("Holdfast", kind, opened, ours=True)


def place_of(url: str) -> tuple[str, Place]:
    """Return the name of a database of Holdfast, and its place."""
    match urls.parse(url):
        case urls.SqliteURL(path=path):
            return "SQLite", SqliteFile(path)
        case urls.PostgresURL():
            return "PostgreSQL", PostgresDatabase(url)
        case _:
            return "memory", Memory()
