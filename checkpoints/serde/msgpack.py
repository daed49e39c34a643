"""Conversion of values to bytes and back, in LangGraph's msgpack format: strict about types, open for our own codes.

The extension codes 0 to 7 are those of `langgraph.checkpoint.serde.jsonplus`, so that the stock savers can read a value
without messages. Two things differ from that serializer. It recurses into itself, so another code inside a `Send`, a
dataclass or a `_DeltaSnapshot` would become `None`; here nested values pass through the same hooks as all others. And
where it puts a dict or `None` in place of a value whose type is not allowed or cannot be rebuilt, this module raises an
error, at the save if possible, so that no value is saved that cannot be loaded.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import ormsgpack
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Send

from holdfast.checkpoints.errors import NotStorable, TypeNotAllowed
from holdfast.checkpoints.langgraph_internals import SAFE_MSGPACK_METHODS, DeltaSnapshot
from holdfast.checkpoints.serde.types import Types

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

    def pack(self, value: Any, *, keep_tuples: bool | None = None) -> bytes:
        """Return the bytes of a value.

        Args:
            value: the value.
            keep_tuples: whether tuples stay tuples, instead of becoming lists as with the stock serializer. The default
                is the setting of the whole value.

        Raises:
            NotStorable: the value has a part that cannot be stored, or whose type is not allowed.
        """
        before = self._keep_tuples
        self._keep_tuples = before if keep_tuples is None else keep_tuples
        try:
            return self._pack(value if self._prepare is None else self._prepare(value))
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
        if isinstance(value, int):
            return self.ext(BIG_INT, str(value).encode())
        if isinstance(value, _Surrogates):
            return self.ext(SURROGATES, value.text.encode("utf-8", "surrogatepass"))
        kind = type(value)
        if kind is tuple:
            return self.ext(TUPLE, self.pack(list(value)))
        # Types that may contain messages are encoded here, so that messages are found at any depth.
        if isinstance(value, DeltaSnapshot):
            return ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, self.pack(value.value))
        if isinstance(value, Send):
            timeout = getattr(value, "timeout", None)
            args = [value.node, value.arg] if timeout is None else [value.node, value.arg, timeout]
            return self._construct(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, kind, args)
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._construct(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, kind, value._asdict())
        if isinstance(value, (set, frozenset, deque)):
            # The elements of a set must be hashable, which lists are not.
            hashed = not isinstance(value, deque)
            return self._construct(
                jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, kind, list(value), keep_tuples=hashed or self._keep_tuples
            )
        if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
            return self._construct(jsonplus.EXT_PYDANTIC_V2, kind, value.model_dump(), "model_validate_json")
        if dataclasses.is_dataclass(value):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._construct(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, kind, fields)
        return self._leaf(value)

    def _construct(
        self, code: int, kind: type, payload: Any, *method: str, keep_tuples: bool | None = None
    ) -> ormsgpack.Ext:
        name = self._types.admit(kind)
        return ormsgpack.Ext(code, self.pack([*name, payload, *method], keep_tuples=keep_tuples))

    def _leaf(self, value: Any) -> Any:
        """Encode a value as the stock serializer does: take the extension from the bytes that it returns."""
        try:
            _, data = _STOCK.dumps_typed(value)
        except TypeError as error:
            raise NotStorable(
                f"A value of type {type(value).__module__}.{type(value).__name__} cannot be saved ({error}). "
                "Keep JSON types, messages, dataclasses or pydantic models in the state."
            ) from error
        leaf = ormsgpack.unpackb(data, ext_hook=_Leaf, option=ormsgpack.OPT_NON_STR_KEYS)
        if not isinstance(leaf, _Leaf):  # an exception is stored as its repr
            return leaf
        if leaf.code in _CONSTRUCTORS:
            module, name, *_ = ormsgpack.unpackb(leaf.data, ext_hook=lambda *_: None, option=ormsgpack.OPT_NON_STR_KEYS)
            kind = type(value)
            if (module, name) == (kind.__module__, kind.__name__):
                self._types.admit(kind)
            else:  # a function that makes the value, such as re.compile
                self._types.check(module, name)
        return ormsgpack.Ext(leaf.code, leaf.data)


class Unpacking:
    """The conversion of bytes to a value."""

    def __init__(self, types: Types, revive: Revive | None = None) -> None:
        self._types = types
        self._revive = revive
        self._error: Exception | None = None

    def unpack(self, data: bytes) -> Any:
        """Return the value of some bytes.

        Raises:
            NotStorable: a type is not allowed, cannot be imported, or rejects the stored data.
            ValueError: `data` is not msgpack.
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
        if code in _CONSTRUCTORS:
            return self._rebuild(code, self.unpack(data))
        if code == SURROGATES:
            return data.decode("utf-8", "surrogatepass")
        if code == BIG_INT:
            return int(data)
        if code == TUPLE:
            return tuple(self.unpack(data))
        if code >= FIRST_FREE_CODE and self._revive is not None:
            return self._revive(code, data)
        if code == jsonplus.EXT_NUMPY_ARRAY:
            return _STOCK.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(code, data))))
        raise NotStorable(
            f"Stored data has the extension code {code}, which this version does not know. Upgrade Holdfast."
        )

    def _rebuild(self, code: int, stored: Sequence[Any]) -> Any:
        module, name, payload, *method = stored
        if code == jsonplus.EXT_METHOD_SINGLE_ARG:
            if (module, name, *method) not in SAFE_MSGPACK_METHODS:
                raise TypeNotAllowed(module, name)
            return getattr(self._types.load(module, name), method[0])(payload)
        kind = self._types.load(module, name)
        try:
            if code == jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG:
                return kind(payload)
            if code == jsonplus.EXT_CONSTRUCTOR_POS_ARGS:
                return _send(payload) if kind is Send else kind(*payload)
            return _dataclass(kind, payload) if dataclasses.is_dataclass(kind) else kind(**payload)
        except Exception as error:
            # A model whose validation has become stricter still loads, as it does with the stock serializer.
            if code == jsonplus.EXT_PYDANTIC_V2:
                return kind.model_construct(**payload)
            if code == jsonplus.EXT_PYDANTIC_V1:
                return kind.construct(**payload)
            raise NotStorable(
                f"A stored {module}.{name} cannot be rebuilt ({error}). Make the type accept what it accepted before."
            ) from error


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


def _dataclass(kind: Any, stored: Mapping[str, Any]) -> Any:
    """Make a dataclass with its constructor, and set the fields that the constructor does not take."""
    given = {field.name for field in dataclasses.fields(kind) if field.init}
    made = kind(**{name: value for name, value in stored.items() if name in given})
    for name, value in stored.items():
        if name not in given:
            object.__setattr__(made, name, value)
    return made


def _send(args: Sequence[Any]) -> Send:
    node, arg, *timeout = args
    return Send(node, arg, timeout=timeout[0]) if timeout else Send(node, arg)


_STOCK = jsonplus.JsonPlusSerializer(allowed_msgpack_modules=None)
_CONSTRUCTORS = frozenset(
    {
        jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
        jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
        jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
        jsonplus.EXT_METHOD_SINGLE_ARG,
        jsonplus.EXT_PYDANTIC_V1,
        jsonplus.EXT_PYDANTIC_V2,
    }
)

NESTING: Final = _CONSTRUCTORS | {jsonplus.EXT_DELTA_SNAPSHOT, TUPLE}
"""The codes whose data are msgpack again."""
