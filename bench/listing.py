"""The time of a list of threads, among few threads and among many."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.peers import Peer
from bench.talking import graph_of
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.sql import Statement

USERS = 40

# One thread with a checkpoint is copied: 100,000 real conversations would take an hour.
_COPIES = {
    "threads": "INSERT INTO holdfast_threads (thread_id, generation, next_seq, created_at, updated_at, user_id, title,"
    " head, messages, bytes) WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < :many)"
    " SELECT 'thread-' || n, generation, next_seq, created_at, updated_at + n * 0.001, 'user-' || (n % :users), title,"
    " head, messages, bytes FROM holdfast_threads, copies WHERE thread_id = :thread_id",
    "checkpoints": "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id,{type}"
    " checkpoint, metadata) WITH RECURSIVE copies (n) AS"
    " (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < :many)"
    " SELECT 'thread-' || n, checkpoint_ns, checkpoint_id, parent_checkpoint_id,{type} checkpoint, metadata"
    " FROM checkpoints, copies WHERE thread_id = :thread_id",
}


def listing(peer: Peer, few: int = 1000, many: int = 100_000) -> dict[str, float]:
    """Return the median time of listing the newest 20 threads of a user, among `few` threads and among `many`."""
    found = {}
    for count in (few, many):
        with peer.opened() as (saver, _):
            _fill(saver, count, sqlite=peer.database == "SQLite")
            found[count] = _median(saver)
    return {"few_ms": found[few], "many_ms": found[many]}


def _fill(saver: HoldfastSaver, many: int, *, sqlite: bool) -> None:
    config: Any = {"configurable": {"thread_id": "first", "user_id": "user-0"}}
    graph_of(saver, lambda: "Hello").invoke({"messages": [("user", "Hello")]}, config)
    params = {"many": many, "users": USERS, "thread_id": "first"}
    for text in _COPIES.values():
        saver.database.write((Statement("fill", text.replace("{type}", " type," if sqlite else "")), params))
    if not sqlite:
        saver.database.write((Statement("analyze", "ANALYZE"), {}))


def _median(saver: HoldfastSaver, times: int = 300) -> float:
    """Return the median time of a list in milliseconds, over lists of different users."""
    taken = []
    for number in range(times):
        begin = time.perf_counter()
        page = saver.threads.list(user_id=f"user-{number % USERS}", limit=20)
        taken.append((time.perf_counter() - begin) * 1000)
        if len(page.threads) != 20:
            raise AssertionError(f"{len(page.threads)} threads listed")
    return statistics.median(taken)
