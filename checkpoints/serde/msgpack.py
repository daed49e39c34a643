"""Conversion of values to bytes and back, in LangGraph's msgpack format, open for our own codes.

The extension codes 0 to 7 are those of `langgraph.checkpoint.serde.jsonplus`, so that the stock savers can read a value
without messages. A save takes what that serializer takes. One thing differs: it recurses into itself, so another code
inside a `Send`, a dataclass or a `_DeltaSnapshot` would become `None`; here nested values pass through the same hooks
as all others. `parts` takes a value apart, and `rebuild` makes it again.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Final

import ormsgpack
from langgraph.checkpoint.serde import jsonplus
from pydantic_core import SchemaSerializer, core_schema

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import DeltaSnapshot
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.types.parts import JSON_TYPES, Kept, parts_of
from holdfast.checkpoints.serde.types.rebuild import CONSTRUCTORS, rebuild

# Codes of our own begin at 64, well away from those that LangGraph may add.
SURROGATES: Final = 64
BIG_INT: Final = 65
TUPLE: Final = 66
FIRST_FREE_CODE: Final = 67

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

NOT_MINE: Final = object()

Special = Callable[["Packing", Any], Any]
"""Receives each object that msgpack has no form for, and returns the object to pack in its place, or `NOT_MINE`."""

Revive = Callable[[int, bytes], Any]
"""Receives the code and the bytes of each extension from `FIRST_FREE_CODE` up, and returns the value."""


class Packing:
    """The conversion of one value to bytes. `native` is false if the bytes have a code that only Holdfast reads."""

    def __init__(
        self,
        types: Types,
        special: Special | None = None,
        *,
        prepare: Callable[[Any], Any] | None = None,
        keep_tuples: bool = False,
    ) -> None:
        self.native = True
        self._types = types
        self._special = special
        self._prepare = prepare
        self._keep_tuples = keep_tuples
        self._escape = False
        self._error: Exception | None = None

    def pack(self, value: Any, *, keep_tuples: bool | None = None, prepared: bool = False) -> bytes:
        """Return the bytes of a value.

        Args:
            value: the value.
            keep_tuples: whether tuples stay tuples, instead of becoming lists as with the stock serializer. The default
                is the setting of the whole value.
            prepared: whether the value needs no preparation any more. That of its parts is still to be made.

        Raises:
            NotStorable: the value has a part that cannot be stored.
        """
        before = self._keep_tuples
        self._keep_tuples = before if keep_tuples is None else keep_tuples
        try:
            return self._pack(value if prepared or self._prepare is None else self._prepare(value))
        finally:
            self._keep_tuples = before

    def _pack(self, value: Any) -> bytes:
        options = _OPTIONS | (ormsgpack.OPT_PASSTHROUGH_TUPLE if self._keep_tuples else 0)
        escaped = self._escape  # read now: packing a part of the value may set it
        try:
            return ormsgpack.packb(_escaped(value) if escaped else value, default=self._default, option=options)
        except TypeError as error:
            # ormsgpack drops the exception of a hook, which has the explanation.
            if self._error is not None:
                raise self._error from None
            if "surrogates" not in str(error) or escaped:
                raise NotStorable(f"A value cannot be saved: {error}.") from error
        self._escape = True
        return self._pack(value)

    def ext(self, code: int, data: bytes) -> ormsgpack.Ext:
        """Return an extension with a code that only Holdfast reads."""
        self.native = False
        return ormsgpack.Ext(code, data)

    def _default(self, value: Any) -> Any:
        try:
            encoded = self._encode(value)
            return _escaped(encoded) if self._escape else encoded
        except Exception as error:
            self._error = self._error or error
            raise

    def _encode(self, value: Any) -> Any:
        if self._special is not None and (special := self._special(self, value)) is not NOT_MINE:
            return special
        if type(value) is Kept:
            return ormsgpack.Ext(value.code, self.pack(value.stored, keep_tuples=True))
        if isinstance(value, _Surrogates):
            return self.ext(SURROGATES, value.text.encode("utf-8", "surrogatepass"))
        if isinstance(value, DeltaSnapshot):
            return ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, self.pack(value.value))
        if (parts := parts_of(value, self._types)) is not None:
            keep_tuples = True if parts.hashed else None
            stored = [*self._types.name(type(value)), parts.payload, *parts.more]
            return ormsgpack.Ext(parts.code, self.pack(stored, keep_tuples=keep_tuples))
        if type(value) is tuple:
            return self.ext(TUPLE, self.pack(list(value)))
        if isinstance(value, int):
            return self.ext(BIG_INT, str(int(value)).encode())
        return self._leaf(value)

    def _leaf(self, value: Any) -> Any:
        """Encode a value as the stock serializer does: take the extension from the bytes that it returns."""
        try:
            _, data = _STOCK.dumps_typed(value)
        except TypeError as error:
            return self._plain(value, error)
        leaf = ormsgpack.unpackb(data, ext_hook=_Leaf, option=ormsgpack.OPT_NON_STR_KEYS)
        if not isinstance(leaf, _Leaf):  # an exception is stored as its repr
            return leaf
        kind = type(value)
        if leaf.code in CONSTRUCTORS and kind.__name__ != self._types.name(kind)[1]:
            module, name, *parts = ormsgpack.unpackb(
                leaf.data, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS
            )
            if (module, name) == (kind.__module__, kind.__name__):
                return ormsgpack.Ext(leaf.code, ormsgpack.packb([module, kind.__qualname__, *parts]))
        return ormsgpack.Ext(leaf.code, leaf.data)

    def _plain(self, value: Any, error: TypeError) -> Any:
        """Return what pydantic makes of a value in a field of any type, as the stock serializer stores it in a message.

        Raises:
            NotStorable: it makes nothing else of it.
        """
        kind, numpy = type(value), sys.modules.get("numpy")
        if isinstance(value, (float, bytes)):
            return float(value) if isinstance(value, float) else bytes(value)
        plain = value.item() if numpy is not None and isinstance(value, numpy.generic) else _ANY.to_python(value)
        if type(plain) in JSON_TYPES:
            return plain
        raise NotStorable(
            f"A value of type {kind.__module__}.{kind.__qualname__} cannot be saved ({error}). "
            "Keep JSON types, messages, dataclasses or pydantic models in the state."
        ) from error


class Unpacking:
    """The conversion of bytes to a value."""

    def __init__(self, types: Types, revive: Revive | None = None) -> None:
        self._types = types
        self._revive = revive
        self._error: Exception | None = None

    def unpack(self, data: bytes) -> Any:
        """Return the value of some bytes.

        Raises:
            NotStorable: a newer version made the bytes.
            ValueError: the bytes are damaged.
        """
        try:
            return ormsgpack.unpackb(data, ext_hook=self._hook, option=ormsgpack.OPT_NON_STR_KEYS)
        except ValueError:
            # ormsgpack drops the exception of a hook, which has the explanation.
            if self._error is not None:
                raise self._error from None
            raise

    def _hook(self, code: int, data: bytes) -> Any:
        try:
            return self._decode(code, data)
        except Exception as error:
            self._error = self._error or error
            raise

    def _decode(self, code: int, data: bytes) -> Any:
        if code == jsonplus.EXT_DELTA_SNAPSHOT:
            return DeltaSnapshot(self.unpack(data))
        if code in CONSTRUCTORS:
            return rebuild(self._types, code, self.unpack(data))
        if code == SURROGATES:
            return data.decode("utf-8", "surrogatepass")
        if code == BIG_INT:
            return int(data)
        if code == TUPLE:
            return tuple(self.unpack(data))
        if code >= FIRST_FREE_CODE and self._revive is not None:
            return self._revive(code, data)
        if code == jsonplus.EXT_NUMPY_ARRAY and self._types.keeps:
            return ormsgpack.Ext(code, data)
        if code == jsonplus.EXT_NUMPY_ARRAY:
            return _STOCK.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(code, data))))
        raise NotStorable(
            f"Stored data has the extension code {code}, which this version does not know. Upgrade Holdfast."
        )


@dataclasses.dataclass(frozen=True)
class _Leaf:
    code: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class _Surrogates:
    text: str


def _escaped(value: Any) -> Any:
    """Return a value with each text that UTF-8 cannot encode in a wrapper. Only values with such texts pay for this."""
    if isinstance(value, str):
        return _Surrogates(value) if _has_surrogates(value) else value
    if isinstance(value, dict):
        if any(isinstance(key, str) and _has_surrogates(key) for key in value):
            raise NotStorable(
                "A key of a dict has a lone surrogate, half of a character, and cannot be saved. Such a text can be a "
                "value, but not a key."
            )
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if type(value) is tuple:
        return tuple(_escaped(item) for item in value)
    return value


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


_ANY: Final = SchemaSerializer(core_schema.any_schema())
_STOCK = jsonplus.JsonPlusSerializer(allowed_msgpack_modules=None)
NESTING: Final = CONSTRUCTORS | {jsonplus.EXT_DELTA_SNAPSHOT, TUPLE}
"""The codes whose data are msgpack again."""
