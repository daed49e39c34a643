"""Files with what people said are readable by their owner only."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.transfer.archive import write_archive
from holdfast.cli.threads.export import ExportFile
from tests.support.kit import say

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permissions of this kind")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_database_its_log_and_its_archive_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_checkpointer(f"sqlite:///{tmp_path / 'new.db'}") as saver:
            say(saver, "A secret.")
            modes = {path.name: mode(path) for path in tmp_path.iterdir()}
            list(write_archive(saver.database, ["ada-1"], tmp_path / "new.jsonl"))
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(["new.db", "new.db-wal", "new.db-shm"], 0o600)
    assert mode(tmp_path / "new.jsonl") == 0o600


def test_a_file_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    for name in ("old.db", "old.md"):
        (tmp_path / name).touch(mode=0o640)
    with open_checkpointer(f"sqlite:///{tmp_path / 'old.db'}") as saver:
        say(saver, "Hello.")
    ExportFile(tmp_path / "old.md", force=True).write(["Hello."])
    ExportFile(tmp_path / "new.md", force=False).write(["Hello."])

    assert [mode(tmp_path / name) for name in ("old.db", "old.md", "new.md")] == [0o640, 0o640, 0o600]
