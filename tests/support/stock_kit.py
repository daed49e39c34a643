"""A database as the stock savers and Holdfast see it, for the tests of conversion."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from holdfast.checkpoints import HoldfastSaver, convert, open_checkpointer
from holdfast.checkpoints.convert import Converted
from holdfast.checkpoints.sql import migrations
from tests.support.dialects import VALUES, WRITES, dialect_of
from tests.support.foreign import Basket, Wish
from tests.support.kit import echo_graph, rows, thread
from tests.support.shapes import exact

CHEAP = [
    "functional",
    "DeltaChannel",
    "time travel",
    "subgraphs with their own memory",
    "pydantic state",
    "map-reduce, exit",
]
TYPES = [Basket, Wish]
PENDING = [f"{m.version:04}_{m.name}" for m in migrations("sqlite")]


def stock_saver(url: str) -> AbstractContextManager[Any]:
    """The stock saver of the database."""
    if dialect_of(url) == "sqlite":
        return SqliteSaver.from_conn_string(url.removeprefix("sqlite:///"))
    return PostgresSaver.from_conn_string(url)


def in_stock(url: str, work: Callable[[Any], Any]) -> Any:
    with stock_saver(url) as stock:
        stock.serde = JsonPlusSerializer(allowed_msgpack_modules=[(t.__module__, t.__name__) for t in TYPES])
        stock.setup()
        return work(stock)


def listed(saver: Any) -> list[Any]:
    """Every checkpoint of every thread with its pending writes, whichever saver reads it."""
    found = []
    for item in saver.list(None):
        values = sorted(item.checkpoint["channel_values"].items())
        known = {name: item.checkpoint[name] for name in ("v", "id", "ts", "channel_versions", "versions_seen")}
        found.append(exact([item.config, values, sorted(known.items()), sorted(item.metadata.items())]))
        found.append(exact([item.parent_config, item.pending_writes]))
    return found


def holdfast(url: str) -> HoldfastSaver:
    return open_checkpointer(url, allow=TYPES)


def forms(saver: HoldfastSaver) -> set[str]:
    """How values are stored."""
    dialect = dialect_of(saver)
    return {
        type_
        for table, _ in (VALUES[dialect], WRITES[dialect])
        for (type_,) in rows(saver, f"SELECT DISTINCT type FROM {table}")
    }


def done(outcome: Converted) -> int:
    assert (outcome.left, outcome.problem) == (0, None)
    return outcome.rewritten


def compact_all(saver: HoldfastSaver) -> None:
    for thread_id in convert.convertible_threads(saver.database):
        done(convert.compact_thread(saver.database, thread_id))


def expand_all(saver: HoldfastSaver) -> None:
    for thread_id in convert.convertible_threads(saver.database):
        done(convert.expand_thread(saver.database, thread_id))


def converted(saver: HoldfastSaver) -> set[str]:
    """The threads that refer to message rows."""
    table, _ = VALUES[dialect_of(saver)]
    return {thread_id for (thread_id,) in rows(saver, f"SELECT thread_id FROM {table} WHERE type = 'holdfast-1'")}


def begin(url: str, text: str, graph_of: Any = echo_graph) -> None:
    """Say something with the stock saver of the database."""
    with stock_saver(url) as stock:
        stock.setup()
        graph_of(stock).invoke({"messages": [("user", text)]}, thread())
