"""Redaction of stored values: msgpack and JSON, as they are stored. No I/O.

It works on bytes. Messages stay references to rows, and a type is only looked for to find out if it takes the
placeholder: where it does not, as a UUID or an enum does not, the placeholder takes the place of the whole value.
Names of types, of channels and of nodes stay, and so do the ids, names and types of messages and tool calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import ormsgpack
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.backends.records import NOTES
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN, PENDING_SENDS, START
from holdfast.checkpoints.redaction.patterns import PLACEHOLDER
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.serde.msgpack import BIG_INT, SURROGATES, TUPLE, Unpacking
from holdfast.checkpoints.serde.types import Types, is_message
from holdfast.checkpoints.serde.types.rebuild import CONSTRUCTORS, is_taken
from holdfast.checkpoints.serde.values import LIST, SPOKEN, TYPE

_OPTIONS: Final = ormsgpack.OPT_NON_STR_KEYS

_CHANNELS: Final = "channel_values"

_JSON: Final = re.compile(r'\s*[{\["]')
_LONG: Final = 1e12  # numbers from which on a float may be the number of a card

_OF_JSON: Final = frozenset({"lc", "type", "id", "method", "name", "graph"})  # a value in LangChain's JSON
_OF_CALL: Final = frozenset({"id", "name", "type", "index"})
_OF_BLOCK: Final = frozenset(
    {"type", "id", "index", "tool_call_id", "tool_use_id", "call_id", "mime_type", "media_type", "source_type"}
)
OF_MESSAGE: Final = frozenset({"type", "role", "id", "tool_call_id", "status"})
"""The fields of a message that name it."""

_OF_RESPONSE: Final = frozenset(
    {"id", "model", "model_name", "model_provider", "created", "finish_reason", "stop_reason", "system_fingerprint"}
)

# In these, what stays is a text or a number. What else is there is another program's.
_FORMS: Final = (_OF_CALL, _OF_BLOCK, OF_MESSAGE, _OF_RESPONSE)

# Metadata that are LangGraph's and ours, but for a copy of what a step wrote.
_NOT_TEXT: Final = (OF_THE_RUN | NOTES | {"user_id"}) - {"writes"}
_OF_LANGGRAPH: Final = "langgraph_"

_ROLES: Final = frozenset(
    {"human", "user", "ai", "assistant", "system", "developer", "tool", "function", "chat", "remove"}
    | {f"{role}MessageChunk" for role in ("Human", "AI", "System", "Tool", "Function", "Chat")}
)

Text = Callable[[str], str]
"""Returns a text without what is to be redacted; the same object if there is nothing."""


class Unredactable(Exception):
    """A value is in a form in which no text can be replaced."""


class Packed:
    """A msgpack extension whose data are still packed."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data


def unpack(packed: bytes) -> Any:
    """Return a packed value with its extensions as `Packed`."""
    return ormsgpack.unpackb(packed, ext_hook=Packed, option=_OPTIONS)


def pack(value: Any, special: Callable[[Any], Any] | None = None) -> bytes:
    """Return the bytes of what `unpack` has returned.

    Args:
        value: the value.
        special: makes an extension of each object that is no `Packed`.
    """

    def extension(value: Any) -> Any:
        if type(value) is Packed:
            return ormsgpack.Ext(value.code, value.data)
        if special is None:
            raise TypeError(f"{type(value).__name__} has no form in msgpack")
        return special(value)

    return ormsgpack.packb(value, default=extension, option=_OPTIONS)


