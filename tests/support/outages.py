"""A wire between a checkpointer and its PostgreSQL server that can be cut."""

from __future__ import annotations

import select
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import parse_qs, urlsplit

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.backends.retry import persist
from tests.support.children import put_after
from tests.support.kit import rows, thread

_NAME = ".s.PGSQL.5432"
# With one of these the server says that it has committed: the answer to COMMIT, or a column of a save at once.
_COMMITTED = (b"COMMIT\0", b"\0saved\0", b"saved\0")


class Wire:
    """Passes on what a client and a server say to each other, until a test cuts it."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.lose_commits = 0
        """How often the server's answer to a COMMIT is to be lost, and the connection with it."""
        self.is_down = False
        """If true, new connections are refused."""
        self._server = server
        self._open: list[socket.socket] = []
        self._lock = Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _NAME))
        self._listener.listen(64)
        Thread(target=self._accept, daemon=True).start()

    def cut(self, *, down: bool = False) -> None:
        """Cut all connections, and with `down` refuse new ones until `mend`."""
        with self._lock:
            self.is_down = down
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_down = False

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(down=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self.is_down:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._open += [client, server]
            Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        others = {client: server, server: client}
        with suppress(OSError):
            while True:
                for end in select.select([client, server], [], [])[0]:
                    said = end.recv(65536)
                    if end is server and self.lose_commits and any(sign in said for sign in _COMMITTED):
                        self.lose_commits -= 1
                        said = b""
                    if not said:
                        raise ConnectionResetError
                    others[end].sendall(said)
        with self._lock:
            for end in others:
                end.close()
                self._open.remove(end)


@contextmanager
def wired(url: str) -> Iterator[tuple[Wire, str]]:
    """A wire to the server of a database, and the URL of the database by way of it."""
    [folder] = parse_qs(urlsplit(url).query)["host"]
    with tempfile.TemporaryDirectory(prefix="wire-") as here:  # not pytest's: a socket's path is short
        wire = Wire(Path(folder) / _NAME, Path(here))
        yield wire, url.replace(f"host={folder}", f"host={here}")
        wire.close()


class Once:
    """To be called before each statement: does something before the one of this name, the first time or a later one."""

    def __init__(self, name: str, action: Callable[[], object], *, skip: int = 0) -> None:
        self._name, self._action, self._left = name, action, skip

    def __call__(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == -1:
                self._action()


def head(saver: HoldfastSaver, name: str) -> CheckpointTuple | None:
    return saver.get_tuple(thread(name, checkpoint_ns=""))


def begin(saver: HoldfastSaver, name: str) -> None:
    put_after(saver, thread(name), None, HumanMessage("one", id="one"), note="n" * 500)


def put_more(saver: HoldfastSaver, name: str) -> None:
    put_after(
        saver, thread(name), head(saver, name), AIMessage("two", id="two"), HumanMessage("yes"), HumanMessage("yes")
    )


def write(saver: HoldfastSaver, name: str) -> None:
    found = head(saver, name)
    assert found is not None
    said = [HumanMessage("yes"), AIMessage("two", id="two")]
    saver.put_writes(
        {**found.config, "metadata": {"run_id": "run-1"}}, [("messages", said), ("other", "kept")], "task-1"
    )


def delete(saver: HoldfastSaver, name: str) -> None:
    saver.delete_thread(name)


def lease(saver: HoldfastSaver, name: str) -> None:
    with saver.lease(name, wait=0):
        taken = "SELECT count(*) FROM holdfast_leases WHERE thread_id = :t"
        assert persist(saver._backend, lambda: rows(saver, taken, t=name)) == [(1,)]
