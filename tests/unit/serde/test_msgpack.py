"""Values to bytes and back, beside the serializer of the stock savers."""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
import types as types_module
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

from holdfast.checkpoints.errors import NotStorable
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


def parts(stranger: Any) -> dict[str, int]:
    return {"x": stranger.x}


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda value: type(value).__name__)
def test_a_type_that_this_program_has_loaded_comes_back(stranger: Any, wrap: Callable[[Any], Any]) -> None:
    for stored in (ours(wrap(stranger)), STOCK.dumps_typed(wrap(stranger))):
        assert read(stored, Types([*ALLOWED, Point, Order])) == wrap(stranger)


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda value: type(value).__name__)
def test_in_the_strict_mode_a_type_that_is_not_named_becomes_its_parts(
    stranger: Any, wrap: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    strict = Types(EVERY, strict=True)
    for stored in (ours(wrap(stranger), strict), STOCK.dumps_typed(wrap(stranger))):
        assert read(stored, strict) == wrap(parts(stranger))
    [warning] = [record.getMessage() for record in caplog.records if "holdfast" in record.name]
    assert f"{__name__}.{type(stranger).__name__} are loaded as what they consist of" in warning
    assert f'allow=[("{__name__}", "{type(stranger).__name__}")]' in warning
    naming = Types([*EVERY, type(stranger)], strict=True)
    assert read(ours(wrap(stranger), naming), naming) == wrap(stranger)


def test_a_type_can_be_allowed_later_and_by_name() -> None:
    types = Types(strict=True)
    assert read(ours(Stranger(), types), types) == {"x": 1}
    types.allow([(__name__, "Stranger")])
    assert read(ours(Stranger(), types), types) == Stranger()


def forged(code: int, *stored: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(list(stored))))


@pytest.mark.parametrize(
    "stored",
    [
        (0, "os", "system", "exit 1"),
        (0, "builtins", "eval", "1/0"),
        (0, "builtins", "exec", "1/0"),
        (1, "subprocess", "Popen", ["false"]),
        (1, "os", "_exit", [3]),
        (1, "shutil", "rmtree", ["/nowhere"]),
        (2, "subprocess", "Popen", {"args": ["false"]}),
        (2, "threading", "Thread", {"target": None}),
        (2, "types", "SimpleNamespace", {"a": 1}),
        (3, "pathlib", "Path", "/", "rmdir"),
        (3, "datetime", "datetime", 1, "fromtimestamp"),
        (3, "os", "path", "/", "exists"),
        (4, "builtins", "dict", {"a": 1}),
        (5, "subprocess", "Popen", {"args": ["false"]}, "model_validate_json"),
        (5, "logging", "config.dictConfig", {"version": 1}, "x"),
        (0, "tests.unit.serde.test_msgpack", "pytest.exit", "stop"),
    ],
    ids=lambda stored: f"{stored[1]}.{stored[2]}",
)
def test_only_types_of_data_are_called(stored: tuple[Any, ...]) -> None:
    assert read(forged(*stored), Types()) == stored[3]
    assert read(forged(*stored), Types(strict=True)) == stored[3]


def test_a_load_imports_no_module_that_the_database_names() -> None:
    assert "this" not in sys.modules
    for code in range(6):
        assert read(forged(code, "this", "Thing", {"a": 1}, "x"), Types()) == {"a": 1}
    assert "this" not in sys.modules


def test_a_load_asks_no_module_for_what_it_makes_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = types_module.ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail(f"was asked for {name}")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert read(forged(2, "lazy_module", "Thing", {"a": 1}), Types()) == {"a": 1}


def test_a_type_that_is_gone_becomes_its_parts() -> None:
    types = Types([("a.module.that.is.gone", "Thing")])
    assert read(forged(2, "a.module.that.is.gone", "Thing", {"a": 1}), types) == {"a": 1}


def test_a_type_that_refuses_what_was_stored_becomes_its_parts(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass
    class Positive:
        x: int

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("it is negative")

    class Mood(enum.Enum):
        GLAD = 1

    types = Types([Positive, Mood])
    for code, kind, stored in (
        (2, Positive, {"x": -1}),
        (2, Positive, {"x": 1, "gone": 2}),
        (2, Positive, {}),
        (0, Mood, 2),
        (2, StrangePair, {"y": 2}),
    ):
        assert read(forged(code, kind.__module__, kind.__qualname__, stored), types) == stored
    assert len({record.getMessage() for record in caplog.records}) == 3  # one for each type


def test_an_extension_that_does_not_say_its_type_is_damage() -> None:
    for stored in ([], ["os"], [1, 2, 3], ["os", None, {}]):
        with pytest.raises(ValueError, match="does not say what it is"):
            read(forged(2, *stored))


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


def test_two_local_types_of_one_name_come_back_as_the_newer_one() -> None:
    def local() -> type:
        @dataclasses.dataclass
        class Local:
            x: int

        return Local

    older, newer = local(), local()
    types = Types()
    stored = ours([older(1), newer(2)], types)
    assert read(stored, types) == [newer(1), newer(2)]


def test_a_nested_type_is_found_by_its_short_name_if_the_graph_names_it() -> None:
    class Outer:
        @dataclasses.dataclass
        class Part:
            x: int

    stored = forged(2, __name__, "Part", {"x": 1})  # as the stock serializer stores it
    assert read(stored, Types([Outer.Part])) == Outer.Part(1)
    assert read(stored, Types()) == {"x": 1}
