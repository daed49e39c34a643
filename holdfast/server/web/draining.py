"""Serve an application so that a balancer knows that it is about to stop, before its port is closed."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvicorn

from holdfast.worker.turns import GRACE

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI


# Seconds between two looks whether Ctrl-C was pressed, as the server itself has them.
_TICK: Final = 0.1


class DrainingServer(uvicorn.Server):
    """A server that goes on answering for some seconds when it is told to stop by SIGTERM.

    Balancers find out meanwhile, by `/readyz`, and no request comes to a closed port. After Ctrl-C it does not wait for
    them.

    Args:
        config: what it serves, and where.
        begin: is called when it begins to stop.
        seconds: how long it goes on listening then.
    """

    def __init__(self, config: uvicorn.Config, begin: Callable[[], object], seconds: float) -> None:
        super().__init__(config)
        self._begin = begin
        self._seconds = seconds
        self._is_interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after this signal."""
        self._is_interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: drain, close the port, and wait for the requests that are open."""
        self._begin()
        for _ in range(math.ceil(self._seconds / _TICK)):
            if self._is_interrupted:
                break
            await asyncio.sleep(_TICK)
        await super().shutdown(sockets)


def run(app: FastAPI, host: str, port: int, *, begin: Callable[[], object], seconds: float) -> None:
    """Serve an application until the process is stopped. Open requests have the grace of the turns they wait for.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port to listen on.
        begin: is called when the server begins to stop.
        seconds: how long it goes on listening after SIGTERM.
    """
    grace = math.ceil(GRACE)
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=grace)
    with suppress(KeyboardInterrupt):
        DrainingServer(config, begin, seconds).run()
