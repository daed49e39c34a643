"""Two databases, and all that can be read of a thread in each, for the tests of transfers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.transfer import Transferred, thread_digest, transfer_thread
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.kit import rows
from tests.support.shapes import exact

TABLES = [
    "holdfast_messages",
    "holdfast_events",
    "holdfast_interrupts",
    "holdfast_effects",
    "holdfast_run_writes",
    "holdfast_members",
    "holdfast_threads",
]


def told(saver: Any) -> list[Any]:
    """Every checkpoint of every thread with its pending writes, but for the order of what has none on PostgreSQL."""
    return [
        unordered(exact([item.config, item.checkpoint, item.metadata, item.parent_config, item.pending_writes]))
        for item in saver.list(None)
    ]


def unordered(found: Any) -> Any:
    match found:
        case (kind, [*items]) if kind is dict:
            return kind, sorted((unordered(item) for item in items), key=repr)
        case list() | tuple():
            return type(found)(unordered(item) for item in found)
    return found


def everything(saver: HoldfastSaver) -> dict[str, list[str]]:
    """All rows of a database."""
    return {
        name: sorted(map(repr, rows(saver, f"SELECT * FROM {name}")))
        for name in [*STOCK_TABLES[dialect_of(saver)], *TABLES]
    }


def move(source: HoldfastSaver, target: HoldfastSaver, *thread_ids: str) -> list[Transferred]:
    """Copy threads, and see that they are the same then."""
    done = [transfer_thread(source.database, target.database, thread_id) for thread_id in thread_ids or ["ada-1"]]
    for moved in done:
        assert (
            moved.digest
            == thread_digest(source.database, moved.thread_id)
            == thread_digest(target.database, moved.thread_id)
        )
    return done


def altered(line: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A line of a file, changed."""
    new = dict(line)
    change(new)
    return new
