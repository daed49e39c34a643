"""The histories of what was typed in a chat."""

from __future__ import annotations

from pathlib import Path

from holdfast.cli.chat.editor import _open_history


def test_a_history_is_read_again_and_only_by_its_user(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "holdfast"
    _open_history(folder, "messages").store_string("two\nlines")

    assert list(_open_history(folder, "messages").load_history_strings()) == ["two\nlines"]
    assert list(_open_history(folder, "answers").load_history_strings()) == []
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "messages")] == [0o700, 0o600]


def test_what_cannot_be_kept_does_not_end_the_chat(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _open_history(tmp_path / "file" / "holdfast", "messages").store_string("no such folder")
    (tmp_path / "answers").mkdir()
    _open_history(tmp_path, "answers").store_string("not a file")

    assert list(_open_history(tmp_path, "answers").load_history_strings()) == []
