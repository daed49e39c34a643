"""What a value consists of, as LangGraph's serializer stores it; `rebuild` is the way back. No I/O.

Only types that may contain messages or further values are here, so that these are found at any depth. All others are
encoded by that serializer itself.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.serde import jsonplus
from pydantic import BaseModel, RootModel

from holdfast.checkpoints.langgraph_internals import graph_type
from holdfast.checkpoints.serde.types import Types

JSON_TYPES: Final = frozenset({str, int, float, bool, type(None), list, dict})


class Parts(NamedTuple):
    """A value taken apart."""

    code: int
    """The extension code."""
    payload: Any
    """What the type is called with."""
    more: tuple[Any, ...] = ()
    """What else is stored. The stock serializer ignores it, except for the name of a method."""
    hashed: bool = False
    """True if the parts must be hashable, which lists are not."""


class Kept:
    """A value that is loaded only to be saved again, as it was stored: no type is looked for, and nothing is called."""

    __slots__ = ("code", "stored")

    def __init__(self, code: int, stored: Any) -> None:
        self.code = code
        """The extension code."""
        self.stored = stored
        """The unpacked content, with messages and other kept values in it."""


def parts_of(value: Any, types: Types) -> Parts | None:
    """Return what a value consists of; `None` if it is not of a type that this module knows."""
    if isinstance(value, Enum):  # before its other bases: an enum may be an int, a text or a date as well
        # The name finds a member whose value does not come back equal, such as a tuple.
        more = () if type(value.value) in JSON_TYPES else (value.name,)
        return Parts(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, value.value, more)
    if isinstance(value, graph_type("Send")):
        timeout = getattr(value, "timeout", None)
        args = [value.node, value.arg] if timeout is None else [value.node, value.arg, timeout]
        return Parts(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, args)
    if isinstance(value, (set, frozenset, deque)):
        return Parts(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, list(value), hashed=not isinstance(value, deque))
    if isinstance(value, PurePath):
        return Parts(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, list(value.parts))
    return None if isinstance(value, type) else _by_method(value, types)


def _by_method(value: Any, types: Types) -> Parts | None:
    """Return the parts of a value that has a method for it, or is a dataclass."""
    if _has(value, "model_dump"):
        return Parts(jsonplus.EXT_PYDANTIC_V2, _dump(value), ("model_validate_json", *_arguments(type(value), types)))
    if _has(value, "get_secret_value"):
        return Parts(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, value.get_secret_value())
    if _has(value, "dict"):
        return Parts(jsonplus.EXT_PYDANTIC_V1, value.dict())
    if _has(value, "_asdict"):
        return Parts(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, value._asdict())
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return Parts(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, fields)
    return None


def _has(value: Any, method: str) -> bool:
    return callable(getattr(value, method, None))


def _dump(model: Any) -> Any:
    dumped = model.model_dump()
    if isinstance(dumped, dict) or isinstance(model, RootModel) or not isinstance(model, BaseModel):
        return dumped
    return dict(model)  # a serializer of its own makes a text of it, which cannot be undone


def _arguments(kind: type, types: Types) -> list[Any]:
    """Return the names of a generic model's origin and arguments: made in a function, it is not found by its own."""
    generic = getattr(kind, "__pydantic_generic_metadata__", {})
    origin, arguments = generic.get("origin"), generic.get("args", ())
    if origin is None or not all(isinstance(argument, type) for argument in arguments):
        return []
    return [list(types.name(origin)), [list(types.name(argument)) for argument in arguments]]
