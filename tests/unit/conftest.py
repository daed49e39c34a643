"""Fixtures of the tests that need no database of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example shop keeps its orders in the working directory, and no test must find a refund of another one."""
    monkeypatch.chdir(tmp_path)
