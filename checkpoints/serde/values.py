"""Values to bytes and back, with their messages taken out and put in again.

On the way in, *detach*: each list of messages, wherever it is in a value, becomes a number; `lists` says which
messages it stands for. When the messages' rows are known, the lists become ranges of `seq` in front of the bytes, and a
checksum in front of all. On the way out, *attach*: the ranges say which rows to read before anything else is looked at,
and the numbers become messages again.

Bytes without messages are plain msgpack, which the stock savers read; with messages they have a type of their own,
`holdfast-1`, which the stock savers refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import ormsgpack
from langchain_core.messages import BaseMessage, convert_to_messages
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.known import Known, MessageContents, contents_of, is_unchanged
from holdfast.checkpoints.serde.messages import MessageRow, encode, is_row_class, snapshot
from holdfast.checkpoints.serde.msgpack import FIRST_FREE_CODE, NOT_MINE, Packing, Unpacking
from holdfast.checkpoints.serde.types import Types

TYPE: Final = "holdfast-1"

LIST: Final = FIRST_FREE_CODE  # stands for a list of messages
ONE: Final = FIRST_FREE_CODE + 1  # stands for a single message
SPOKEN: Final = FIRST_FREE_CODE + 2  # a message that is not written as an object: its text is that of a row
VERSION: Final = FIRST_FREE_CODE + 3  # a channel's version

# How deep lists of messages are looked for in dicts and lists, to be stored as ranges. Deeper messages are found as
# well, one by one.
_DEPTH: Final = 4

_VERSION_FORM: Final = re.compile("0{14}[0-9]{18}\\.[0-9a-f]{12}")
_BRANCH: Final = 6  # bytes of a version that keep branches apart

Make: TypeAlias = Callable[[Sequence[int]], list[BaseMessage]]

_NUMBER: Final = 4  # bytes of the checksum, and of the length of the ranges


@dataclass(slots=True, eq=False)
class Draft:
    """A message on its way into the database, whose row is not known yet."""

    message: BaseMessage
    contents: MessageContents | None
    row: MessageRow
    """What to look for, and to store if it is not there."""
    ref: int = 0
    """The row, once it is known (see `ranges`)."""
    claimed: bool = False
    """The row already says where it belongs."""


class MessageList(NamedTuple):
    """Messages that stand together in a value."""

    channel: str
    messages: list[Draft | Known]


@dataclass
class Detached:
    """A value as bytes, waiting for the rows of its messages."""

    channel: str
    type: str
    body: bytes
    lists: list[MessageList] = field(default_factory=list)

    def finish(self) -> tuple[str, bytes]:
        """The type and the bytes to store, when every draft has its row."""
        if self.type != TYPE:
            return self.type, self.body
        return TYPE, with_references([[message.ref for message in found.messages] for found in self.lists], self.body)


def with_references(lists: Sequence[Sequence[int]], body: bytes) -> bytes:
    """A packed body, with the references of its lists of messages and a checksum in front."""
    header = ormsgpack.packb([ranges.compress(refs) for refs in lists])
    rest = len(header).to_bytes(_NUMBER, "big") + header + body
    return crc32(rest).to_bytes(_NUMBER, "big") + rest


class ChannelValues(NamedTuple):
    """A checkpoint's values inside a larger value; tells which channel each message belongs to."""

    values: Mapping[str, Any]


class Version(NamedTuple):
    """A channel's version as `HoldfastSaver.get_next_version` makes it: a number in 32 digits, a point, and twelve more
    that keep branches apart. A checkpoint has five or more of them, and most of each is zeros."""

    number: int
    branch: bytes

    @classmethod
    def compact(cls, versions: Mapping[str, Any]) -> dict[str, Any]:
        """Channel versions with each that has this form as a `Version`; others, of the stock savers, stay."""
        return {channel: cls._of(version) for channel, version in versions.items()}

    @classmethod
    def _of(cls, version: Any) -> Any:
        if type(version) is not str or not _VERSION_FORM.fullmatch(version):
            return version
        return cls(int(version[:32]), bytes.fromhex(version[33:]))

    def __str__(self) -> str:
        return f"{self.number:032}.{self.branch.hex()}"

    def data(self) -> bytes:
        """See `version_text`."""
        return ormsgpack.packb(self.number) + self.branch


def version_text(data: bytes) -> str:
    """A version as it was, from what is stored of it."""
    return str(Version(ormsgpack.unpackb(data[:-_BRANCH]), data[-_BRANCH:]))


class Detacher:
    """Takes the messages out of the values of one save; a message object in several of them is one draft, and those
    whose row is known are none."""

    def __init__(self, types: Types, known: Mapping[int, Known], *, key: bytes = b"") -> None:
        self.drafts: dict[int, Draft] = {}
        self._types = types
        self._known = known
        self._key = key
        self._lists: list[MessageList] = []
        self._channel = ""

    def detach(self, channel: str, value: Any) -> Detached:
        """
        Raises:
            NotStorable: `value` holds something that cannot be saved, or not be loaded again.
        """
        if value is None:
            return Detached(channel, "null", b"")
        if type(value) in {bytes, bytearray}:
            return Detached(channel, type(value).__name__, bytes(value))
        self._lists, self._channel = [], channel
        packing = Packing(self._types, self._special, prepare=_mark)
        body = packing.pack(value)
        return Detached(channel, "msgpack" if packing.native else TYPE, body, self._lists)

    def _special(self, packing: Packing, value: Any) -> Any:
        if type(value) is _Marked:
            return packing.ext(LIST, ormsgpack.packb(self._add(value.messages)))
        if is_row_class(type(value)):
            return packing.ext(ONE, ormsgpack.packb(self._add([value])))
        if type(value) is _Spoken:
            return packing.ext(SPOKEN, packing.pack([self._add([value.message]), value.shell]))
        if type(value) is Version:
            return packing.ext(VERSION, value.data())
        if type(value) is _Channel:
            self._channel = value.name
            return value.value
        return NOT_MINE

    def _add(self, messages: list[BaseMessage]) -> int:
        """The number that stands for these messages."""
        known, drafts = self._known, self.drafts
        found: list[Draft | Known] = []
        for message in messages:
            entry = known.get(id(message))
            if entry is None or not is_unchanged(message, entry.contents):
                found.append(drafts.get(id(message)) or self._draft(message))
            else:
                found.append(entry)
        self._lists.append(MessageList(self._channel, found))
        return len(self._lists) - 1

    def _draft(self, message: BaseMessage) -> Draft:
        contents = contents_of(message)
        row = encode(snapshot(message), self._types, key=self._key)
        # The copy must equal what is stored. It does not if LangGraph has set an id in between.
        is_exact = contents is not None and is_unchanged(message, contents)
        draft = Draft(message, contents if is_exact else None, row)
        self.drafts[id(message)] = draft
        return draft


