"""SQL as named, commented blocks, one file a subject: `-- name: load_rows`, then the statement.

Parameters are named, `:thread_id`. `{now}` stands for the database's own clock in epoch seconds, `{over}` for the
condition that a question, `i`, waits no more, and `{said}` for the one that a message row, `m`, was said; what else
stands in braces is in `_WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from holdfast.checkpoints.langgraph_internals import RESERVED, START

_BLOCK = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)

_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql")

# What the databases call by other names: LangGraph's table of what tasks wrote and its column of bytes, the type of
# bytes, and the user whom the metadata of the checkpoint `c` name.
_WORDS = {
    "sqlite": {
        "{writes}": "writes",
        "{value}": "value",
        "{bytes}": "BLOB",
        "{user_id}": "CASE WHEN json_valid(CAST(c.metadata AS TEXT))"
        " THEN json_extract(CAST(c.metadata AS TEXT), '$.user_id') END",
        "{bytes_of_row}": "length(m.body) + coalesce(length(CAST(m.content AS BLOB)), 0)",
        "{without_rowid}": " WITHOUT ROWID",  # one tree and not two
        "{said_at}": "strftime('%Y-%m-%d %H:%M:%f', m.created_at, 'unixepoch')",
    },
    "postgres": {
        "{writes}": "checkpoint_writes",
        "{value}": "blob",
        "{bytes}": "BYTEA",
        "{user_id}": "c.metadata ->> 'user_id'",
        "{bytes_of_row}": "length(m.body) + coalesce(octet_length(m.content), 0)",
        "{without_rowid}": "",
        "{said_at}": "to_timestamp(m.created_at)",
    },
}

# The thread has gone on, or the task has ended: what a task ends with stands at places from 0 up.
_OVER = """EXISTS (
    SELECT 1 FROM checkpoints AS newer
    WHERE newer.thread_id = i.thread_id AND newer.checkpoint_ns = '' AND newer.checkpoint_id > i.checkpoint_id
  ) OR EXISTS (
    SELECT 1 FROM {writes} AS ended
    WHERE ended.thread_id = i.thread_id AND ended.checkpoint_ns = i.checkpoint_ns
      AND ended.checkpoint_id = i.checkpoint_id AND ended.task_id = i.task_id AND ended.idx >= 0
  )"""

# A message row `m` was said: a checkpoint of the graph itself has it, and not only as what LangGraph hands to a task.
_SAID = (
    "m.checkpoint_id IS NOT NULL AND m.ns = ''"
    f" AND (substr(m.channel, 1, {len(RESERVED)}) <> '{RESERVED}' OR m.channel = '{START}')"
)

_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Statement(NamedTuple):
    name: str
    text: str

    def where(self, *conditions: str) -> Statement:
        """The statement with `{where}` replaced. Conditions are our own text, never a user's."""
        return Statement(self.name, self.text.replace("{where}", " AND ".join(conditions) or "TRUE"))


class Statements:
    """The statements of one database, by name."""

    def __init__(self, dialect: str, *, now: str) -> None:
        self._by_name = _statements(dialect, now)

    def __getitem__(self, name: str) -> Statement:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._by_name.values())


@cache  # to read them takes longer than to open a database whose tables are there
def _statements(dialect: str, now: str) -> Mapping[str, Statement]:
    by_name: dict[str, Statement] = {}
    for file in _files(dialect):
        if not file.name.endswith(".sql") or _MIGRATION.fullmatch(file.name):
            continue
        parts = _BLOCK.split(file.read_text("utf-8"))[1:]
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in by_name:
                raise ValueError(f"{file.name}: the name {name} is taken")
            bare = _COMMENT.sub("", text).strip().removesuffix(";")
            bare = bare.replace("{over}", _OVER).replace("{now}", now)
            by_name[name] = Statement(name, _in(dialect, bare))
    return by_name


def _in(dialect: str, text: str) -> str:
    for word, meant in {"{said}": _SAID, **_WORDS[dialect]}.items():
        text = text.replace(word, meant)
    return text


class Migration(NamedTuple):
    version: int
    name: str
    min_reader: int
    """The oldest version of the code that can work with a database after this migration."""
    script: str


def migrations(dialect: str) -> list[Migration]:
    """The migrations of one database, oldest first: `0001_name.sql`, with `-- min reader: 1` in front, in `sql` where
    it is the same for all of them, else in `sql/<dialect>`."""
    found = []
    for entry in _files(dialect):
        if name := _MIGRATION.fullmatch(entry.name):
            script = _in(dialect, entry.read_text("utf-8"))
            reader = re.match(r"-- min reader: (\d+)\n", script)
            if reader is None:
                raise ValueError(f"{entry.name} does not say which code can work with what it makes")
            found.append(Migration(int(name[1]), name[2], int(reader[1]), script))
    return sorted(found)


def _files(dialect: str) -> Iterator[Traversable]:
    """What is in `sql`, for every database, and in `sql/<dialect>`."""
    root = files("holdfast.checkpoints.sql")
    yield from root.iterdir()
    yield from root.joinpath(dialect).iterdir()
