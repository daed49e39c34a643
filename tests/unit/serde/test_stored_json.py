"""Values in the JSON that LangGraph stored before it used msgpack."""

from __future__ import annotations

import enum
import json
import sys
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.types.stored_json import loads


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Note:
    text: str


class Model(BaseModel):
    count: int
    all: list[Any] = []


def stored(kind: Any, *args: Any, method: Any = None, **fields: Any) -> dict[str, Any]:
    place = [*kind.__module__.split("."), kind.__name__]
    given = {"method": method, "args": list(args) or None, "kwargs": fields or None}
    return {"lc": 2, "type": "constructor", "id": place, **{name: part for name, part in given.items() if part}}


CONSTRUCT = [None, "construct"]

VALUES: list[tuple[Any, Any]] = [
    (datetime(2024, 5, 1, 12, 30, tzinfo=UTC), stored(datetime, "2024-05-01T12:30:00+00:00", method="fromisoformat")),
    (date(2024, 5, 1), stored(date, 2024, 5, 1)),
    (time(12, 30, fold=1), stored(time, 12, 30, 0, 0, None, fold=1)),
    (timedelta(1, 2, 3), stored(timedelta, 1, 2, 3)),
    (timezone(timedelta(hours=1)), stored(timezone, stored(timedelta, 0, 3600, 0))),
    (ZoneInfo("Europe/Paris"), {**stored(date, "Europe/Paris"), "id": ["zoneinfo", "ZoneInfo"]}),
    (UUID(int=7), stored(UUID, UUID(int=7).hex)),
    (Decimal("1.50"), stored(Decimal, "1.50")),
    (ip_address("10.0.0.1"), stored(type(ip_address("10.0.0.1")), "10.0.0.1")),
    (Path("/a/b"), {**stored(Path, "/", "a", "b"), "id": ["pathlib", "Path"]}),
    (Path("a"), {**stored(Path, "a"), "id": ["pathlib", "Path"]}),
    ({1, 2}, stored(set, [1, 2])),
    (frozenset({1}), stored(frozenset, [1])),
    (deque([1, 2]), stored(deque, [1, 2])),
    (b"\x00a", stored(bytes, "0061", method="fromhex")),
    (bytearray(b"a"), stored(bytearray, "61", method="fromhex")),
    (Colour.RED, stored(Colour, "red")),
    (Point(1, 2), stored(Point, x=1, y=2)),
    (Note("a"), stored(Note, text="a")),
    (Model(count=1, all=[HumanMessage("a")]), stored(Model, count=1, all=[dumpd(HumanMessage("a"))], method=CONSTRUCT)),
    (Send("node", {"a": Note("b")}), stored(Send, "node", {"a": stored(Note, text="b")})),
    (Interrupt("why", id="i1"), stored(Interrupt, value="why", id="i1")),
    (HumanMessage("a", id="m1"), dumpd(HumanMessage("a", id="m1"))),
    (AIMessage("", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]),) * 2,
    (ToolMessage("a", tool_call_id="c"),) * 2,
    (RemoveMessage("m1"),) * 2,
    (Document("text", metadata={"a": 1}), dumpd(Document("text", metadata={"a": 1}))),
    ({"lc": 2, "id": "mine"}, {"lc": 2, "id": "mine"}),
    ({"lc": 1, "type": "not_implemented", "id": ["a", "b"], "repr": "c"},) * 2,
]  # fmt: skip


def as_json(value: Any) -> bytes:
    return json.dumps(value, default=dumpd).encode()


@pytest.mark.parametrize(("value", "in_json"), VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_what_it_was(value: Any, in_json: Any) -> None:
    types = Types()
    found = loads(as_json({"a": [in_json]}), types)
    assert found == {"a": [value]}
    assert type(found["a"][0]) is type(value)
    assert not types.not_rebuilt


@pytest.mark.parametrize(("value", "in_json"), VALUES, ids=lambda value: type(value).__name__)
def test_a_value_that_is_kept_is_saved_in_the_form_of_today(value: Any, in_json: Any) -> None:
    kept = loads(as_json([in_json]), Types().keeping())
    assert Unpacking(Types()).unpack(Packing(Types()).pack(kept)) == [value]


def test_it_is_what_the_stock_serializer_gives_where_that_gives_a_value() -> None:
    stock = JsonPlusSerializer(allowed_json_modules=True)
    for value, in_json in VALUES:
        found = stock.loads_typed(("json", as_json(in_json))) if "not_implemented" not in str(in_json) else value
        assert found in (value, None) or type(found) is not type(value), value


def test_a_class_that_is_not_there_becomes_its_parts() -> None:
    types = Types()
    gone = {"lc": 2, "type": "constructor", "id": ["antigravity", "Fly"]}
    assert "antigravity" not in sys.modules
    assert loads(as_json({**gone, "kwargs": {"a": 1}}), types) == {"a": 1}
    assert loads(as_json({**gone, "args": ["a"]}), types) == "a"
    assert loads(as_json({**gone, "args": ["a", "b"]}), types) == ["a", "b"]
    assert loads(as_json({**gone, "lc": 1, "kwargs": {"a": 1}}), types) == {"a": 1}
    assert types.not_rebuilt == {("antigravity", "Fly"): "this program has not loaded it"}
    assert "antigravity" not in sys.modules
