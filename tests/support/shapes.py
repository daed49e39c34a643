"""Hypothesis strategies for messages and for what may be inside of them, and an equality that is exact."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from langchain_core import messages as lc
from langchain_core.messages import BaseMessage
from pydantic import BaseModel, ConfigDict, PrivateAttr

# How long an example takes, to draw or to run, says more about what else the machine is doing than about the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NO_TIMES: list[Any] = [
    datetime(2026, 11, 1),
    "2026-11-01T00:00",
    "",
    "yesterday",
    "7d",
    "1793491200",
    "2026-13-01",
    "2026-11-01T00:00+25:00",
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    True,
    False,
    b"2026-11-01",
    timedelta(days=7),
    Decimal(1),
    [1793491200],
    object(),
]
"""Values that are given as times and are none."""


class Colour(Enum):
    RED = "red"
    DEEP = 7


@dataclasses.dataclass
class Parcel:
    weight: float
    inside: Any = None


class Receipt(BaseModel):
    total: int
    lines: list[str] = []


class Voice(lc.HumanMessage):
    """A subclass with a field, a private attribute, and anything else that it is given."""

    seconds: float = 0.0
    _heard: int = PrivateAttr(default=0)


class Sealed(lc.AIMessage):
    """A subclass that keeps no fields which it does not know."""

    model_config = ConfigDict(extra="ignore")


ALLOWED = [Colour, Parcel, Receipt]
"""The types that must be allowed to load `rich` values. Classes of messages need not be."""


_PLAIN = {str, int, bool, bytes, type(None)}
"""The types of most parts of a value, which need no closer look."""


def exact(value: Any) -> Any:
    """`value` in a form in which == tells 1 from True and 1.0, a tuple from a list, and NaN is itself."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, repr(value)
    if isinstance(value, BaseMessage):
        inside = (dict(sorted(value.__dict__.items())), value.__pydantic_extra__ or {}, value.__pydantic_private__)
        return kind, [exact(part) for part in inside]
    if isinstance(value, BaseModel):
        return kind, exact(value.__dict__)
    if isinstance(value, Mapping):
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return kind, [exact(item) for item in value]
    if dataclasses.is_dataclass(value):
        return kind, [exact(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else value.hex()
    if hasattr(value, "__slots__") and hasattr(value, "arg"):  # Send
        return kind, value.node, exact(value.arg)
    return kind, repr(value)


# Texts that some layer has no form for, or shows wrongly.
HARD_TEXTS = [
    "",
    "\0",
    "a\0b",
    "\ud800",
    "x\udfffy",
    "👩‍👩‍👧",
    "\u202eright to left",
    "e\u0301",
    "'; --",
    "\uffff",
    "{}",
    "?",
    ":x",
]

texts = st.one_of(st.sampled_from(HARD_TEXTS), st.text(max_size=12))
sound_texts = texts.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
"""Those that UTF-8 has a form for."""

_unspoken = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**40]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1, 1.0, True, 0, 0.0, -0.0, False]),
    st.binary(max_size=6),
)
_scalars = st.one_of(_unspoken, texts)
_keys = st.one_of(sound_texts, st.integers(-3, 3), st.booleans(), st.none(), st.floats(allow_nan=False))


def _nested(leaves: st.SearchStrategy[Any], *, tuples: bool) -> st.SearchStrategy[Any]:
    def extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(inner, max_size=3)
        found: list[st.SearchStrategy[Any]] = [lists, st.dictionaries(_keys, inner, max_size=3)]
        return st.one_of(*found, lists.map(tuple)) if tuples else st.one_of(*found)

    return st.recursive(leaves, extend, max_leaves=5)


_rich_scalars = st.one_of(
    _scalars,
    st.datetimes(timezones=st.sampled_from([None, UTC])).map(lambda moment: moment.replace(fold=0)),
    st.dates(),
    st.timedeltas(date.resolution * -9, timedelta(days=9)),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.sampled_from(Colour),
    st.builds(Receipt, total=st.integers(0, 9), lines=st.lists(st.sampled_from(["a", "b"]), max_size=2)),
)
plain = _nested(_scalars, tuples=False)
"""Values that msgpack can hold, and texts and integers that it cannot."""
sound_plain = _nested(st.one_of(_unspoken, sound_texts), tuples=False)
"""`plain` with texts that UTF-8 has a form for."""
rich = _nested(
    st.one_of(
        _rich_scalars, st.builds(Parcel, st.floats(allow_nan=False), _scalars), st.just("x").map(lc.HumanMessage)
    ),
    tuples=True,
)
"""All that may be in a message: also tuples, dates, UUIDs, decimals, enums, models, dataclasses and other messages."""

