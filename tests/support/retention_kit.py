"""Threads of any age, and policies for them."""

from __future__ import annotations

from typing import Any

from holdfast import RetentionPolicy, RetentionRule
from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import change, echo_graph, rows, thread

MONTH = RetentionPolicy([RetentionRule(keep_days=30)])
"""Threads are deleted a month after they were written last."""


def policy(**rule: Any) -> RetentionPolicy:
    """A policy of one rule."""
    return RetentionPolicy([RetentionRule(**rule)])


def talk(saver: HoldfastSaver, thread_id: str, *said: str, days: float = 0, **metadata: Any) -> None:
    """Say these in a thread, and let it be as old as that."""
    config: Any = {**thread(thread_id), "metadata": metadata}
    for text in said or ("Hello",):
        echo_graph(saver).invoke({"messages": [("user", text)]}, config)
    age(saver, thread_id, days)


def age(saver: HoldfastSaver, thread_id: str, days: float) -> None:
    """Let a thread have been written last so many days ago."""
    if days:
        sql = "UPDATE holdfast_threads SET updated_at = updated_at - :seconds WHERE thread_id = :thread_id"
        change(saver, sql, seconds=days * 86_400.0, thread_id=thread_id)


def listed(saver: HoldfastSaver) -> set[str]:
    """The ids of all threads."""
    return {found.thread_id for found in saver.threads.all()}


def number_of(saver: HoldfastSaver, table: str, thread_id: str) -> int:
    """The number of rows of a thread in a table."""
    sql = f"SELECT count(*) FROM {table} WHERE thread_id = :thread_id"
    return int(rows(saver, sql, thread_id=thread_id)[0][0])
