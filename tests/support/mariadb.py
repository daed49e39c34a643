"""A MariaDB server, as Debian has it (`make mariadb`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pymysql

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_SERVER, _INSTALL = shutil.which("mariadbd", path=_PATH), shutil.which("mariadb-install-db", path=_PATH)


def missing() -> str | None:
    """Return why there is no server for a test; `None` if there is one."""
    return None if _SERVER and _INSTALL else "MariaDB is not installed; `make mariadb` installs it where apt-get may"


@contextmanager
def mariadb() -> Iterator[str]:
    """Run a server without a network port. Yield the URL of its empty database `old`, with a password in it."""
    assert _SERVER is not None
    assert _INSTALL is not None
    with tempfile.TemporaryDirectory(prefix="mariadb-") as folder:
        data, socket = Path(folder) / "data", Path(folder) / "socket"
        # Each server empties its folder for temporary files when it starts.
        shared = [
            "--no-defaults",
            f"--datadir={data}",
            f"--tmpdir={folder}",
            *(["--user=root"] if os.getuid() == 0 else []),
        ]
        install = [_INSTALL, *shared, "--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, capture_output=True, timeout=120)
        command = [_SERVER, *shared, f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not socket.exists():
                assert process.poll() is None, "MariaDB has ended"
                time.sleep(0.02)  # nothing tells when the server listens
            with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE old CHARACTER SET utf8mb4")
                cursor.execute("CREATE USER ada@localhost IDENTIFIED BY 'geheim'")
                cursor.execute("GRANT ALL ON old.* TO ada@localhost")
            yield f"mysql://ada:geheim@/old?unix_socket={quote(str(socket))}&charset=utf8mb4"
        finally:
            process.terminate()
            process.wait(timeout=30)
