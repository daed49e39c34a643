"""Comparison of loaded values without importing their types. No I/O.

The commands that convert a database know no graph, so they can neither import nor compare the types in its states. A
stand-in replaces each such value: the name of its type, and the arguments that it was made of.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Set
from hashlib import blake2b
from typing import Any, Final

import ormsgpack
from langchain_core.messages import BaseMessage

from holdfast.checkpoints.langgraph_internals import SAFE_MSGPACK_TYPES, graph_type
from holdfast.checkpoints.serde.types import Types

_EXACT: Final = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class Made:
    """A value of a type that is not imported."""

    def __init__(self, type_name: tuple[str, str], made_of: Any) -> None:
        self.type_name = type_name
        self.made_of = made_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and fingerprint(self) == fingerprint(other)

    def __hash__(self) -> int:
        return hash(self.type_name)  # what it was made of need not be hashable


class _StandIn:
    """The stand-in for a type that is not imported. A call returns a `Made`."""

    def __init__(self, module: str, name: str) -> None:
        self._type_name = module, name

    def __call__(*args: Any, **fields: Any) -> Made:  # a field may be called `self`
        self, *places = args
        return Made(self._type_name, [places, fields])


class StandIns(Types):
    """The types of a checkpointer, with a stand-in for each type except messages and standard types."""

    def __init__(self, types: Types) -> None:
        super().__init__()
        self._all = types

    def is_allowed(self, module: str, name: str) -> bool:
        """Return true: nothing is called that `find` does not return."""
        return True

    def find(self, module: str, name: str) -> Any:
        """Return a message's class or a standard type, and a stand-in for any other."""
        kind = self._all.find(module, name)
        if (module, name) in SAFE_MSGPACK_TYPES or (isinstance(kind, type) and issubclass(kind, BaseMessage)):
            return kind
        return _StandIn(module, name)


def fingerprint(value: Any, *, as_stock: bool = False) -> bytes:
    """Return 16 bytes that differ for values that differ, also for 1, True and 1.0, and for a tuple and a list.

    Args:
        value: the loaded value.
        as_stock: a tuple counts as a list, because the stock savers store it as one.
    """
    tell = _Teller(as_stock=as_stock)
    tell(value)
    return tell.digest()


class _Teller:
    def __init__(self, *, as_stock: bool) -> None:
        self._as_stock = as_stock
        self._options = _EXACT | (0 if as_stock else ormsgpack.OPT_PASSTHROUGH_TUPLE)
        self._state = blake2b(digest_size=16)
        self.digest = self._state.digest

    def __call__(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, BaseMessage):
            self._message(value)
        elif isinstance(value, Made):
            self._parts("made", [*value.type_name, value.made_of])
        elif isinstance(value, Mapping):
            self._parts(kind.__name__, [part for item in value.items() for part in item])
        elif isinstance(value, tuple) and self._as_stock and kind is tuple:
            self._parts("list", value)
        elif isinstance(value, (list, tuple, deque)):
            self._parts(kind.__name__, value)
        elif isinstance(value, Set):
            told = sorted(fingerprint(item, as_stock=self._as_stock) for item in value)
            self._leaf(kind.__name__, b"".join(told))
        elif isinstance(value, graph_type("Send")):
            self._parts("Send", [value.node, value.arg, getattr(value, "timeout", None)])
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self._parts(kind.__name__, [getattr(value, field.name) for field in dataclasses.fields(value)])
        elif isinstance(value, float):
            self._leaf("float", value.hex().encode())
        elif hasattr(value, "tobytes"):
            self._leaf(f"{kind.__name__} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}", value.tobytes())
        else:
            self._leaf(kind.__name__, value if kind is bytes else repr(value).encode("utf-8", "surrogatepass"))

    def _message(self, message: BaseMessage) -> None:
        fields = {name: message.__dict__[name] for name in sorted(message.__dict__)}
        inside = [type(message).__name__, fields, message.__pydantic_extra__ or {}, message.__pydantic_private__]
        try:  # nearly all, and ten times as fast
            self._leaf("message", ormsgpack.packb(inside, option=self._options))
        except TypeError:
            self._parts("message", inside)

    def _parts(self, name: str, parts: Any) -> None:
        self._leaf(name, str(len(parts)).encode())
        for part in parts:
            self(part)

    def _leaf(self, name: str, data: bytes) -> None:
        self._state.update(f"{name}\0{len(data)}\0".encode())
        self._state.update(data)
