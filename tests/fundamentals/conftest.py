"""An empty folder and a clean environment for each test, and programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import HoldfastSaver, open_checkpointer
from tests.support import forked
from tests.support.cli_kit import Run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without any setting of Holdfast."""
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(forked.environment()):
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def checkpointer() -> Iterator[HoldfastSaver]:
    with open_checkpointer("sqlite:///agent.db") as checkpointer:
        yield checkpointer


@pytest.fixture
def another_process(folder: Path) -> Run:
    """Run a Python program in a process of its own, and wait for its end."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return forked.run("-c", program, cwd=folder, env=forked.environment())

    return run


@pytest.fixture
def holdfast(folder: Path) -> Run:
    """Run the command `holdfast` in a process of its own, with `said` as its input."""

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return forked.run("-m", "holdfast", *arguments, cwd=folder, env=forked.environment(), said=said.encode())

    return run