class Attachable:
    """Stored bytes, opened as far as the references in front of them."""

    def __init__(self, channel: str, type_: str, blob: bytes) -> None:
        """
        Raises:
            ValueError: the bytes are not what `Detached.finish` made.
        """
        self.channel = channel
        self.lists: list[list[int]] = []
        """The references of each list of messages in it."""
        self.type = type_
        self.body = blob
        if type_ == TYPE:
            checksum, rest = blob[:_NUMBER], blob[_NUMBER:]
            if crc32(rest) != int.from_bytes(checksum, "big"):
                raise ValueError("its checksum differs")
            end = _NUMBER + int.from_bytes(rest[:_NUMBER], "big")
            self.lists = [ranges.expand(pairs) for pairs in ormsgpack.unpackb(rest[_NUMBER:end])]
            self.body = rest[end:]

    @property
    def is_empty(self) -> bool:
        """Whether this stands for a channel without a value (the stock PostgresSaver stores such)."""
        return self.type == "empty"

    def attach(self, make: Make, types: Types) -> Any:
        """The value.

        Args:
            make: makes a new message object for each reference.
            types: which types may be loaded.

        Raises:
            NotStorable: a type is not allowed or is gone, or the form is unknown.
            ValueError: the bytes are damaged.
        """

        def revive(code: int, data: bytes) -> Any:
            if code == VERSION:
                return version_text(data)
            stored = unpacking.unpack(data)
            if code == LIST:
                return make(self.lists[stored])
            if code == ONE:
                return make(self.lists[stored][:1])[0]
            if code == SPOKEN:
                number, shell = stored
                text = make(self.lists[number][:1])[0].content
                return {**shell, "content": text} if isinstance(shell, dict) else [*shell, text]
            raise NotStorable(f"Stored data has the extension code {code}, which this version does not know.")

        unpacking = Unpacking(types, revive)
        match self.type:
            case "msgpack" | "holdfast-1":
                return unpacking.unpack(self.body)
            case "null":
                return None
            case "bytes":
                return self.body
            case "bytearray":
                return bytearray(self.body)
            case "json":  # what LangGraph stored before it used msgpack
                return JsonPlusSerializer().loads_typed(("json", self.body))
            case other:
                raise NotStorable(f"Stored data has the form {other!r}, which this version does not read.")


class _Channel(NamedTuple):
    name: str
    value: Any


class _Marked:
    """A list of messages, so that it is stored as ranges and not one by one."""

    __slots__ = ("messages",)

    def __init__(self, messages: list[BaseMessage]) -> None:
        self.messages = messages


class _Spoken(NamedTuple):
    """A message in the form {"role": "user", "content": "…"} or ("user", "…"), as most inputs have it. LangGraph stores
    it twice before it becomes a message. As a row, it also stands before its answer in the order of rows."""

    message: BaseMessage
    shell: dict[str, Any] | list[str]
    """What it was written as, without its text."""


def _spoken(value: Any) -> _Spoken | None:
    if isinstance(value, dict):
        text = value.get("content")
        shell: dict[str, Any] | list[str] = {**value, "content": None}
        if not ("role" in value or "type" in value):
            return None
    else:
        if len(value) != 2 or not isinstance(value[0], str):
            return None
        text, shell = value[1], [value[0]]
    if type(text) is not str:
        return None
    try:
        [message] = convert_to_messages([value])
    except Exception:  # noqa: BLE001 - it only looks like a message, and LangChain says so in many ways
        return None
    return _Spoken(message, shell) if is_row_class(type(message)) and message.content == text else None


def _mark(value: Any, depth: int = _DEPTH) -> Any:
    """`value` with its lists of messages marked. What is not such a list is not copied without need."""
    kind = type(value)
    if kind is ChannelValues:
        return {name: _Channel(name, _mark(item, depth - 1)) for name, item in value.values.items()}
    if (kind is list or kind is tuple) and value:
        first = type(value[0])
        if is_row_class(first):
            return _Marked(list(value)) if all(map(is_row_class, set(map(type, value)))) else value
        if depth and first in {dict, list, tuple}:
            return [(type(item) in {dict, tuple} and _spoken(item)) or _mark(item, depth - 1) for item in value]
    elif kind is dict and depth:
        return {key: _mark(item, depth - 1) for key, item in value.items()}
    return value


def holds_messages(values: Mapping[str, Any]) -> bool:
    """Whether one of these is a list of messages, so that the stock savers cannot read them anyway."""
    return any(type(value) is list and value and is_row_class(type(value[0])) for value in values.values())
