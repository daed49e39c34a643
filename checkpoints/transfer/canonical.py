"""Stored checkpoints as every database can have them, and back: one value with all channels, or one a channel. No I/O.

On SQLite a checkpoint is one value; on PostgreSQL it is a JSON document and a value for each channel. In between it is
a `CanonicalCheckpoint`, which is the same wherever the checkpoint is read from. The conversion works on bytes: no type
is imported, and messages stay references to rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.backends.base import StoredValue
from holdfast.checkpoints.backends.postgres.documents import STORED, folded, is_inline
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.msgpack import NESTING, SURROGATES
from holdfast.checkpoints.serde.splice import renumbered
from holdfast.checkpoints.serde.values import (
    LIST,
    TYPE,
    VERSION,
    Attachable,
    Version,
    version_text,
    with_references,
)

STOCK: Final = "msgpack"

FORMS: Final = frozenset({STOCK, TYPE, "null", "bytes", "bytearray"})
"""The forms of values that can be moved. Others are older than msgpack, or are pickles."""

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

_VALUES: Final = "channel_values"

_NUMBER: Final = 4  # bytes of the checksum in front of a value, and of the length of its references


class CanonicalValue(NamedTuple):
    """A channel's value in its normal form: msgpack, and its lists of messages numbered in their order."""

    type: str
    """`STOCK`, or `TYPE` if it holds what only Holdfast reads."""
    blob: bytes


class CanonicalCheckpoint(NamedTuple):
    """A checkpoint that lies in no particular database."""

    document: dict[str, Any]
    """The checkpoint without its values, as JSON has it."""
    values: dict[str, CanonicalValue]
    """By channel."""


class _Top(NamedTuple):
    """What a packed value is, if it is an extension as a whole."""

    code: int
    data: bytes


def canonical_value(part: Attachable) -> CanonicalValue:
    """A stored value in its normal form.

    Raises:
        NotStorable: it is in a form that cannot be moved.
        ValueError, LookupError: the bytes are damaged.
    """
    if part.type not in FORMS:
        raise NotStorable(
            f"A value is in the form {part.type!r}, which cannot be moved: this is how LangGraph stored values before "
            "it used msgpack, or a pickle. Go on with the thread and prune it, so that it has newer checkpoints only."
        )
    match part.type:
        case "null":
            return CanonicalValue(STOCK, ormsgpack.packb(None))
        case "bytes" | "bytearray":  # within a checkpoint that is one value they are the same
            return CanonicalValue(STOCK, ormsgpack.packb(part.body))
    return _normal(part.body, part)


def from_whole(whole: Attachable) -> CanonicalCheckpoint:
    """The parts of a checkpoint that is one value.

    Raises:
        NotStorable, ValueError, LookupError: as `canonical_value`.
    """
    if whole.type not in {STOCK, TYPE}:
        canonical_value(whole)  # says what is wrong with it
        raise ValueError("it is no checkpoint")
    top = ormsgpack.unpackb(whole.body, ext_hook=_of_version, option=_OPTIONS)
    if not (isinstance(top, dict) and isinstance(top.get(_VALUES), dict)):
        raise ValueError("it is no checkpoint")  # noqa: TRY004 - the bytes are wrong, and no argument
    values = {
        channel: _normal(ormsgpack.packb(value, option=_OPTIONS), whole) for channel, value in top.pop(_VALUES).items()
    }
    return CanonicalCheckpoint(top, values)


def to_whole(parts: CanonicalCheckpoint) -> tuple[str, bytes]:
    """A checkpoint as one value: its type and its bytes."""
    lists: list[list[int]] = []
    types = set()
    values: dict[str, Any] = {}
    holds_messages = False
    for channel, value in parts.values.items():
        part = Attachable(channel, *value)
        values[channel] = renumbered(part.body, part, lists)
        types.add(value.type)
        holds_messages = holds_messages or _is_list(part)
    document = {**parts.document, _VALUES: values}
    if holds_messages:  # then the stock savers do not read it anyway
        document["channel_versions"] = Version.compact(document["channel_versions"])
        seen = document["versions_seen"]
        document["versions_seen"] = {node: Version.compact(versions) for node, versions in seen.items()}
    body = ormsgpack.packb(document, default=_version, option=_OPTIONS)
    return (TYPE, with_references(lists, body)) if TYPE in types else (STOCK, body)


def from_document(document: Mapping[str, Any], found: Mapping[str, Attachable]) -> CanonicalCheckpoint:
    """The parts of a checkpoint that is a document with a value for each larger channel.

    Args:
        document: as `documents.unpacked` gives it.
        found: the values whose versions it names, by channel.

    Raises:
        NotStorable, LookupError: as `canonical_value`.
        ValueError: a value is missing, or the bytes are damaged.
    """
    rest = {name: value for name, value in document.items() if name not in {_VALUES, STORED}}
    # A document of the stock saver does not say which they are.
    stored = set(document.get(STORED, found))
    if lost := stored - found.keys():
        raise ValueError(f"the value of channel {min(lost)!r} is missing")
    inline = (document.get(_VALUES) or {}).items()
    values = {name: CanonicalValue(STOCK, ormsgpack.packb(value)) for name, value in inline if name not in stored}
    return CanonicalCheckpoint(rest, {**values, **{channel: canonical_value(found[channel]) for channel in stored}})


