"""Conversion of stored checkpoints between the forms of the databases. No I/O.

On SQLite a checkpoint is one value; on PostgreSQL it is a JSON document and a value for each channel. In between it is
a `CanonicalCheckpoint`, which is the same wherever the checkpoint is read from. The conversion works on bytes: no type
is imported, and messages stay references to rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

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
"""The forms of values that can be transferred. Others are pickles, or older than LangGraph's use of msgpack."""

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

_VALUES: Final = "channel_values"

# A value begins with a checksum of its references and their length, each a number of four bytes.
_NUMBER: Final = 4

CanonicalValue: TypeAlias = tuple[str, bytes]
"""The type and the bytes of a channel's value in its canonical form: msgpack, with the lists of messages numbered in
their order. The type is `TYPE` if the value has parts that only Holdfast reads, else `STOCK`."""


class CanonicalCheckpoint(NamedTuple):
    """A checkpoint in the form that is independent of the database."""

    document: dict[str, Any]
    """The checkpoint without its channel values, as a JSON object."""
    values: dict[str, CanonicalValue]
    """The values by channel."""


class _Extension(NamedTuple):
    """A packed value that as a whole is a msgpack extension."""

    code: int
    data: bytes


def canonical_value(part: Attachable) -> CanonicalValue:
    """Return a stored value in its canonical form.

    Raises:
        NotStorable: the value is in a form that cannot be transferred.
        ValueError, LookupError: the bytes are damaged.
    """
    if part.type not in FORMS:
        raise NotStorable(
            f"A value is in the form {part.type!r}, which cannot be moved: it is a pickle, or from a LangGraph before "
            "it used msgpack. Continue the thread and prune it, so that only newer checkpoints remain."
        )
    match part.type:
        case "null":
            return STOCK, ormsgpack.packb(None)
        case "bytes" | "bytearray":  # a checkpoint that is one value does not tell them apart
            return STOCK, ormsgpack.packb(part.body)
    return _canonical(part.body, part)


def from_whole(whole: Attachable) -> CanonicalCheckpoint:
    """Read a checkpoint that is stored as one value.

    Raises:
        NotStorable, ValueError, LookupError: as `canonical_value`.
    """
    if whole.type not in {STOCK, TYPE}:
        canonical_value(whole)  # raises the more precise error
        raise ValueError("it is no checkpoint")
    top = ormsgpack.unpackb(whole.body, ext_hook=_of_version, option=_OPTIONS)
    if not (isinstance(top, dict) and isinstance(top.get(_VALUES), dict)):
        raise ValueError("it is no checkpoint")  # noqa: TRY004 - the bytes are wrong, not the argument
    values = {
        channel: _canonical(ormsgpack.packb(value, option=_OPTIONS), whole)
        for channel, value in top.pop(_VALUES).items()
    }
    return CanonicalCheckpoint(top, values)


def to_whole(checkpoint: CanonicalCheckpoint) -> tuple[str, bytes]:
    """Return a checkpoint as one value: its type and its bytes."""
    lists: list[list[int]] = []
    types = set()
    values: dict[str, Any] = {}
    holds_messages = False
    for channel, (type_, blob) in checkpoint.values.items():
        part = Attachable(channel, type_, blob)
        values[channel] = renumbered(part.body, part, lists)
        types.add(type_)
        holds_messages = holds_messages or _is_list(part)
    document = {**checkpoint.document, _VALUES: values}
    if holds_messages:  # the stock savers cannot read it anyway, so the versions may be compact
        document["channel_versions"] = Version.compact(document["channel_versions"])
        seen = document["versions_seen"]
        document["versions_seen"] = {node: Version.compact(versions) for node, versions in seen.items()}
    body = ormsgpack.packb(document, default=_version, option=_OPTIONS)
    return (TYPE, with_references(lists, body)) if TYPE in types else (STOCK, body)


def from_document(document: Mapping[str, Any], stored: Mapping[str, Attachable]) -> CanonicalCheckpoint:
    """Read a checkpoint that is stored as a document, with the larger channel values beside it.

    Args:
        document: the document, as `documents.unpacked` returns it.
        stored: the stored values of the versions that the document names, by channel.

    Raises:
        NotStorable, LookupError: as `canonical_value`.
        ValueError: a value is missing, or the bytes are damaged.
    """
    rest = {name: value for name, value in document.items() if name not in {_VALUES, STORED}}
    # A document of the stock saver does not list the stored channels.
    channels = set(document.get(STORED, stored))
    if lost := channels - stored.keys():
        raise ValueError(f"the value of channel {min(lost)!r} is missing")
    inline = (document.get(_VALUES) or {}).items()
    values = {name: (STOCK, ormsgpack.packb(value)) for name, value in inline if name not in channels}
    return CanonicalCheckpoint(rest, {**values, **{channel: canonical_value(stored[channel]) for channel in channels}})


