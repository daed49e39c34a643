"""Bytes that an attacker has written: no import, no call of anything but a type of data, no other error."""

from __future__ import annotations

import enum
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import SAFE_MSGPACK_TYPES
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking
from holdfast.checkpoints.serde.types import Types, stored_json
from holdfast.checkpoints.serde.types import rebuild as rebuild_module
from tests.support.shapes import patient, rich
from tests.support.sweep import Sweep

CODES = sorted(rebuild_module.CONSTRUCTORS)
PAYLOADS: list[Any] = ["exit 1", {"args": ["false"]}, [["false"]]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The types that a load would call, instead of which nothing is called; an import is an error."""
    kinds: list[Any] = []

    def note(kind: Any, parts: Any, _more: Any) -> Any:
        kinds.append(kind)
        return parts

    def no_import(name: str, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{name} was imported")

    loaded = set(sys.modules)
    monkeypatch.setattr(rebuild_module, "_REBUILD", dict.fromkeys(rebuild_module.CONSTRUCTORS, note))
    monkeypatch.setattr(importlib, "import_module", no_import)
    yield kinds
    monkeypatch.undo()
    assert set(sys.modules) == loaded


def everything() -> list[tuple[str, str]]:
    """Return the names of all that any loaded module of the standard library has."""
    return [
        (module, name)
        for module in sorted(sys.stdlib_module_names & set(sys.modules))
        for name, found in sorted(vars(sys.modules[module]).items())
        if callable(found)
    ]


def forged(code: int, *stored: Any) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(list(stored))))


def is_data(kind: Any) -> bool:
    values = tuple(kind for kinds in rebuild_module._VALUES.values() for kind in kinds)
    return isinstance(kind, type) and (
        issubclass(kind, (*values, enum.Enum))
        or is_dataclass(kind)
        or any(callable(getattr(kind, method, None)) for method in rebuild_module._METHODS.values())
    )


@pytest.mark.sweep
def test_of_the_whole_standard_library_only_types_of_data_are_called(called: list[Any]) -> None:
    names = everything()
    assert ("os", "system") in names
    unpacking = Unpacking(Types())
    for module, name in names:
        if (module, name) in SAFE_MSGPACK_TYPES:
            continue
        for code in CODES:
            unpacking.unpack(forged(code, module, name, PAYLOADS[code % 3], "system"))
    assert called
    assert not [kind for kind in called if not is_data(kind)]


@pytest.mark.sweep
def test_in_the_strict_mode_nothing_that_is_not_named_is_called(called: list[Any]) -> None:
    unpacking = Unpacking(Types(strict=True))
    for module, name in everything():
        if (module, name) in SAFE_MSGPACK_TYPES:
            continue
        for code in CODES:
            payload = PAYLOADS[code % 3]
            assert unpacking.unpack(forged(code, module, name, payload, "system")) == payload
    assert not called


def enveloped(module: str, name: str, *, lc: int, **given: Any) -> bytes:
    """An object in the JSON that LangGraph stored before msgpack."""
    return json.dumps([{"lc": lc, "type": "constructor", "id": [*module.split("."), name], **given}]).encode()


GIVEN: list[dict[str, Any]] = [
    {"args": ["exit 1"]},
    {"args": ["exit 1", "now"], "kwargs": None},
    {"kwargs": {"args": ["false"]}},
    {"args": ["exit 1"], "method": "fromisoformat"},
    {"args": ["exit 1"], "method": "system"},
    {"kwargs": {"args": ["false"]}, "method": [None, "construct"]},
    {"args": [1], "kwargs": {"fold": 1}},
]


@pytest.mark.sweep
@pytest.mark.parametrize("strict", [False, True])
def test_of_stored_json_too_only_types_of_data_are_called(called: list[Any], strict: bool, sweep: Sweep) -> None:
    types = Types(strict=strict)
    for module, name in [
        *[*everything()][:: sweep(5, 1)],
        ("antigravity", "fly"),
        ("langchain.chat_models", "ChatOpenAI"),
    ]:
        if (module, name) in SAFE_MSGPACK_TYPES:
            continue
        for content in GIVEN:
            with suppress(ValueError):  # no bytes
                stored_json.loads(enveloped(module, name, lc=2, **content), types)
        stored_json.loads(enveloped(module, name, lc=1, kwargs={"args": ["false"]}), types)
    assert bool(called) is not strict
    assert not [kind for kind in called if not is_data(kind)]


def test_stored_json_reads_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    assert stored_json.loads(b'[{"lc": 1, "type": "secret", "id": ["API_KEY"]}]', Types()) == [None]


def test_all_that_langchain_stores_is_looked_for_and_not_imported(called: list[Any]) -> None:
    for path in ALL_SERIALIZABLE_MAPPINGS:
        *module, name = ALL_SERIALIZABLE_MAPPINGS[path]
        if (".".join(module), name) not in SAFE_MSGPACK_TYPES:
            stored_json.loads(enveloped(".".join(path[:-1]), path[-1], lc=1, kwargs={}), Types(strict=True))
    assert not called


@pytest.mark.sweep
@settings(patient, max_examples=100)
@given(
    path=st.lists(
        st.one_of(st.sampled_from(["os", "system", "builtins", "eval", "langchain", ""]), st.none()), max_size=3
    ),
    lc=st.sampled_from([0, 1, 2, "2", None]),
    kind=st.sampled_from(["constructor", "secret", "not_implemented", None]),
    rest=st.dictionaries(
        st.sampled_from(["args", "kwargs", "method"]),
        st.one_of(
            st.none(), st.text(max_size=3), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(), st.none())
        ),
    ),
    strict=st.booleans(),
)
def test_any_json_is_a_value_or_an_error_that_says_so(
    path: list[Any], lc: Any, kind: Any, rest: dict[str, Any], strict: bool
) -> None:
    found = json.dumps([{"lc": lc, "type": kind, "id": path, **rest}])
    with suppress(ValueError, TypeError):
        stored_json.loads(found.encode(), Types(strict=strict))


@pytest.mark.sweep
@settings(patient, max_examples=150)
@given(
    value=rich,
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    strict=st.booleans(),
)
def test_altered_bytes_are_a_value_or_an_error_that_says_so(value: Any, changes: list[Any], strict: bool) -> None:
    types = Types(strict=strict)
    data = bytearray(Packing(Types()).pack(value))
    for place, byte in changes:
        data[int(place * len(data))] = byte
    # `load.explained` makes a `DamagedThread` of these.
    with suppress(ValueError, TypeError, NotStorable, LookupError, ArithmeticError, RecursionError):
        Unpacking(types).unpack(bytes(data))