_extras = st.dictionaries(sound_texts, rich, max_size=2)
_blocks = st.one_of(
    texts,
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries(
        {
            "text": texts,
            "type": st.just("text"),
            "annotations": st.just([{"type": "citation", "url": "https://a.example", "start_index": 0}]),
        }
    ),
    st.fixed_dictionaries({"type": st.just("image"), "base64": st.just("aGk="), "mime_type": st.just("image/png")}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.just({"url": "https://a.example/i.png"})}),
    st.fixed_dictionaries({"type": st.just("file"), "file_id": st.just("f-1"), "extras": _extras}),
    st.fixed_dictionaries({"type": st.just("audio"), "base64": st.just("aGk="), "id": st.none()}),
    st.fixed_dictionaries({"type": st.just("reasoning"), "reasoning": texts, "index": st.integers(0, 3)}),
    st.fixed_dictionaries({"type": st.just("non_standard"), "value": _extras}),
    st.fixed_dictionaries({"type": st.just("text"), "text": plain}),  # a text block without a text
)
contents = st.one_of(texts, st.lists(_blocks, max_size=4))

ids = st.one_of(st.none(), st.uuids().map(str), st.sampled_from(["m-1", "", "lc_run--1"]))
_calls = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["search", "refund"]),
            "args": st.dictionaries(sound_texts, plain, max_size=2),
            "id": st.sampled_from(["call_0", None]),
            "type": st.just("tool_call"),
        }
    ),
    max_size=2,
)
_bad_calls = st.lists(
    st.fixed_dictionaries(
        {"name": st.none(), "args": texts, "id": st.none(), "error": texts, "type": st.just("invalid_tool_call")}
    ),
    max_size=1,
)
_usage = st.one_of(
    st.none(),
    st.just({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"cache_read": 1}}),
)
_artifacts = st.one_of(st.none(), rich)
_common: dict[str, st.SearchStrategy[Any]] = {
    "content": contents,
    "additional_kwargs": st.dictionaries(_keys, rich, max_size=2),
    "response_metadata": st.dictionaries(sound_texts, rich, max_size=2),
    "name": st.one_of(st.none(), texts),
    "id": ids,
}
_AI: dict[str, st.SearchStrategy[Any]] = {
    "tool_calls": _calls,
    "invalid_tool_calls": _bad_calls,
    "usage_metadata": _usage,
}
_TOOL: dict[str, st.SearchStrategy[Any]] = {"artifact": _artifacts, "status": st.sampled_from(["success", "error"])}
_CHUNK_CALLS = st.lists(
    st.just({"name": "search", "args": '{"q', "id": "call_0", "index": 0, "type": "tool_call_chunk"}), max_size=1
)

# For each class what it cannot be made without, and which fields it has besides the common ones.
_CLASSES: list[tuple[type[BaseMessage], dict[str, Any], dict[str, st.SearchStrategy[Any]]]] = [
    (lc.HumanMessage, {}, {"example": st.booleans()}),
    (lc.AIMessage, {}, _AI),
    (lc.SystemMessage, {}, {}),
    (lc.ToolMessage, {"tool_call_id": "call_0"}, {**_TOOL, "tool_call_id": sound_texts}),
    (lc.FunctionMessage, {"name": "search"}, {"name": texts}),
    (lc.ChatMessage, {"role": "critic"}, {"role": texts}),
    (lc.HumanMessageChunk, {}, {}),
    (
        lc.AIMessageChunk,
        {},
        {**_AI, "tool_call_chunks": _CHUNK_CALLS, "chunk_position": st.sampled_from([None, "last"])},
    ),
    (lc.SystemMessageChunk, {}, {}),
    (lc.ToolMessageChunk, {"tool_call_id": "call_0"}, _TOOL),
    (lc.FunctionMessageChunk, {"name": "search"}, {}),
    (lc.ChatMessageChunk, {"role": "critic"}, {"role": texts}),
    (Voice, {}, {"seconds": st.floats(0, 9), "_heard": st.integers(0, 3), "anything": plain}),
    (Sealed, {}, _AI),
]
KINDS = [cls for cls, *_ in _CLASSES]


@st.composite
def messages(draw: st.DrawFn, kinds: list[type[BaseMessage]] | None = None) -> BaseMessage:
    """A message of any class. Its fields are set after it was made: a program can do that, and no validator objects."""
    cls, required, own = draw(st.sampled_from([known for known in _CLASSES if kinds is None or known[0] in kinds]))
    message = cls(content="", **required)
    for name, strategy in {**_common, **own}.items():
        if draw(st.booleans()):
            setattr(message, name, draw(strategy))
    return message