def to_document(checkpoint: CanonicalCheckpoint) -> tuple[Mapping[str, Any], list[StoredValue]]:
    """Return a checkpoint as a document, and the values that are stored in rows of their own.

    Raises:
        NotStorable: a value has no version, which is part of the row's key.
    """
    inline: dict[str, Any] = {}
    rows: list[StoredValue] = []
    holds_messages = False
    for channel, value in sorted(checkpoint.values.items()):
        part = Attachable(channel, *value)
        top = ormsgpack.unpackb(part.body, ext_hook=_Extension, option=_OPTIONS)
        if type(top) is not _Extension and is_inline(top):
            inline[channel] = top
            continue
        if type(top) is _Extension:
            holds_messages = holds_messages or top.code == LIST
            if top.code == jsonplus.EXT_DELTA_SNAPSHOT:
                inline[channel] = True  # the stock saver's mark of a snapshot
        if channel not in checkpoint.document["channel_versions"]:
            raise NotStorable(f"Channel {channel!r} has a value but no version, which PostgreSQL needs to store it.")
        rows.append(StoredValue(channel, *value))
    document = {**checkpoint.document, _VALUES: inline, STORED: [row.channel for row in rows]}
    return (folded(document) if holds_messages else document), rows


def reference_ranges(type_: str, blob: bytes) -> list[list[int]]:
    """Return the ranges of message rows that stand in front of a stored value, one flat list of pairs for each list.

    They are not expanded, since a single pair can describe a list that fits into no memory. See `ranges`.

    Raises:
        ValueError: they are not flat pairs of numbers.
    """
    if type_ != TYPE:
        return []
    start = 2 * _NUMBER
    end = start + int.from_bytes(blob[_NUMBER:start], "big")
    lists = ormsgpack.unpackb(blob[start:end])
    if not isinstance(lists, list) or not all(isinstance(flat, list) and len(flat) % 2 == 0 for flat in lists):
        raise ValueError("its references are no lists of pairs")
    if any(type(ref) is not int for flat in lists for ref in flat):
        raise ValueError("its references are not all numbers")
    return lists


class MessageSeqs:
    """The seqs of the message rows that a thread has, in ascending order."""

    def __init__(self) -> None:
        self._seqs: list[int] = []

    @property
    def last(self) -> int:
        return self._seqs[-1] if self._seqs else 0

    def add(self, seq: int) -> None:
        """Add the seq of a row, which must be above all others."""
        self._seqs.append(seq)

    def check(self, type_: str, blob: bytes) -> int:
        """Check that all rows exist to which a stored value refers, and return the number of its references.

        Raises:
            ValueError: a row is missing, or the references are damaged.
        """
        total = 0
        for flat in reference_ranges(type_, blob):
            for first, last in zip(flat[::2], flat[1::2], strict=True):
                low, high = sorted((abs(first), abs(last)))
                if bisect_right(self._seqs, high) - bisect_left(self._seqs, low) != high - low + 1:
                    raise ValueError(f"it refers to message rows {low} to {high}, some of which are missing")
                total += high - low + 1
        return total


def _canonical(packed: bytes, part: Attachable) -> CanonicalValue:
    if part.type != TYPE:
        value = ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=_OPTIONS)
        return STOCK, ormsgpack.packb(value, option=_OPTIONS)
    lists: list[list[int]] = []
    body = ormsgpack.packb(renumbered(packed, part, lists), option=_OPTIONS)
    if not lists and not _is_ours(body):
        return STOCK, body
    return TYPE, with_references(lists, body)


def _is_ours(body: bytes) -> bool:
    """Return whether a value has parts that only Holdfast reads."""
    is_ours = False

    def look(code: int, data: bytes) -> None:
        nonlocal is_ours
        is_ours = is_ours or code >= SURROGATES
        if code in NESTING and not is_ours:
            ormsgpack.unpackb(data, ext_hook=look, option=_OPTIONS)

    ormsgpack.unpackb(body, ext_hook=look, option=_OPTIONS)
    return is_ours


def _is_list(part: Attachable) -> bool:
    """Return whether a value as a whole is a list of messages."""
    if not part.lists:
        return False
    top = ormsgpack.unpackb(part.body, ext_hook=_Extension, option=_OPTIONS)
    return type(top) is _Extension and top.code == LIST


def _of_version(code: int, data: bytes) -> Any:
    return version_text(data) if code == VERSION else ormsgpack.Ext(code, data)


def _version(value: Any) -> ormsgpack.Ext:
    if isinstance(value, Version):
        return ormsgpack.Ext(VERSION, value.data())
    raise TypeError(f"{type(value).__name__} has no form in msgpack")
