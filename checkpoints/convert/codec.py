"""Conversion of stored values between the form of the stock savers and that of Holdfast. No I/O.

It works on bytes. Only messages are rebuilt, and everything else is copied unchanged, so no type is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.convert.fingerprint import StandIns, fingerprint
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.known import Known
from holdfast.checkpoints.serde.messages import is_row_class, is_stand_in
from holdfast.checkpoints.serde.msgpack import BIG_INT, FIRST_FREE_CODE, NESTING, SURROGATES, TUPLE, Packing, Unpacking
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.values import (
    LIST,
    ONE,
    SPOKEN,
    VERSION,
    Attachable,
    Detacher,
    version_text,
)

STOCK: Final = "msgpack"
"""The form of the stock savers that is rewritten. Values in their older forms are not changed."""

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

# Message objects that are cached while a thread is rewritten. A message is in hundreds of checkpoints.
_CACHE_SIZE: Final = 20_000


class NotExpressible(Exception):
    """A value has a part that the stock savers cannot hold."""


class _Nested(NamedTuple):
    """A msgpack extension that contains messages in packed form, unpacked."""

    code: int
    tree: Any


class RebuiltMessages:
    """A cache of the message objects that were rebuilt from a thread's values, by their bytes."""

    def __init__(self) -> None:
        self.known: dict[str, dict[int, Known]] = {}
        """The messages whose row is known, by namespace and `id()`."""
        self._messages: dict[bytes, BaseMessage] = {}

    def get(self, data: bytes) -> BaseMessage | None:
        return self._messages.get(blake2b(data, digest_size=16).digest())

    def add(self, data: bytes, message: BaseMessage) -> None:
        if message.id is None:
            return  # the same message without an id may be two messages
        if len(self._messages) >= _CACHE_SIZE:
            self._messages, self.known = {}, {}
        self._messages[blake2b(data, digest_size=16).digest()] = message


class StockDetacher(Detacher):
    """A detacher that takes the messages out of stock values."""

    def __init__(self, types: Types, rebuilt: RebuiltMessages, ns: str, *, key: bytes) -> None:
        super().__init__(types, rebuilt.known.get(ns, {}), key=key)
        self._rebuilt = rebuilt
        self._seen = 0

    def opened(self, body: bytes) -> Any:
        """Unpack a stock value and rebuild its messages. Other extensions stay packed.

        Raises:
            ValueError: the bytes are damaged.
        """
        return ormsgpack.unpackb(body, ext_hook=self._hook, option=_OPTIONS)

    def has_messages(self, body: bytes) -> bool:
        """Return whether a stock value has messages that can be rows."""
        return bool(self.detach("", self.opened(body)).lists)

    def _hook(self, code: int, data: bytes) -> Any:
        if code == jsonplus.EXT_PYDANTIC_V2 and (message := self._message(data)) is not None:
            self._seen += 1
            return message
        if code in NESTING:
            seen = self._seen
            tree = ormsgpack.unpackb(data, ext_hook=self._hook, option=_OPTIONS)
            if self._seen > seen:
                return _Nested(code, tree)
        return ormsgpack.Ext(code, data)

    def _message(self, data: bytes) -> BaseMessage | None:
        if (message := self._rebuilt.get(data)) is not None:
            return message
        try:
            module, name, fields, *_ = Unpacking(self._types).unpack(data)
            kind = self._types.find(module, name)
            if not (isinstance(kind, type) and is_row_class(kind)):
                return None
            made: BaseMessage = kind(**fields)
            self._draft(made)
        except Exception:  # noqa: BLE001 - a message that cannot be rebuilt stays in place, whatever the reason
            return None
        self.drafts.pop(id(made), None)
        self._rebuilt.add(data, made)
        return made

    def _special(self, packing: Packing, value: Any) -> Any:
        if type(value) is _Nested:
            return ormsgpack.Ext(value.code, packing.pack(value.tree))
        return super()._special(packing, value)


class StockEncoder:
    """An encoder that puts the messages of one thread back into its values, in the form of the stock savers."""

    def __init__(self, types: Types, make: Callable[[Sequence[int]], list[BaseMessage]]) -> None:
        """
        Args:
            types: the types that may be loaded.
            make: returns a message for each reference.
        """
        self._types = StandIns(types)
        self._make = make
        self._stock: dict[int, ormsgpack.Ext] = {}
        self._error: Exception | None = None

    def encode(self, part: Attachable) -> bytes:
        """Return the bytes of a value in the form of the stock savers.

        Raises:
            NotExpressible: the stock savers cannot hold the value.
            ValueError: the bytes are damaged.
        """
        try:
            tree = ormsgpack.unpackb(part.body, ext_hook=lambda *ext: self._hook(part, *ext), option=_OPTIONS)
        except ValueError:
            error, self._error = self._error, None
            if error is not None:  # ormsgpack replaces the exception of a hook
                raise error from None
            raise
        with _refused("a value"):
            return ormsgpack.packb(tree, option=_OPTIONS)

    def _hook(self, part: Attachable, code: int, data: bytes) -> Any:
        try:
            return self._encode_extension(part, code, data)
        except Exception as error:
            self._error = self._error or error
            raise

    def _encode_extension(self, part: Attachable, code: int, data: bytes) -> Any:
        if code == VERSION:
            return version_text(data)
        if code in _NO_FORM:
            raise NotExpressible(f"it holds {_NO_FORM[code]}")
        if code < FIRST_FREE_CODE and code not in NESTING:
            return ormsgpack.Ext(code, data)
        inner = ormsgpack.unpackb(data, ext_hook=lambda *ext: self._hook(part, *ext), option=_OPTIONS)
        if code in NESTING:
            return ormsgpack.Ext(code, ormsgpack.packb(inner, option=_OPTIONS))
        if code == LIST:
            return [self._message(ref) for ref in part.lists[inner]]
        if code == ONE:
            return self._message(part.lists[inner][0])
        if code == SPOKEN:
            number, shell = inner
            text = self._make(part.lists[number][:1])[0].content
            return {**shell, "content": text} if isinstance(shell, dict) else [*shell, text]
        raise NotStorable(f"Stored data has the extension code {code}, which this version does not know.")

    def _message(self, ref: int) -> ormsgpack.Ext:
        if (stock := self._stock.get(ref)) is None:
            [message] = self._make([ref])
            stock = self._stock[ref] = self._encode_message(message, abs(ref))
        return stock

    def _encode_message(self, message: BaseMessage, seq: int) -> ormsgpack.Ext:
        """Return a message as the stock savers store it.

        Raises:
            NotExpressible: the stock savers would load another message from it.
        """
        if is_stand_in(cls := type(message)):
            raise NotExpressible(
                f"message {seq} is of the class {cls.__module__}.{cls.__qualname__}, which is not loaded. Name it: "
                f"--allow {cls.__module__}:{cls.__qualname__}"
            )
        with _refused(f"message {seq}"):
            _, data = _STOCK_SERIALIZER.dumps_typed(message)
            loaded = Unpacking(self._types).unpack(data)
            if fingerprint(loaded, as_stock=True) != fingerprint(message, as_stock=True):
                raise NotExpressible(f"message {seq} would not be loaded as it is")
            stored: ormsgpack.Ext = ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=_OPTIONS)
            return stored


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise NotExpressible(f"{what} cannot be stored there ({error})") from error


_NO_FORM: Final[Mapping[int, str]] = {
    SURROGATES: "a text with half a character",
    BIG_INT: "a number of more than 64 bits",
    TUPLE: "a tuple within a set",
}

_STOCK_SERIALIZER: Final = jsonplus.JsonPlusSerializer()
