"""A command on a pseudo-terminal, driven as a person does: wait until something is there, then type."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import forked
from tests.support.forked import environment

# Longer than anything takes on a busy machine.
_DEADLINE = 20.0

CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"


class Terminal:
    """One process on a terminal of its own."""

    def __init__(self, words: list[str], cwd: Path, env: Mapping[str, str], **how: Any) -> None:
        self._master, slave = pty.openpty()
        self.process = forked.start(words, cwd=cwd, env=env, streams=(slave, slave, slave), terminal=True, **how)
        os.close(slave)
        self.seen = ""
        self._read = 0

    def expect(self, pattern: str, deadline: float = _DEADLINE) -> re.Match[str]:
        """Wait until this is there, after what was found before."""
        until = time.monotonic() + deadline
        while True:
            if found := re.compile(pattern).search(self.seen, self._read):
                self._read = found.end()
                return found
            if not self._more(until - time.monotonic()):
                raise AssertionError(f"never saw {pattern!r} in:\n{self.seen[self._read :]}\n--- before:\n{self.seen}")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def says(self, line: str, *, after: str = r"you    ") -> None:
        """Wait for the prompt, and type a line."""
        self.expect(after)
        self.type(line + "\r")

    def interrupt(self, pattern: str) -> None:
        """Press Ctrl-C until there is an answer to it.

        Python's readline has a moment between its prompt and its wait for a key, in which a signal is only noticed
        with the next key. A person is not that fast; a test is.
        """
        self.type(CTRL_C)
        try:
            self.expect(pattern, 2.0)
        except AssertionError:
            self.type(CTRL_C)
            self.expect(pattern)

    def ends(self) -> int:
        """Wait for the end. Gives the exit code."""
        until = time.monotonic() + _DEADLINE
        while self._more(until - time.monotonic()):
            pass
        return forked.wait(self.process, _DEADLINE)

    def kill(self) -> None:
        self.process.kill()
        self.ends()

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        os.close(self._master)

    def _more(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(
    *arguments: str, cwd: Path, anew: bool = False, changed: Mapping[str, Any] | None = None, **more: str
) -> Iterator[Terminal]:
    """`holdfast` with these arguments on a terminal; ended when the block ends. See `forked.start`."""
    words = ["-m", "holdfast", *arguments]
    found = Terminal(words, cwd, environment(**more), anew=anew, changed=changed)
    try:
        yield found
    finally:
        found.close()
