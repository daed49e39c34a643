"""Values that cannot be converted stay as they are and are reported; the others are converted."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Send

from holdfast.checkpoints import convert, open_checkpointer
from holdfast.checkpoints.convert import codec
from holdfast.checkpoints.errors import NotConverted
from tests.support.dialects import VALUES, dialect_of
from tests.support.foreign import SCENARIOS
from tests.support.kit import change, checkpoint, put, rows, texts, thread
from tests.support.shapes import exact
from tests.support.stock_kit import (
    done,
    forms,
    holdfast,
    in_stock,
    listed,
    stock_saver,
)


class Loud(HumanMessage):
    """A message class that is not a row class of LangChain's."""

    volume: int = 3


def test_a_message_of_a_class_that_is_not_loaded_stays_as_it_is(bare_url: str) -> None:
    said = [HumanMessage("a", id="1"), Loud("b", id="2", volume=9)]

    def write(stock: Any) -> None:
        put(stock, thread(), checkpoint(said))

    in_stock(bare_url, write)
    with open_checkpointer(bare_url, strict=True) as saver:
        assert done(convert.compact_thread(saver.database, "ada-1")) == 1
        assert rows(saver, "SELECT content FROM holdfast_messages") == [("a",)]
        assert done(convert.compact_thread(saver.database, "ada-1")) == 0
    with open_checkpointer(bare_url) as saver:
        found = saver.get_tuple(thread())
        assert found is not None
        assert exact(found.checkpoint["channel_values"]["messages"]) == exact(said)


def test_a_thread_with_messages_of_a_class_that_is_gone_is_not_expanded_and_the_class_is_named(bare_url: str) -> None:
    gone: Any = type("Gone", (HumanMessage,), {"__module__": "nowhere"})
    with open_checkpointer(bare_url) as saver:
        put(saver, thread(), checkpoint([gone("a", id="1")]))
    with open_checkpointer(bare_url) as saver:
        assert convert.find_damage(saver.database, "ada-1") is None
        problem = str(convert.expand_thread(saver.database, "ada-1").problem)
        assert "the class nowhere.Gone" in problem
        assert "--allow nowhere:Gone" in problem
        assert "holdfast-1" in forms(saver)


def test_values_in_other_forms_stay_as_they_are(bare_url: str) -> None:
    """Encrypted values, those from before LangGraph used msgpack, and checkpoints from before version 4."""

    def write(stock: Any) -> Any:
        config = put(stock, thread(), {**checkpoint([HumanMessage("a", id="1")]), "v": 3})
        stock.put_writes(config, [("__pregel_tasks", Send("node", {"messages": [HumanMessage("b", id="2")]}))], "task")
        config["configurable"]["checkpoint_ns"] = ""
        put(stock, config, {**checkpoint([HumanMessage("c", id="3")]), "v": 3})
        return listed(stock)

    before = in_stock(bare_url, write)
    with holdfast(bare_url) as saver:
        old = {
            "sqlite": "UPDATE checkpoints SET type = 'json'",
            "postgres": "UPDATE checkpoint_blobs SET type = 'msgpack+aes'",
        }[dialect_of(saver)]
        assert done(convert.compact_thread(saver.database, "ada-1")) == 3
        assert done(convert.expand_thread(saver.database, "ada-1")) == 3
        assert in_stock(bare_url, listed) == before
        change(saver, old)
        damaged = convert.compact_thread(saver.database, "ada-1")
        assert (damaged.rewritten, damaged.problem is None) == (0, False)
        assert "holdfast-1" not in forms(saver)


def test_a_mistake_is_noticed_before_it_is_committed(bare_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_stock(bare_url, SCENARIOS["time travel"])
    with holdfast(bare_url) as saver:
        before = listed(saver)
        real = codec.StockDetacher.opened

        def forgetful(self: Any, body: bytes) -> Any:
            value = real(self, body)
            said = value.get("channel_values", {}).get("messages", []) if isinstance(value, dict) else value
            if isinstance(said, list) and len(said) > 3:
                said.reverse()
            return value

        with monkeypatch.context() as patch:
            patch.setattr(codec.StockDetacher, "opened", forgetful)
            outcome = convert.compact_thread(saver.database, "ada-1")
        assert outcome.rewritten == 0
        assert "would not be loaded as it was" in str(outcome.problem)
        assert "holdfast-1" not in forms(saver)
        assert rows(saver, "SELECT count(*) FROM holdfast_messages") == [(0,)]
        assert listed(saver) == before

        convert.compact_thread(saver.database, "ada-1")
        with monkeypatch.context() as patch:
            patch.setattr(codec, "version_text", lambda data: "1")
            patch.setattr(codec.StockEncoder, "_message", lambda self, ref: f"message {ref}")
            outcome = convert.expand_thread(saver.database, "ada-1")
        assert (outcome.rewritten, "would not be loaded as it was" in str(outcome.problem)) == (0, True)
        assert listed(saver) == before


def test_a_damaged_thread_is_named_and_the_others_go_in(bare_url: str) -> None:
    def write(stock: Any) -> None:
        for thread_id in ("a", "b"):
            put(stock, thread(thread_id), checkpoint([HumanMessage("one", id="1")]))

    in_stock(bare_url, write)
    with holdfast(bare_url) as saver:
        table, column = VALUES[dialect_of(saver)]
        change(saver, f"UPDATE {table} SET {column} = :bad WHERE thread_id = 'a'", bad=b"\xc1")
        found = [convert.compact_thread(saver.database, id_) for id_ in convert.convertible_threads(saver.database)]
        assert [(o.thread_id, o.rewritten) for o in found] == [("a", 0), ("b", 1)]
        assert "Thread 'a' is damaged" in str(found[0].problem)
        assert convert.find_damage(saver.database, "a") == found[0].problem


def test_a_value_that_the_stock_savers_cannot_store_is_named_and_stays(bare_url: str) -> None:
    with holdfast(bare_url) as saver:
        put(saver, thread("odd"), checkpoint([HumanMessage("half \ud800", id="1")]))
        put(saver, thread("even"), checkpoint([HumanMessage("a", id="1", additional_kwargs={"t": (1, 2)})]))
        found = [convert.expand_thread(saver.database, id_) for id_ in convert.convertible_threads(saver.database)]
        assert [(o.thread_id, o.rewritten, o.left) for o in found] == [("even", 1, 0), ("odd", 0, 1)]
        assert "the stock savers have no form for 1 of its values" in str(found[1].problem)
        assert "message 1" in str(found[1].problem)
        assert texts(saver, "odd") == ["half \ud800"]
        with pytest.raises(NotConverted, match="'odd' still refers to message rows"):
            convert.drop_tables(saver.database)
        assert texts(saver, "odd") == ["half \ud800"]
        saver.delete_thread("odd")
        convert.drop_tables(saver.database)
    with stock_saver(bare_url) as stock:
        [message] = stock.get_tuple(thread("even")).checkpoint["channel_values"]["messages"]
        assert message.additional_kwargs == {"t": [1, 2]}, "as the stock savers store a tuple"
