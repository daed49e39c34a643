"""Conversion of values to bytes and back, with references in place of their messages.

*Detach*: each list of messages, anywhere in a value, becomes a number, and `lists` has its messages. When the rows of
the messages are known, the lists become ranges of `seq` in front of the bytes, behind a checksum. *Attach*: the ranges
tell which rows to read before the value is unpacked, and the numbers become messages again.

Bytes without messages are plain msgpack, which the stock savers read. Bytes with messages have a type of their own,
`holdfast-1`, which the stock savers refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import ormsgpack
from langchain_core.messages import BaseMessage, convert_to_messages

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import START
from holdfast.checkpoints.serde import ranges, stored_json
from holdfast.checkpoints.serde.known import Known, MessageContents, contents_of, is_unchanged
from holdfast.checkpoints.serde.messages import MessageRow, encode, is_row_class, snapshot
from holdfast.checkpoints.serde.msgpack import FIRST_FREE_CODE, NOT_MINE, Packing, Unpacking
from holdfast.checkpoints.serde.types import Types

TYPE: Final = "holdfast-1"

LIST: Final = FIRST_FREE_CODE  # stands for a list of messages
ONE: Final = FIRST_FREE_CODE + 1  # stands for a single message
SPOKEN: Final = FIRST_FREE_CODE + 2  # a message written as a dict or a pair: its text is that of a row
VERSION: Final = FIRST_FREE_CODE + 3  # a channel's version

# The depth to which lists of messages in dicts and lists are stored as ranges. Deeper messages are stored one by one.
_DEPTH: Final = 4

_VERSION_FORM: Final = re.compile("0{14}[0-9]{18}\\.[0-9a-f]{12}")
_BRANCH: Final = 6  # bytes of a version that keep branches apart

Make: TypeAlias = Callable[[Sequence[int]], list[BaseMessage]]

_NUMBER: Final = 4  # bytes of the checksum, and of the length of the ranges


@dataclass(slots=True, eq=False)
class Draft:
    """A message to save whose row is not known yet."""

    message: BaseMessage
    contents: MessageContents | None
    row: MessageRow
    """The row to find, and to store if it does not exist."""
    ref: int = 0
    """The reference to the row, once it is known (see `ranges`)."""
    claimed: bool = False
    """Whether the row is claimed already."""


class MessageList(NamedTuple):
    """A list of messages in a value."""

    channel: str
    messages: list[Draft | Known]


@dataclass
class Detached:
    """A value as bytes, without the references to its messages."""

    channel: str
    type: str
    body: bytes
    lists: list[MessageList] = field(default_factory=list)

    def finish(self) -> tuple[str, bytes]:
        """Return the type and the bytes to store. Every draft must have its row."""
        if self.type != TYPE:
            return self.type, self.body
        return TYPE, with_references([[message.ref for message in found.messages] for found in self.lists], self.body)


def with_references(lists: Sequence[Sequence[int]], body: bytes) -> bytes:
    """Return a packed body behind a checksum and the references of its lists of messages."""
    header = ormsgpack.packb([ranges.compress(refs) for refs in lists])
    rest = len(header).to_bytes(_NUMBER, "big") + header + body
    return crc32(rest).to_bytes(_NUMBER, "big") + rest


class ChannelValues(NamedTuple):
    """The values of a checkpoint inside a larger value. It marks the channel that each message belongs to."""

    values: Mapping[str, Any]


class Version(NamedTuple):
    """A channel's version as `HoldfastSaver.get_next_version` makes it, to store it in fewer bytes.

    It is a number of 32 digits, a point, and twelve hexadecimal digits that differ between branches. A checkpoint has
    five or more of them, and most of each is zeros.
    """

    number: int
    branch: bytes

    @classmethod
    def compact(cls, versions: Mapping[str, Any]) -> dict[str, Any]:
        """Return channel versions with each of this form as a `Version`. Others, of the stock savers, stay."""
        return {channel: cls._of(version) for channel, version in versions.items()}

    @classmethod
    def _of(cls, version: Any) -> Any:
        if type(version) is not str or not _VERSION_FORM.fullmatch(version):
            return version
        return cls(int(version[:32]), bytes.fromhex(version[33:]))

    def __str__(self) -> str:
        return f"{self.number:032}.{self.branch.hex()}"

    def data(self) -> bytes:
        """Return the version as bytes, which `version_text` reads."""
        return ormsgpack.packb(self.number) + self.branch


def version_text(data: bytes) -> str:
    """Return the version that `Version.data` has written."""
    return str(Version(ormsgpack.unpackb(data[:-_BRANCH]), data[-_BRANCH:]))


class Detacher:
    """Replaces the messages in the values of one save by numbers.

    A message object in several values is one draft. A message whose row is known is no draft.
    """

    def __init__(
        self, types: Types, known: Mapping[int, Known], *, key: bytes = b"", said: Collection[str] = ()
    ) -> None:
        """
        Args:
            types: the types that may be loaded.
            known: the messages whose rows are known, by `id()`.
            key: the key of the messages' digests.
            said: the channels that make messages of dicts and pairs. Elsewhere these are data.
        """
        self._said = said
        self.drafts: dict[int, Draft] = {}
        self._types = types
        self._known = known
        self._key = key
        self._lists: list[MessageList] = []
        self._channel = ""

    def detach(self, channel: str, value: Any) -> Detached:
        """Return a value as bytes, without its messages.

        Raises:
            NotStorable: the value has a part that cannot be saved, or not be loaded again.
        """
        if value is None:
            return Detached(channel, "null", b"")
        if isinstance(value, (bytes, bytearray)):
            return Detached(channel, "bytes" if isinstance(value, bytes) else "bytearray", bytes(value))
        self._lists, self._channel = [], channel
        packing = Packing(self._types, self._special, prepare=partial(_mark, channels=self._said))
        body = packing.pack(_Whole(channel, value))
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
        """Return the number that stands for some messages."""
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
    """A stored value whose references are read, and whose body is still packed."""

    def __init__(self, channel: str, type_: str, blob: bytes, *, checked: bool = True) -> None:
        """
        Args:
            channel: the channel that it is of.
            type_: the type that is stored with the bytes.
            blob: the bytes.
            checked: whether another checksum than theirs is an error.

        Raises:
            ValueError: the bytes are damaged.
        """
        self.channel = channel
        self.lists: list[list[int]] = []
        """The references of each list of messages in it."""
        self.type = type_
        self.body = blob
        self.is_as_saved = True
        """Whether its checksum is right, if it has one."""
        if type_ == TYPE:
            checksum, rest = blob[:_NUMBER], blob[_NUMBER:]
            self.is_as_saved = crc32(rest) == int.from_bytes(checksum, "big")
            if checked and not self.is_as_saved:
                raise ValueError("its checksum differs")
            end = _NUMBER + int.from_bytes(rest[:_NUMBER], "big")
            self.lists = [ranges.expand(pairs) for pairs in ormsgpack.unpackb(rest[_NUMBER:end])]
            self.body = rest[end:]

    @property
    def is_empty(self) -> bool:
        """Whether it stands for a channel without a value, which the stock PostgresSaver stores as a row."""
        return self.type == "empty"

    def attach(self, make: Make, types: Types, packed: bytes | None = None) -> Any:
        """Return the value.

        Args:
            make: makes a new message object for each reference.
            types: the types that may be loaded.
            packed: a part of the body, to return only this.

        Raises:
            NotStorable: a type is not allowed or cannot be imported, or the form is unknown.
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
                return unpacking.unpack(self.body if packed is None else packed)
            case "null":
                return None
            case "bytes":
                return self.body
            case "bytearray":
                return bytearray(self.body)
            case "json":
                return stored_json.loads(self.body, types)
            case other:
                raise NotStorable(f"Stored data has the form {other!r}, which this version does not read.")


