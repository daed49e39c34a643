"""Shared by the tests of the index: what it must say, counted from the rows, and what must not change."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import HoldfastSaver
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.kit import rows, thread

TABLES = ("holdfast_messages", "holdfast_interrupts", "holdfast_events", "holdfast_effects")


COUNTED = """SELECT thread_id, count(*) FROM holdfast_transcript
WHERE role <> 'system' OR message_id IS NOT NULL GROUP BY thread_id"""
"""Counts what was said in each thread, without the prompts on record."""


def of_run(thread_id: str = "ada-1", run_id: str | None = None, **metadata: Any) -> RunnableConfig:
    """The config of a run, as a server makes it."""
    return {**thread(thread_id), "metadata": {**({"run_id": run_id} if run_id else {}), **metadata}}


def assert_counted(saver: HoldfastSaver) -> None:
    """Each thread in the index has as many messages and bytes as there are, and indexing it anew changes nothing."""
    said = dict(rows(saver, COUNTED))
    size: dict[str, int] = {}
    for thread_id, content, body in rows(saver, "SELECT thread_id, content, body FROM holdfast_messages"):
        size[thread_id] = size.get(thread_id, 0) + len((content or "").encode()) + len(body)
    kept = index(saver)
    for thread_id, _, _, messages, bytes_, _ in kept:
        assert (messages, bytes_) == (said.get(thread_id, 0), size.get(thread_id, 0)), thread_id
    heads = rows(saver, "SELECT thread_id, max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '' GROUP BY 1")
    assert [(thread_id, head) for thread_id, head, *_ in kept if head] == sorted(heads)
    for thread_id, _ in heads:
        saver.threads.index(thread_id)
    assert index(saver) == kept


def index(saver: HoldfastSaver) -> list[tuple[Any, ...]]:
    """Return the index of all threads, without the times."""
    return rows(
        saver,
        "SELECT thread_id, head, unfinished, messages, bytes, title FROM holdfast_threads"
        " WHERE deleted_at IS NULL ORDER BY thread_id",
    )


def digest(saver: HoldfastSaver, thread_id: str) -> str:
    """Of all that is stored of a thread, but for the thread's own row."""
    tables = [*STOCK_TABLES[dialect_of(saver)], *TABLES]
    mark = sha256()
    for table in tables:
        found = rows(saver, f"SELECT * FROM {table} WHERE thread_id = :thread_id", thread_id=thread_id)
        mark.update(repr(sorted(map(repr, found))).encode())
    return mark.hexdigest()
