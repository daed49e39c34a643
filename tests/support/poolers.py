"""PgBouncer before a PostgreSQL server, as Debian has it (`make pgbouncer`)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    assert _BINARY is not None
    [host] = parse_qs(urlsplit(url).query)["host"]
    with tempfile.TemporaryDirectory(prefix="pooler-") as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (Path(folder) / "pooler.ini").write_text(
            f"[databases]\n* = host={host} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n"
            f"unix_socket_dir=\nauth_type=any\npool_mode={mode}\ndefault_pool_size={size}\n"
            f"logfile={folder}/log\npidfile={folder}/pid\n"
        )
        owner = (Path(host) / ".s.PGSQL.5432").stat().st_uid
        shutil.chown(folder, owner)
        shutil.chown(f"{folder}/pooler.ini", owner)
        # It refuses to run as root. The server's own user may use its socket.
        process = subprocess.Popen(
            [_BINARY, "-q", f"{folder}/pooler.ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=owner if os.getuid() == 0 else None,
        )
        try:
            _wait_for(port, process, Path(folder) / "log")
            yield f"postgresql://postgres@127.0.0.1:{port}{urlsplit(url).path}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        has_ended = process.poll() is not None or time.monotonic() > deadline
        assert not has_ended, log.read_text() if log.exists() else "no log"
        time.sleep(0.01)
