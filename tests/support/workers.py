"""The workers of pytest-xdist, forked from a process that has imported all tests: each would take seconds for it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from contextlib import chdir
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from execnet import gateway_io
from execnet.gateway_base import Popen2IO

from tests.support import forked


def fork_them() -> None:
    """Let pytest-xdist fork its workers, from a server that begins to import the tests now."""
    server = forkserver.ForkServer()
    server.set_forkserver_preload(["tests.support.imported"])
    with chdir(forked.HOUSE):  # from there the server finds `tests`
        server.ensure_running()
    gateway_io.Popen2IOMaster = partial(_Forked, server)  # type: ignore[assignment,misc]


class _Forked(Popen2IO):
    """What execnet has of a process that it has started."""

    def __init__(self, server: forkserver.ForkServer, command: Sequence[str], execmodel: Any) -> None:
        (stdin, into), (out, stdout) = os.pipe(), os.pipe()
        self._process = _start(server, command[command.index("-c") :], (stdin, stdout, 2))
        os.close(stdin)
        os.close(stdout)
        super().__init__(os.fdopen(into, "wb"), os.fdopen(out, "rb"), execmodel)

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _start(server: forkserver.ForkServer, words: Sequence[str], streams: tuple[int, int, int]) -> BaseProcess:
    held = [Connection(os.dup(stream)) for stream in streams]
    process = multiprocessing.get_context("forkserver").Process(
        target=forked.main, args=(list(words), Path.cwd(), dict(os.environ), held)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "connect_to_new_process", server.connect_to_new_process)
        process.start()
    for stream in held:
        stream.close()
    return process
