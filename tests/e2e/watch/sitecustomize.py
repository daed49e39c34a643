"""Python runs this before anything else in a process that has this folder on its path: it writes down whom the process
connects to or looks up."""

import os
import sys
from typing import Any

_WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


def _write_down(event: str, args: tuple[Any, ...]) -> None:
    if event in _WATCHED:
        whom = args[1] if event in ("socket.connect", "socket.sendto") else args[0]
        with open(os.environ["WATCH_LOG"], "a") as log:  # noqa: PTH123 - nothing else is imported yet
            log.write(f"{event} {whom!r}\n")


sys.addaudithook(_write_down)
