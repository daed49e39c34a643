"""Shared by the tests of the command line: `holdfast` as a process, and in this one."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from holdfast.cli import main
from tests.support import forked
from tests.support.forked import environment

Run = Callable[..., subprocess.CompletedProcess[str]]
"""A function that runs something in a process of its own."""


def run(
    *arguments: str, cwd: Path, said: str | bytes = "", anew: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    """`holdfast` with these arguments and with pipes. See `forked.start`."""
    data = said.encode() if isinstance(said, str) else said
    return forked.run("-m", "holdfast", *arguments, cwd=cwd, env=environment(**more), said=data, anew=anew)


class Cli:
    """`holdfast` in this process, in an empty folder and a clean environment."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, said: bytes = b"") -> tuple[int, str, str]:
        stdin = SimpleNamespace(buffer=io.BytesIO(said), isatty=lambda: False)
        self._monkeypatch.setattr(sys, "stdin", stdin)
        code = main(arguments)
        out, err = self._capsys.readouterr()
        return code, out, err

    def refused(self, *arguments: str, said: bytes = b"", code: int = 2) -> str:
        """The one line with which something is refused."""
        found, out, err = self(*arguments, said=said)
        *before, line = err.splitlines()
        assert found == code, (found, err)
        assert all(text.startswith(("Thread ", "Model: ")) for text in before), err
        assert "Traceback" not in out + err
        assert "defect" not in line
        return line

    def works(self, thread_id: str = "ada-1") -> None:
        code, out, _ = self(
            "chat", f"--thread={thread_id}", "--model=offline", said=b"My name is Ada.\nWhat is my name?\n"
        )
        assert (code, out.splitlines()[-1]) == (0, "Your name is Ada.")
