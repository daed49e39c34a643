"""Python in a process of its own, forked from a server that has imported everything once: a second sooner each time.

The process is a real one: it has its own environment, folder, streams and terminal, and can be killed. All that it
lacks is an interpreter that knows nothing yet; what depends on that asks for one `anew`.
"""

from __future__ import annotations

import fcntl
import locale
import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2]

# With them all that is slow to import is there. `readline` is not: it looks at its terminal when it is imported.
_PRELOADED = [
    "holdfast.cli.approvals.calls",
    "holdfast.cli.chat.piped",
    "holdfast.cli.chat.interactive",
    "holdfast.factory",
    "holdfast.checkpoints.backends.postgres",
    "holdfast.checkpoints.backends.sqlite",
    "holdfast.graph.models.openai",
    "tests.support.children",
    "tests.chaos.kills",
    "tests.chaos.outages",
    "tests.chaos.rush",
    "tests.support.settled",  # the last
]

PATIENCE = 50.0
"""Seconds after which a process that does not end is a failure."""


def environment(**more: str) -> dict[str, str]:
    """A clean environment: nothing of what a developer has set, or readline of the width of a terminal."""
    theirs = (
        "COLUMNS",
        "LINES",
        "OPENAI",
        "HOLDFAST",
        "LANG",
        "PYTHONIOENCODING",
        "PYTHONUNBUFFERED",
        "PYTHONWARNINGS",
    )
    keep = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return {**keep, "PYTHONPATH": str(HOUSE), "TERM": "dumb", "LC_ALL": "C.UTF-8", **more}


def preload(*modules: str) -> None:
    """Import further modules in the process that others are forked from, if it does not run yet."""
    _PRELOADED[-1:-1] = modules


@cache
def context() -> ForkServerContext:
    """Return the context that starts processes, with its server running."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    # The server finds `tests` from where it is started, and says nothing if it does not. In the locale "C" it would be
    # in Python's UTF-8 mode, which a new interpreter in the locale of `environment` is not.
    with chdir(HOUSE), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")
        forkserver.ensure_running()
    return found


def share() -> str:
    """Start the server of all workers of a test run. Return its address, for `join`."""
    context()
    return str(forkserver._forkserver._forkserver_address)  # type: ignore[attr-defined]


def join(address: str) -> None:
    """Use the server that another process has started, for as long as that process lives."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if hasattr(server, "_forkserver_authkey"):
        return  # from Python 3.14 on it asks for a key, so each worker starts its own
    server._forkserver_address = address
    server._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)
    server.ensure_running = resource_tracker.ensure_running


def start(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    terminal: bool = False,
    anew: bool = False,
    changed: Mapping[str, Any] | None = None,
) -> BaseProcess:
    """Start `python` with these words: `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...`.

    Args:
        words: what follows `python` in a shell.
        cwd: its working directory.
        env: its environment.
        streams: its standard input, output and error.
        terminal: they are a terminal, which is in charge of it: Ctrl-C becomes a signal, as it does for people.
        anew: start a new interpreter instead.
        changed: values to be put in place of others, under names such as `holdfast.cli.chat.session._PATIENCE`.
    """
    assert not (anew and changed), "a new interpreter cannot be changed from outside"
    held = [Connection(os.dup(stream)) for stream in streams]  # in this form they go to another process
    process = context().Process(
        target=main, args=(list(words), cwd, dict(env), held, terminal, anew, changed), daemon=True
    )
    process.start()
    for stream in held:
        stream.close()
    return process


def run(
    *words: str,
    cwd: Path,
    env: Mapping[str, str],
    said: bytes = b"",
    anew: bool = False,
    patience: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run `python` with these words to its end, with pipes. See `start`."""
    (stdin, into), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    process = start(words, cwd=cwd, env=env, streams=(stdin, stdout, stderr), anew=anew)
    for theirs in (stdin, stdout, stderr):
        os.close(theirs)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(_write, into, said)
        read = [pool.submit(_read, stream) for stream in (out, err)]
        code = wait(process, patience)
    return subprocess.CompletedProcess(words, code, *(found.result().decode() for found in read))


def wait(process: BaseProcess, patience: float) -> int:
    """Wait for its end. Gives the exit code, or the signal that ended it as a negative number."""
    process.join(patience)
    if (code := process.exitcode) is None:
        process.kill()
        raise TimeoutError(f"process {process.pid} did not end within {patience:.0f} s")
    return code


def _write(stream: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(stream, "wb") as pipe:  # who ends before its input is read says why
        pipe.write(data)


def _read(stream: int) -> bytes:
    with os.fdopen(stream, "rb") as pipe:
        return pipe.read()


# --- in the process ---


def main(
    words: list[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: list[Connection],
    terminal: bool = False,
    anew: bool = False,
    changed: Mapping[str, Any] | None = None,
) -> None:
    """Run Python with these words in a process that was forked for it. See `start`."""
    if terminal:
        os.setsid()
        fcntl.ioctl(streams[0].fileno(), termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.chdir(cwd)
    # It is ignored if the tests run in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if anew:
        os.execve(sys.executable, [sys.executable, *words], env)  # noqa: S606 - no shell is what is wanted
    os.environ.clear()
    os.environ.update(env)
    locale.setlocale(locale.LC_CTYPE, "")
    # With what an interpreter gives them in the locale C.UTF-8.
    sys.stdin = sys.__stdin__ = _text(0, "r", "surrogateescape")
    sys.stdout = sys.__stdout__ = _text(1, "w", "surrogateescape")
    sys.stderr = sys.__stderr__ = _text(2, "w", "backslashreplace")
    for name, value in (changed or {}).items():
        module, _, attribute = name.rpartition(".")
        found = pkgutil.resolve_name(module)
        assert hasattr(found, attribute), name
        setattr(found, attribute, value)
    _play(words)


def _text(number: int, mode: str, errors: str) -> Any:
    line_by_line = 1 if number == 2 else -1  # standard output too, if it is a terminal
    found = open(number, mode, line_by_line, "utf-8", errors, "\n", closefd=False)  # noqa: SIM115 - it stays
    found.buffer.raw.name = f"<{('stdin', 'stdout', 'stderr')[number]}>"
    return found


def _play(words: list[str]) -> None:
    """Run these words as an interpreter does."""
    kind, *rest = words
    if kind == "-m":
        module, *arguments = rest
        sys.argv[:] = [module, *arguments]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        code, *arguments = rest
        sys.argv[:] = ["-c", *arguments]
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as `python -c` does
    else:
        sys.argv[:] = words
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")
