"""Fixtures of the ways in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.cli_kit import Cli
from tests.terminal import environment


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    return Cli(tmp_path, monkeypatch, capsys)
