"""What takes the space in a database."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.core.database import Database


class TableSize(NamedTuple):
    """A table or an index."""

    kind: str
    name: str
    table: str
    bytes: int


class ThreadSize(NamedTuple):
    thread_id: str
    checkpoints: int
    messages: int
    """Message rows. Messages of stock checkpoints have none yet."""
    bytes: int
    """Of its values, without what the database adds."""


class Stats(NamedTuple):
    bytes: int
    """All of it; on PostgreSQL the tables of LangGraph and Holdfast."""
    free: int | None
    """How much of that is empty pages, which VACUUM gives back; `None` where it is not known."""
    threads: int
    checkpoints: int
    writes: int
    messages: int
    text: int
    """Bytes of text in the message rows."""
    parts: list[TableSize]
    """The largest first; empty where the database cannot tell."""
    largest: list[ThreadSize]

    @property
    def ratio(self) -> float | None:
        """Bytes on disk a byte of text."""
        return self.bytes / self.text if self.text else None


def stats(database: Database, *, largest: int = 10) -> Stats:
    """What takes the space. Reads the sizes of all values, and not the values.

    Args:
        store: the open database.
        largest: how many of the largest threads.
    """
    sql = database.backend.sql
    calls: list[Call] = [(sql[name], {}) for name in ("can_measure", "whole_size", "counts")]
    with database.backend.reading() as transaction:
        [[(can_measure,)], [(size, free)], [counts], large] = transaction.run(
            [*calls, (sql["largest"], {"limit": largest})]
        )
        [parts] = transaction.run([(sql["sizes"], {})]) if can_measure else [[]]
    threads, checkpoints, writes, messages, text = counts
    return Stats(
        bytes=int(size),
        free=free,
        threads=threads,
        checkpoints=checkpoints,
        writes=writes,
        messages=messages,
        text=text,
        parts=[TableSize(*part) for part in parts],
        largest=[ThreadSize(*thread) for thread in large],
    )
