"""Values to bytes and back, beside the serializer of the stock savers."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from hypothesis import given, settings
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel, SecretStr

from holdfast.checkpoints.errors import NotStorable, TypeNotAllowed
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.values import Attachable, Detacher, Draft
from tests.support.shapes import ALLOWED, Colour, Parcel, Receipt, exact, patient, plain, rich
from tests.support.sweep import example_count


class Point(NamedTuple):
    x: Any
    y: Any = None


class Order(BaseModel):
    number: int
    receipt: Receipt | None = None


EVERY = [*ALLOWED, Point, Order, SecretStr]
TYPES = Types(EVERY)
STOCK = JsonPlusSerializer(allowed_msgpack_modules=EVERY)


def ours(value: Any, types: Types = TYPES) -> tuple[str, bytes]:
    return Detacher(types, {}).detach("channel", value).finish()


def read(stored: tuple[str, bytes], types: Types = TYPES) -> Any:
    return Attachable("channel", *stored).attach(lambda _: pytest.fail("no message is in it"), types)


VALUES: list[Any] = [
    None,
    b"\0",
    bytearray(b"\xff"),
    True,
    0,
    2**64 - 1,
    -(2**63),
    "👩‍👩‍👧\0",
    [],
    {},
    [[], {}, None],
    {0: "a", True: "b", None: "c", 2.5: "d", b"e": "f"},
    {"set": {1, 2}, "frozen": frozenset({"a"}), "queue": deque([1])},
    [datetime(2026, 1, 2, 3, 4, 5, 6, UTC), datetime(2026, 1, 2), date(2026, 1, 2), time(1, 2), timedelta(1, 2, 3)],
    [datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), ZoneInfo("Asia/Tokyo")],
    [UUID(int=7), Decimal("1.10"), ip_address("::1"), re.compile("a+", re.IGNORECASE)],
    [Colour.RED, Colour.DEEP, Receipt(total=1), Order(number=2, receipt=Receipt(total=3)), Parcel(1.0, [1])],
    Point(1, Point(2, Colour.RED)),
    Send("node", {"a": Point(1)}),
    [Overwrite([1]), Command(goto="x", update={"a": 1}), Interrupt(value={"q": 1}, id="i")],
    _DeltaSnapshot({"files": [Parcel(1.0)]}),
    Document("text", metadata={"source": 1}),
    SecretStr("hidden"),
    RemoveMessage(id="m-1"),
]


def shape(value: Any) -> Any:
    """`exact`, for what has no fields to look into."""
    return exact(value) if not isinstance(value, (set, frozenset, Command)) else (type(value), value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{str(value)[:24]}")
def test_both_serializers_read_what_either_writes(value: Any) -> None:
    written_by_stock, written_by_us = STOCK.dumps_typed(value), ours(value)

    assert written_by_us == written_by_stock
    expected = STOCK.loads_typed(written_by_stock)
    assert shape(read(written_by_stock)) == shape(expected) == shape(read(written_by_us))
    assert read(written_by_us) == value


@settings(patient, max_examples=example_count(80))
@given(value=plain)
def test_any_json_like_value_comes_back(value: Any) -> None:
    assert exact(read(ours(value))) == exact(value)


@settings(patient, max_examples=example_count(80))
@given(value=plain)
def test_a_value_that_needs_no_code_of_ours_is_written_as_by_the_stock_serializer(value: Any) -> None:
    kind, written = ours(value)
    if kind == "msgpack":
        assert (kind, written) == STOCK.dumps_typed(value)


@settings(patient, max_examples=example_count(80))
@given(value=rich)
def test_tuples_come_back_where_they_are_asked_for(value: Any) -> None:
    packed = Packing(TYPES, keep_tuples=True).pack(value)
    assert exact(Unpacking(TYPES).unpack(packed)) == exact(value)


@pytest.mark.parametrize("value", ["\ud800", [2**64], {"a": {"b": "x\udfff"}}, Parcel(1.0, -(10**30))], ids=repr)
def test_a_value_that_the_stock_serializer_would_lose_is_refused_by_it(value: Any) -> None:
    kind, written = ours(value)
    assert exact(read((kind, written))) == exact(value)
    with pytest.raises(NotImplementedError):
        STOCK.loads_typed((kind, written))


def test_bytes_with_messages_are_refused_by_the_stock_serializer() -> None:
    detached = Detacher(TYPES, {}).detach("channel", [HumanMessage("x")])
    [[draft]] = [found.messages for found in detached.lists]
    assert isinstance(draft, Draft)
    draft.ref = 1
    with pytest.raises(NotImplementedError):
        STOCK.loads_typed(detached.finish())


# --- types that are not allowed


class Stranger(BaseModel):
    x: int = 1


@dataclasses.dataclass
class StrangeData:
    x: int = 1


class StrangePair(NamedTuple):
    x: int = 1


STRANGERS = [Stranger(), StrangeData(), StrangePair()]
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda value: value,
    "list": lambda value: [1, [value]],
    "dict": lambda value: {"a": {"b": value}},
    "Send": lambda value: Send("node", {"state": [value]}),
    "Overwrite": Overwrite,
    "Command": lambda value: Command(update={"a": value}, goto=["node"]),
    "Interrupt": lambda value: Interrupt(value=value, id="i"),
    "dataclass": lambda value: Parcel(1.0, value),
    "namedtuple": Point,
    "_DeltaSnapshot": lambda value: _DeltaSnapshot([value]),
    "all": lambda value: _DeltaSnapshot([Send("node", Overwrite(Parcel(1.0, Point([value]))))]),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda value: type(value).__name__)
def test_a_type_that_is_not_allowed_is_refused_on_the_way_in(stranger: Any, wrap: Callable[[Any], Any]) -> None:
    name = type(stranger).__name__
    with pytest.raises(TypeNotAllowed, match=rf"{__name__}\.{name} .* allow=\[{name}\]") as refused:
        ours(wrap(stranger))
    assert refused.value.type_name == (__name__, name)
    assert isinstance(refused.value, NotStorable)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda value: type(value).__name__)
def test_a_type_that_is_not_allowed_is_refused_on_the_way_out(stranger: Any, wrap: Callable[[Any], Any]) -> None:
    name = type(stranger).__name__
    with pytest.raises(TypeNotAllowed, match=rf"allow=\[{name}\]"):
        read(STOCK.dumps_typed(wrap(stranger)))
    allowing = Types([*EVERY, type(stranger)])
    assert read(ours(wrap(stranger), allowing), allowing) == wrap(stranger)


def test_a_type_can_be_allowed_later_and_by_name() -> None:
    types = Types()
    with pytest.raises(TypeNotAllowed):
        ours(Stranger(), types)
    types.allow([(__name__, "Stranger")])
    assert read(ours(Stranger(), types), types) == Stranger()


def test_a_method_of_an_allowed_type_is_not_allowed_with_it() -> None:
    forged = ormsgpack.packb(ormsgpack.Ext(3, ormsgpack.packb(["pathlib", "Path", "/", "rmdir"])))
    with pytest.raises(TypeNotAllowed):
        read(("msgpack", forged))


def test_a_type_that_is_gone_is_an_error_that_names_it() -> None:
    types = Types([("a.module.that.is.gone", "Thing")])
    stored = ormsgpack.packb(ormsgpack.Ext(2, ormsgpack.packb(["a.module.that.is.gone", "Thing", {}])))
    with pytest.raises(NotStorable, match=r"a\.module\.that\.is\.gone\.Thing .* cannot be imported"):
        read(("msgpack", stored), types)


def test_a_model_whose_rules_have_grown_still_loads() -> None:
    older = ["tests.support.shapes", "Receipt", {"total": "many"}, "model_validate_json"]
    assert read(("msgpack", ormsgpack.packb(ormsgpack.Ext(5, ormsgpack.packb(older))))).total == "many"


@pytest.mark.parametrize("value", [1j, object(), lambda: 1, {"a": [type]}, AIMessage], ids=lambda v: type(v).__name__)
def test_a_value_that_cannot_be_stored_is_refused_with_its_type(value: Any) -> None:
    with pytest.raises(NotStorable, match="cannot be saved"):
        ours(value)


@pytest.mark.parametrize("stored", [("pickle", b"x"), ("holdfast-2", b""), ("msgpack", b"\xc7\x01\x7f\0")])
def test_an_unknown_form_is_an_error_and_never_nothing(stored: tuple[str, bytes]) -> None:
    with pytest.raises(NotStorable, match="does not"):
        read(stored)


@pytest.mark.parametrize("stored", [b"", b"\x92\x01", b"\xc1"])
def test_damaged_bytes_are_an_error_and_never_nothing(stored: bytes) -> None:
    with pytest.raises(ValueError):
        read(("msgpack", stored))


def test_a_type_that_other_processes_cannot_import_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    types = Types([Local])
    with caplog.at_level(logging.WARNING):
        assert read(ours([Local(1), Local(2)], types), types) == [Local(1), Local(2)]
    assert len([record for record in caplog.records if "cannot be imported" in record.message]) == 1
