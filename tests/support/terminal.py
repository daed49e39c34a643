"""A command on a pseudo-terminal, driven as a person does: wait until something is there, then type."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import forked
from tests.support.forked import environment

# Longer than anything takes on a busy machine.
_DEADLINE = 20.0

# Wide enough that no line is wrapped.
_COLUMNS = 200

# Around each line that the editor reads, it switches the terminal's bracketed paste on and off.
_BEGINS, _ENDS = "\u27e6", "\u27e7"

# Spaces at the end of a prompt are not written: the cursor goes over them.
_FORWARD = re.compile(r"\x1b\[(\d*)C")
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_BEGUN = re.compile(r"(?:\x1b(?:\[[0-9;?]*[ -/]*|\][^\x07\x1b]*)?|\r)\Z")

CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"


class Terminal:
    """One process on a terminal of its own."""

    def __init__(self, words: list[str], cwd: Path, env: Mapping[str, str], **how: Any) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _COLUMNS, 0, 0))
        self.process = forked.start(words, cwd=cwd, env=env, streams=(slave, slave, slave), terminal=True, **how)
        os.close(slave)
        self.seen = ""
        """What the process has written, without the sequences that move the cursor or colour the text."""
        self._begun = ""
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

    def asks(self, prompt: str = r"you    ") -> None:
        """Wait until the line editor shows a prompt, and waits for keys."""
        self.expect(f"{_BEGINS}[^{_BEGINS}{_ENDS}]*{prompt}")

    def says(self, line: str, *, after: str = r"you    ") -> None:
        """Wait for the prompt, and type a line."""
        self.asks(after)
        self.type(line + "\r")

    def pastes(self, text: str, *, after: str = r"you    ") -> None:
        """Wait for the prompt, and paste a text as terminals do."""
        self.asks(after)
        self.type(f"\x1b[200~{text}\x1b[201~\r")

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
        text = self._begun + data.decode(errors="replace")
        # A sequence of which the end is still to come stays for the next time.
        cut = _BEGUN.search(text)
        text, self._begun = (text, "") if cut is None else (text[: cut.start()], cut[0])
        self.seen += _shown(text)
        return bool(data)


def _shown(text: str) -> str:
    text = text.replace("\x1b[?2004h", _BEGINS).replace("\x1b[?2004l", _ENDS)
    text = _FORWARD.sub(lambda found: " " * int(found[1] or 1), text)
    return _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "")


@contextmanager
def terminal(
    *arguments: str, cwd: Path, anew: bool = False, changed: Mapping[str, Any] | None = None, **more: str
) -> Iterator[Terminal]:
    """`holdfast` with these arguments on a terminal; ended when the block ends. See `forked.start`."""
    words = ["-m", "holdfast", *arguments]
    # Tests do not answer when the editor asks where the cursor is.
    own = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(cwd / "state")}
    found = Terminal(words, cwd, environment(**own, **more), anew=anew, changed=changed)
    try:
        yield found
    finally:
        found.close()
