"""A database of the stock savers goes in, becomes compact, and comes out again: with the same in it at every point."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from checkpoints import HoldfastSaver, converting, open_checkpointer
from checkpoints.converting import Outcome
from tests.contract.foreign import SCENARIOS, Basket, Wish
from tests.contract.kit import rows
from tests.shapes import exact

CHEAP = [
    "functional",
    "DeltaChannel",
    "time travel",
    "subgraphs with their own memory",
    "pydantic state",
    "map-reduce, exit",
]
TYPES = [Basket, Wish]


def stock_saver(url: str) -> AbstractContextManager[Any]:
    """The stock saver of the database."""
    if url.startswith("sqlite"):
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
    tables = ("checkpoints", "writes") if saver.store.backend.whole else ("checkpoint_blobs", "checkpoint_writes")
    return {type_ for table in tables for (type_,) in rows(saver, f"SELECT DISTINCT type FROM {table}")}


def done(outcome: Outcome) -> int:
    assert (outcome.left, outcome.problem) == (0, None)
    return outcome.rewritten


@pytest.mark.parametrize("scenario", CHEAP)
def test_what_a_graph_left_with_a_stock_saver_goes_in_and_comes_out_as_it_was(shared_url: str, scenario: str) -> None:
    in_stock(shared_url, SCENARIOS[scenario])
    before = in_stock(shared_url, listed)
    with open_checkpointer(shared_url) as saver:  # knows none of the types in it
        assert done(converting.compact(saver.store, "ada-1")) > 0
        assert done(converting.compact(saver.store, "ada-1")) == 0, "twice is once"
        assert "holdfast-1" in forms(saver)
        assert converting.damage(saver.store, "ada-1") is None
    with holdfast(shared_url) as saver:
        assert listed(saver) == before
        assert done(converting.expand(saver.store, "ada-1")) > 0
        assert done(converting.expand(saver.store, "ada-1")) == 0
        assert "holdfast-1" not in forms(saver)
        assert listed(saver) == before
    assert in_stock(shared_url, listed) == before
