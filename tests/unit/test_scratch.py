"""Temporary files of a test run are in memory, where there is room and no other place was named."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import scratch


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    monkeypatch.setattr(scratch, "_ROOM", 1)


def test_temporary_files_are_in_memory_and_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "")  # so that it is put back
    del os.environ["TMPDIR"]
    leave = scratch.enter(tmp_path)
    assert leave is not None
    [folder] = tmp_path.iterdir()
    assert Path(tempfile.mkdtemp()).parent == folder
    assert folder.stat().st_mode & 0o777 == 0o711
    leave()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_named_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/somewhere")
    assert scratch.enter(tmp_path) is None


@pytest.mark.parametrize("missing", ["room", "folder"])
def test_without_memory_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "room":
        full: Any = SimpleNamespace(free=0)
        monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    assert scratch.enter(tmp_path / "none" if missing == "folder" else tmp_path) is None
    assert list(tmp_path.iterdir()) == []