class _Channel(NamedTuple):
    name: str
    value: Any


class _Whole(NamedTuple):
    """The value of a channel, in contrast to a part of it."""

    channel: str
    value: Any


class _Marked:
    """A list of messages that is stored as ranges and not one by one."""

    __slots__ = ("messages",)

    def __init__(self, messages: list[BaseMessage]) -> None:
        self.messages = messages


class _Spoken(NamedTuple):
    """A message in the form {"role": "user", "content": "…"} or ("user", "…"), which most inputs have.

    LangGraph stores it twice before it becomes a message. As a row, it also comes before its answer.
    """

    message: BaseMessage
    shell: dict[str, Any] | list[str]
    """The dict or the pair, without the text."""


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


def last_text(value: Any) -> str | None:
    """Return the text of the last item of a list, if the item may be a message in the form of a dict or a pair."""
    if not (isinstance(value, list) and value):
        return None
    match value[-1]:
        case {"content": str(text)} | (str(), str(text)):
            return text
    return None


def _mark_channel(channel: str, value: Any, channels: Collection[str], depth: int = _DEPTH) -> Any:
    """Do as `_mark` for the value of a channel, or for an input, which has values for several."""
    if channel == START and type(value) is dict:
        return {name: _mark(item, depth - 1, is_said=name in channels) for name, item in value.items()}
    return _mark(value, depth, is_said=channel in channels, channels=channels)


def _mark(value: Any, depth: int = _DEPTH, *, is_said: bool = False, channels: Collection[str] = ()) -> Any:
    """Return a value with its lists of messages marked. Other parts are copied only if necessary.

    Args:
        value: the value.
        depth: how deep to look.
        is_said: whether the value is of a channel that makes messages of dicts and pairs.
        channels: these channels.
    """
    kind = type(value)
    if kind is _Whole:
        return _mark_channel(value.channel, value.value, channels)
    if kind is ChannelValues:
        return {
            name: _Channel(name, _mark_channel(name, item, channels, depth - 1)) for name, item in value.values.items()
        }
    if (kind is list or kind is tuple) and value:
        first = type(value[0])
        if is_row_class(first):
            return _Marked(list(value)) if all(map(is_row_class, set(map(type, value)))) else value
        if depth and first in {dict, list, tuple}:
            return [
                (is_said and type(item) in {dict, tuple} and _spoken(item)) or _mark(item, depth - 1) for item in value
            ]
    elif kind is dict and depth:
        return {key: _mark(item, depth - 1, channels=channels) for key, item in value.items()}
    return value


def holds_messages(values: Mapping[str, Any]) -> bool:
    """Return whether one of the values is a list of messages, so that the stock savers cannot read the checkpoint."""
    return any(type(value) is list and value and is_row_class(type(value[0])) for value in values.values())