def to_document(parts: CanonicalCheckpoint) -> tuple[Mapping[str, Any], list[StoredValue]]:
    """A checkpoint as a document, and the values that lie in rows of their own.

    Raises:
        NotStorable: a value has no version under which it could lie there.
    """
    inline: dict[str, Any] = {}
    rows: list[StoredValue] = []
    holds_messages = False
    for channel, value in sorted(parts.values.items()):
        part = Attachable(channel, *value)
        top = ormsgpack.unpackb(part.body, ext_hook=_Top, option=_OPTIONS)
        if type(top) is not _Top and is_inline(top):
            inline[channel] = top
            continue
        if type(top) is _Top:
            holds_messages = holds_messages or top.code == LIST
            if top.code == jsonplus.EXT_DELTA_SNAPSHOT:
                inline[channel] = True  # by this mark the stock saver knows a snapshot
        if channel not in parts.document["channel_versions"]:
            raise NotStorable(f"Channel {channel!r} has a value and no version, under which PostgreSQL would keep it.")
        rows.append(StoredValue(channel, *value))
    document = {**parts.document, _VALUES: inline, STORED: [row.channel for row in rows]}
    return (folded(document) if holds_messages else document), rows


def reference_ranges(type_: str, blob: bytes) -> list[list[int]]:
    """The ranges of message rows that a stored value refers to, as they stand in front of it; see `ranges`.

    They are not expanded: four numbers can say a list that no memory holds.

    Raises:
        ValueError: they are not flat pairs of numbers.
    """
    if type_ != TYPE:
        return []
    start = 2 * _NUMBER
    end = start + int.from_bytes(blob[_NUMBER:start], "big")
    found = ormsgpack.unpackb(blob[start:end])
    if not isinstance(found, list) or not all(isinstance(one, list) and len(one) % 2 == 0 for one in found):
        raise ValueError("its references are no lists of pairs")
    if any(type(ref) is not int for one in found for ref in one):
        raise ValueError("its references are not all numbers")
    return found


class MessageSeqs:
    """The message rows that a thread has."""

    def __init__(self) -> None:
        self._seqs: list[int] = []

    @property
    def last(self) -> int:
        return self._seqs[-1] if self._seqs else 0

    def add(self, seq: int) -> None:
        """Add a row that comes after all others."""
        self._seqs.append(seq)

    def check(self, type_: str, blob: bytes) -> int:
        """See that all rows are there which a stored value refers to. Gives how many references it has.

        Raises:
            ValueError: some are not, or the references are damaged.
        """
        total = 0
        for found in reference_ranges(type_, blob):
            for first, last in zip(found[::2], found[1::2], strict=True):
                low, high = sorted((abs(first), abs(last)))
                if bisect_right(self._seqs, high) - bisect_left(self._seqs, low) != high - low + 1:
                    raise ValueError(f"it refers to message rows {low} to {high}, and they are not all there")
                total += high - low + 1
        return total


def _normal(packed: bytes, part: Attachable) -> CanonicalValue:
    if part.type != TYPE:
        return CanonicalValue(
            STOCK, ormsgpack.packb(ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=_OPTIONS), option=_OPTIONS)
        )
    lists: list[list[int]] = []
    body = ormsgpack.packb(renumbered(packed, part, lists), option=_OPTIONS)
    if not lists and not _is_ours(body):
        return CanonicalValue(STOCK, body)
    return CanonicalValue(TYPE, with_references(lists, body))


def _is_ours(body: bytes) -> bool:
    """Whether a value holds what only Holdfast reads."""
    found = False

    def look(code: int, data: bytes) -> None:
        nonlocal found
        found = found or code >= SURROGATES
        if code in NESTING and not found:
            ormsgpack.unpackb(data, ext_hook=look, option=_OPTIONS)

    ormsgpack.unpackb(body, ext_hook=look, option=_OPTIONS)
    return found


def _is_list(part: Attachable) -> bool:
    """Whether a value as a whole is a list of messages."""
    if not part.lists:
        return False
    top = ormsgpack.unpackb(part.body, ext_hook=_Top, option=_OPTIONS)
    return type(top) is _Top and top.code == LIST


def _of_version(code: int, data: bytes) -> Any:
    return version_text(data) if code == VERSION else ormsgpack.Ext(code, data)


def _version(value: Any) -> ormsgpack.Ext:
    if isinstance(value, Version):
        return ormsgpack.Ext(VERSION, value.data())
    raise TypeError(f"{type(value).__name__} has no form in msgpack")