class Values:
    """The redaction of values with one change of texts. Each method returns the same object if nothing changes."""

    def __init__(self, text: Text, types: Types) -> None:
        """
        Args:
            text: the change of a text.
            types: the types that the program knows.
        """
        self._text = text
        self._types = types.quiet_copy()

    # --- as they are stored

    def stored(self, type_: str, body: bytes, *, is_checkpoint: bool) -> bytes:
        """Return the body of a stored value, without the references in front of it.

        Args:
            type_: its type.
            body: its bytes.
            is_checkpoint: whether it is a checkpoint as a whole, of which only the channels are looked at.

        Raises:
            Unredactable: no text in it can be replaced.
            ValueError: the bytes are damaged.
        """
        look = self._checkpoint if is_checkpoint else self.value
        if type_ in {"null", "empty"}:
            return body
        if type_ in {"bytes", "bytearray"}:
            return self._bytes(body)
        if type_ == "json":
            found = json.loads(body)
            return body if (new := look(found)) is found else json.dumps(new, ensure_ascii=False).encode()
        if type_ in {"msgpack", TYPE}:
            tree = unpack(body)
            return body if (new := look(tree)) is tree else pack(new)
        raise Unredactable(f"a value is in the form {type_!r}")

    def _checkpoint(self, tree: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name in (_CHANNELS, PENDING_SENDS):
            found = tree.get(name)
            new = self.channels(found) if name == _CHANNELS and isinstance(found, dict) else self.value(found)
            if new is not found:
                changed[name] = new
        return {**tree, **changed} if changed else tree

    def channels(self, values: dict[str, Any]) -> dict[str, Any]:
        """Redact the values of channels. The names of channels stay."""
        changed = {}
        for channel, value in values.items():
            is_input = channel == START and isinstance(value, dict)
            new = self.channels(value) if is_input else self.value(value)
            if new is not value:
                changed[channel] = new
        return {**values, **changed} if changed else values

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Redact metadata of a checkpoint or a thread, but for what LangGraph and Holdfast have put into them."""
        own = {
            name: value
            for name, value in metadata.items()
            if name not in _NOT_TEXT and not (name.startswith(_OF_LANGGRAPH) and isinstance(value, str))
        }
        changed = {name: new for name, value in own.items() if (new := self.value(value)) is not value}
        return {**metadata, **changed} if changed else metadata

    # --- parts of them

    def value(self, value: Any) -> Any:
        """Redact an unpacked value."""
        match value:
            case str():
                return self.text(value)
            case bool() | None:
                return value
            case int():
                return self._number(value, value)
            case float():  # as tables have a card number, if it is missing in another row
                return value if abs(value) < _LONG or not value.is_integer() else self._number(value, int(value))
            case dict():
                return self.fields(value)
            case list():
                items = [self.value(item) for item in value]
                return items if any(map(_differs, items, value)) else value
            case bytes():
                return self._bytes(value)
            case Packed():
                return self._extension(value)
        return value

    def _number(self, number: float, whole: int) -> float | str:
        text = str(whole)
        return number if (new := self._text(text)) == text else new

    def text(self, text: str) -> str:
        """Redact a text. JSON stays JSON."""
        new = self._text(text)
        if not _JSON.match(text) or (new is text and "\\" not in text):
            return new
        try:
            tree = json.loads(text)
        except ValueError:
            return new
        inner = self.value(tree)
        if inner is tree:
            return new
        written = json.dumps(inner, ensure_ascii=False)
        return self._text(written)

    def fields(self, fields: dict[Any, Any], skip: frozenset[str] | None = None) -> dict[Any, Any]:
        """Redact a dict. What names a message or a tool call in it stays.

        Args:
            fields: the dict.
            skip: the keys whose values stay; by default those that its form has. A dict that has some keeps all of its
                keys.
        """
        skip = _kept_keys(fields) if skip is None else skip
        new: dict[Any, Any] = {}
        is_changed = False
        for key, value in fields.items():
            new_key = key if skip else self._key(key)
            while new_key in new:
                new_key = f"{new_key} "
            is_kept = key in skip and not (skip in _FORMS and isinstance(value, dict | list | Packed))
            item = value if is_kept else self._field(key, value, is_message=skip is OF_MESSAGE)
            is_changed = is_changed or new_key is not key or item is not value
            new[new_key] = item
        return new if is_changed else fields

    def _key(self, key: Any) -> Any:
        if type(key) is tuple:
            parts = tuple(map(self._key, key))
            return parts if any(map(_differs, parts, key)) else key
        return self._text(key) if type(key) is str else key

    def _field(self, key: Any, value: Any, *, is_message: bool) -> Any:
        if not is_message:
            return self.value(value)
        if key == "response_metadata" and isinstance(value, dict):
            return self.fields(value, _OF_RESPONSE)
        if key == "content" and isinstance(value, list):
            new = [self.fields(block, _OF_BLOCK) if isinstance(block, dict) else self.value(block) for block in value]
            return new if any(map(_differs, new, value)) else value
        if key == "name" and type(value) is str:
            return value if self._text(value) is value else "redacted"  # endpoints refuse other characters
        return self.value(value)

    def _bytes(self, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data
        return data if (new := self.text(text)) is text else new.encode()

    def _extension(self, packed: Packed) -> Any:
        if packed.code in CONSTRUCTORS:
            return self._constructed(packed)
        if packed.code in {jsonplus.EXT_DELTA_SNAPSHOT, TUPLE}:
            tree = unpack(packed.data)
            return packed if (new := self.value(tree)) is tree else Packed(packed.code, pack(new))
        if packed.code == SURROGATES:
            text = packed.data.decode("utf-8", "surrogatepass")
            if (new := self._text(text)) is text:
                return packed
            return new if is_sql_text(new) else Packed(packed.code, new.encode("utf-8", "surrogatepass"))
        if packed.code == BIG_INT:
            text = packed.data.decode()
            return packed if (new := self._text(text)) is text else new
        return self.reference(packed)

    def reference(self, packed: Packed) -> Packed:
        """Redact an extension that refers to message rows. The rows themselves are redacted in their table."""
        if packed.code != SPOKEN:
            return packed
        number, shell = unpack(packed.data)
        new = self.fields(shell, OF_MESSAGE) if isinstance(shell, dict) else shell
        return packed if new is shell else Packed(SPOKEN, pack([number, new]))

    def _constructed(self, packed: Packed) -> Any:
        """Redact what a value of a type consists of."""
        stored = unpack(packed.data)
        if type(stored) is not list or len(stored) < 3 or type(stored[0]) is not str or type(stored[1]) is not str:
            raise ValueError(f"an extension with the code {packed.code} does not say what it is")
        module, name, parts, *more = stored
        new = self._parts(module, name, parts)
        if new is parts:
            return packed
        data = pack([module, name, new, *more])
        return Packed(packed.code, data) if self._is_taken(packed.code, data) else PLACEHOLDER

    def _parts(self, module: str, name: str, parts: Any) -> Any:
        if module.startswith("langgraph."):
            if name == "Send" and isinstance(parts, list):
                node, *args = parts
                new = self.value(args)
                return parts if new is args else [node, *new]
            if name == "Interrupt" and isinstance(parts, dict):
                return self.fields(parts, frozenset({"id", "interrupt_id", "ns"}))
        if isinstance(parts, dict) and not is_message(module, name) and not is_message_like(parts):
            # The names of fields stay.
            return self._of_model(parts)
        return self.value(parts)

    def _of_model(self, parts: dict[Any, Any]) -> dict[Any, Any]:
        changed = {key: new for key, value in parts.items() if (new := self.value(value)) is not value}
        return {**parts, **changed} if changed else parts

    def _is_taken(self, code: int, data: bytes) -> bool:
        """Return whether the type of a value takes what the value consists of now; true if the type is not known."""

        def revive(code: int, _: bytes) -> Any:
            return [] if code == LIST else None

        try:
            return is_taken(self._types, code, Unpacking(self._types, revive).unpack(data))
        except NotStorable:
            return True


def is_message_like(fields: Mapping[Any, Any]) -> bool:
    """Return whether a dict is a message: it has a content, and the role of one."""
    return "content" in fields and not _ROLES.isdisjoint(_texts(fields.get("role"), fields.get("type")))


def _texts(*values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _kept_keys(fields: Mapping[Any, Any]) -> frozenset[str]:
    """Return the keys that name a message, a tool call or a type."""
    if "lc" in fields and isinstance(fields.get("id"), list):
        return _OF_JSON
    if is_message_like(fields):
        return OF_MESSAGE
    is_call = "name" in fields and "args" in fields
    return _OF_CALL if is_call or isinstance(fields.get("function"), dict) else frozenset()


def _differs(new: Any, old: Any) -> bool:
    return new is not old
