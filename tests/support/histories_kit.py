"""Conversations of other systems for tests: files and tables of them, and what an import makes of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from holdfast.checkpoints import HoldfastSaver
from holdfast.histories import Columns, History, Imported, import_histories

NOON: Final = datetime(2021, 3, 1, 12, tzinfo=UTC)


def outcomes(saver: HoldfastSaver, histories: Iterator[History], **arguments: Any) -> list[tuple[str, str, int]]:
    found: list[Imported] = list(import_histories(saver, histories, **arguments))
    assert [one.problem for one in found if one.problem] == []
    return [(one.thread_id, one.outcome, one.messages) for one in found]


def said(saver: HoldfastSaver, thread_id: str) -> list[tuple[str, str, datetime]]:
    return [(entry.role, entry.text, entry.at) for entry in saver.transcript(thread_id) if entry.kind == "message"]


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def table(folder: Path, rows: list[tuple[Any, ...]]) -> str:
    path = folder / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE chat_messages (id, session_id, user_id, role, content, timestamp)")
        connection.executemany("INSERT INTO chat_messages VALUES (?, ?, ?, ?, ?, ?)", rows)
    return f"sqlite:///{path}"


COLUMNS: Final = Columns(thread="session_id", user="user_id", role="role", content="content", time="timestamp", id="id")
