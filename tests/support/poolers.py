"""PgBouncer before a PostgreSQL server, as Debian has it (`make pgbouncer`)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing() -> str | None:
    """Return why there is no pooler for a test; `None` if there is one."""
    return None if _BINARY else "PgBouncer is not installed; `make pgbouncer` installs it where apt-get may"


@contextmanager
def pgbouncer(url: str, *, size: int = 4, mode: str = "transaction") -> Iterator[str]:
    """Run a pooler before the server of a database. Yield the URL of the database by way of it.

    Args:
        url: the database, on a server with a socket in a folder.
        size: how many sessions of the server its clients share.
        mode: when a client gives its session back: after a `transaction` or a `statement`.
    """
    [host] = parse_qs(urlsplit(url).query)["host"]
    config = (
        f"[databases]\n* = host={host} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"auth_type=any\npool_mode={mode}\ndefault_pool_size={size}\n"
    )
    with running(config, _owner(host)) as pooler:
        yield f"postgresql://postgres@127.0.0.1:{pooler.port}{urlsplit(url).path}"


@contextmanager
def configured_pgbouncer(url: str, config: Path, password_file: Path) -> Iterator[str]:
    """Run a pooler as a file configures it, which names a database and a role `holdfast`. Yield the URL of that.

    Args:
        url: the database, on a server with a socket in a folder. It takes the place of the file's.
        config: the file, whose last section is that of PgBouncer itself.
        password_file: is written, for libpq.
    """
    [host] = parse_qs(urlsplit(url).query)["host"]
    name, secret = urlsplit(url).path.removeprefix("/"), secrets.token_hex()
    database = f"holdfast = host={host} user=postgres dbname={name}"
    copy = re.sub("(?m)^holdfast = .*$", database, config.read_text())
    with running(copy, _owner(host), users=f'"holdfast" "{secret}"\n') as pooler:
        password_file.touch(0o600)
        password_file.write_text(f"127.0.0.1:{pooler.port}:holdfast:holdfast:{secret}\n")
        yield f"postgresql://holdfast@127.0.0.1:{pooler.port}/holdfast?passfile={password_file}"


@dataclass(frozen=True)
class Pooler:
    """A pooler that runs."""

    port: int
    _file: Path
    _of_this_machine: str
    _process: subprocess.Popen[bytes]

    def reload(self, config: str) -> None:
        """Give it another configuration, as `systemctl reload` does after its file was changed."""
        self._file.write_text(config + self._of_this_machine)
        self._process.send_signal(signal.SIGHUP)


@contextmanager
def running(config: str, owner: int, *, users: str = "") -> Iterator[Pooler]:
    """Run a pooler for as long as the block takes.

    Args:
        config: what is in its file beside the places of this machine. What comes last counts.
        owner: the user that it runs as if root starts it, such as the server's own, who may use its socket.
        users: those who may log in, if the config asks for passwords.
    """
    assert _BINARY is not None
    with tempfile.TemporaryDirectory(prefix="pooler-") as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        file = Path(folder) / "pooler.ini"
        here = (
            f"listen_port={port}\nunix_socket_dir=\nauth_file={folder}/users.txt\n"
            f"logfile={folder}/log\npidfile={folder}/pid\n"
        )
        (Path(folder) / "users.txt").write_text(users)
        file.write_text(config + here)
        for path in (folder, file, f"{folder}/users.txt"):
            shutil.chown(path, owner)
        # It refuses to run as root.
        process = subprocess.Popen(
            [_BINARY, "-q", file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=owner if os.getuid() == 0 else None,
        )
        try:
            _wait_for(port, process, Path(folder) / "log")
            yield Pooler(port, file, here, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _owner(host: str) -> int:
    """Return the user of a server with a socket in a folder."""
    return (Path(host) / ".s.PGSQL.5432").stat().st_uid


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        has_ended = process.poll() is not None or time.monotonic() > deadline
        assert not has_ended, log.read_text() if log.exists() else "no log"
        time.sleep(0.01)  # nothing tells when it listens
