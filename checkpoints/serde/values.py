"""Conversion of values to bytes and back, with references in place of their messages.

*Detach*: each list of messages, anywhere in a value, becomes a number, and `lists` has its messages. When the rows of
the messages are known, the lists become ranges of `seq` in front of the bytes, behind a checksum. *Attach*: the ranges
tell which rows to read before the value is unpacked, and the numbers become messages again.

Bytes without messages are plain msgpack, which the stock savers read. Bytes with messages have a type of their own,
`holdfast-1`, which the stock savers refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import ormsgpack
from langchain_core.messages import BaseMessage

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import START
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.filter import StorageFilter
from holdfast.checkpoints.serde.known import Known, MessageContents, contents_of, is_unchanged
from holdfast.checkpoints.serde.marking import (
    CONTAINERS,
    DEPTH,
    SCALARS,
    Channel,
    ChannelValues,
    Marked,
    Spoken,
    mark,
    mark_channel,
)
from holdfast.checkpoints.serde.messages import MessageRow, encode, is_row_class, snapshot
from holdfast.checkpoints.serde.msgpack import FIRST_FREE_CODE, NOT_MINE, Packing, Unpacking
from holdfast.checkpoints.serde.types import Types, stored_json

TYPE: Final = "holdfast-1"

LIST: Final = FIRST_FREE_CODE  # stands for a list of messages
ONE: Final = FIRST_FREE_CODE + 1  # stands for a single message
SPOKEN: Final = FIRST_FREE_CODE + 2  # a message written as a dict or a pair: its text is that of a row
VERSION: Final = FIRST_FREE_CODE + 3  # a channel's version

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
    unsettled: list[Draft | Known]
    """Those of them whose row is not known, or not claimed yet."""


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
        return TYPE, with_references([map(_ref, found.messages) for found in self.lists], self.body)


_ref = attrgetter("ref")


def with_references(lists: Iterable[Iterable[int]], body: bytes) -> bytes:
    """Return a packed body behind a checksum and the references of its lists of messages."""
    header = ormsgpack.packb([ranges.compress(refs) for refs in lists])
    rest = len(header).to_bytes(_NUMBER, "big") + header + body
    return crc32(rest).to_bytes(_NUMBER, "big") + rest


def compact_versions(versions: Mapping[str, Any]) -> dict[str, Any]:
    """Return channel versions with each that `HoldfastSaver.get_next_version` makes in fewer bytes.

    Such a version is a number of 32 digits, a point, and twelve hexadecimal digits that differ between branches. A
    checkpoint has five or more of them, and most of each is zeros. Others, of the stock savers, stay.
    """
    return {channel: _version(of) if type(of) is str else of for channel, of in versions.items()}


@lru_cache(maxsize=4096)  # each is in several places of several checkpoints
def _version(version: str) -> Any:
    if not _VERSION_FORM.fullmatch(version):
        return version
    return ormsgpack.Ext(VERSION, ormsgpack.packb(int(version[:32])) + bytes.fromhex(version[33:]))


@lru_cache(maxsize=4096)
def version_text(data: bytes) -> str:
    """Return the version of which `compact_versions` has made these bytes."""
    return f"{ormsgpack.unpackb(data[:-_BRANCH]):032}.{data[-_BRANCH:].hex()}"


class Detacher:
    """Replaces the messages in the values of one save by numbers.

    A message object in several values is one draft. A message whose row is known is no draft.
    """

    def __init__(
        self,
        types: Types,
        known: Mapping[int, Known],
        *,
        key: bytes = b"",
        said: Collection[str] = (),
        nested: set[str] | None = None,
        storage_filter: StorageFilter | None = None,
    ) -> None:
        """
        Args:
            types: the types that may be loaded.
            known: the messages whose rows are known, by `id()`.
            key: the key of the messages' digests.
            said: the channels that make messages of dicts and pairs. Elsewhere these are data.
            nested: the channels that have been seen to hold messages within dicts or lists. It is added to.
            storage_filter: changes texts before they are stored.
        """
        self._filter = storage_filter
        self._said = said
        self._nested: set[str] = set() if nested is None else nested
        self._met: set[str] = set()
        self._left = False
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
        detached = self._detach(channel, value)
        if self._filter is not None:
            detached.body = self._filter.body(detached.type, detached.body, is_checkpoint=not channel)
        return detached

    def _detach(self, channel: str, value: Any) -> Detached:
        if value is None:
            return Detached(channel, "null", b"")
        if isinstance(value, (bytes, bytearray)):
            return Detached(channel, "bytes" if isinstance(value, bytes) else "bytearray", bytes(value))
        packing, body = self._pack(channel, value)
        if self._left and self._met:
            # Again, with the lists of messages in these channels as ranges.
            self._nested |= self._met
            packing, body = self._pack(channel, value)
        return Detached(channel, "msgpack" if packing.native else TYPE, body, self._lists)

    def _pack(self, channel: str, value: Any) -> tuple[Packing, bytes]:
        self._lists, self._channel, self._met, self._left = [], channel, set(), False
        packing = Packing(self._types, self._special, prepare=partial(mark, channels=self._said))
        if type(value) is dict and type(values := value.get("channel_values")) is ChannelValues:
            # Nothing else in a checkpoint holds messages.
            marked: Any = {**value, "channel_values": self._channels(packing, values.values)}
        else:
            marked = self._marked(channel, value, DEPTH)
        return packing, packing.pack(marked, prepared=True)

    def _channels(self, packing: Packing, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a checkpoint, marked, with the channel that each belongs to."""
        found: dict[str, Any] = {}
        is_first = True  # no earlier value may hold messages that are found only when it is packed
        for name, value in values.items():
            if type(value) in SCALARS or (type(value) is dict and SCALARS.issuperset(map(type, value.values()))):
                found[name] = value
                continue
            marked = self._marked(name, value, DEPTH - 1)
            if is_first and type(marked) is Marked:
                self._channel = name
                found[name] = self._list(packing, marked)
            else:
                is_first = False
                found[name] = Channel(name, marked)
        return found

    def _marked(self, channel: str, value: Any, depth: int) -> Any:
        """Return the value of a channel, marked; as it is, if no messages are expected deep in it.

        Most dicts and lists of dicts hold none, and looking into thousands of them takes longer than packing them.
        """
        kind = type(value)
        if channel not in self._said and channel not in self._nested and channel != START:
            is_deep = kind is dict or ((kind is list or kind is tuple) and value and type(value[0]) in CONTAINERS)
            if is_deep:
                self._left = True
                return value
        return mark_channel(channel, value, self._said, depth)

    def _list(self, packing: Packing, marked: Marked) -> ormsgpack.Ext:
        return packing.ext(LIST, ormsgpack.packb(self._add(marked.messages)))

    def _special(self, packing: Packing, value: Any) -> Any:
        if type(value) is Marked:
            return self._list(packing, value)
        if is_row_class(type(value)):
            self._met.add(self._channel)
            return packing.ext(ONE, ormsgpack.packb(self._add([value])))
        if type(value) is Spoken:
            return packing.ext(SPOKEN, packing.pack([self._add([value.message]), value.shell]))
        if type(value) is Channel:
            self._channel = value.name
            return value.value
        return NOT_MINE

    def _add(self, messages: list[BaseMessage]) -> int:
        """Return the number that stands for some messages."""
        known, drafts = self._known, self.drafts
        found: list[Draft | Known] = []
        unsettled: list[Draft | Known] = []
        for message in messages:
            if (entry := known.get(id(message))) is not None:
                _, contents, _, claimed = entry
                # Most are known, and their contents are a dict: as `is_unchanged`, without a call.
                if (
                    message.__dict__ == contents
                    and not message.__pydantic_extra__
                    and message.__pydantic_private__ is None
                ) or (type(contents) is tuple and is_unchanged(message, contents)):
                    found.append(entry)
                    if not claimed:
                        unsettled.append(entry)
                    continue
            draft = drafts.get(id(message)) or self._draft(message)
            found.append(draft)
            unsettled.append(draft)
        self._lists.append(MessageList(self._channel, found, unsettled))
        return len(self._lists) - 1

    def _draft(self, message: BaseMessage) -> Draft:
        contents = contents_of(message)
        row = encode(snapshot(message), self._types, key=self._key)
        # The copy must equal what is stored. It does not if LangGraph has set an id in between.
        is_exact = contents is not None and is_unchanged(message, contents)
        if self._filter is not None and (filtered := self._filter.row(row, self._key)) is not row:
            row, is_exact = filtered, False  # what is loaded from the row is another message than this one
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
            self.lists = ranges.expand_each(ormsgpack.unpackb(rest[_NUMBER:end]))
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


def holds_messages(values: Mapping[str, Any]) -> bool:
    """Return whether one of the values is a list of messages, so that the stock savers cannot read the checkpoint."""
    return any(type(value) is list and value and is_row_class(type(value[0])) for value in values.values())
