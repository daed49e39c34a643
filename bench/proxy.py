"""`python -m bench.proxy SOCKET`: a network of 1 ms each way in front of a server on this machine.

Prints the port on which it listens, and ends when its standard input does. It is a process of its own, so that it takes
no CPU time of the process that is measured. Bytes keep their order, and each is delivered a fixed time after it was
sent, however much follows it.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from subprocess import PIPE, Popen
from threading import Thread

_CHUNK = 2**16


def relay(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Start to copy one direction of a connection, each piece `delay` seconds after it came."""
    # Threads, because an event loop wakes up at whole milliseconds.
    waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def receive() -> None:
        data = b"first"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            waiting.put((time.perf_counter() + delay, data))

    def deliver() -> None:
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.perf_counter()))  # the distance itself
            with suppress(OSError):  # the other side has closed
                if data:
                    target.sendall(data)
                else:
                    target.shutdown(socket.SHUT_WR)
            if not data:
                return

    for work in (receive, deliver):
        Thread(target=work, daemon=True).start()


def serve(listener: socket.socket, server: str, delay: float) -> None:
    """Accept connections, and connect each to the server's socket."""
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(server)
        relay(client, upstream, delay)
        relay(upstream, client, delay)


@contextmanager
def delaying(server: str, delay_ms: float = 1.0) -> Iterator[int]:
    """Run a proxy to the socket of a server in a process of its own, and yield its port."""
    command = [sys.executable, "-m", "bench.proxy", server, "--delay", str(delay_ms)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:  # noqa: S603 - it is this module
        assert process.stdin  # noqa: S101 - for the type checker
        assert process.stdout  # noqa: S101 - the same
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("server", metavar="SOCKET", help="the server's Unix socket")
    parser.add_argument("--delay", type=float, default=1.0, help="milliseconds each way (default: 1)")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    Thread(target=serve, args=(listener, options.server, options.delay / 1000), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
