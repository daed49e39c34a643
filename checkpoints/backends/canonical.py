"""The canonical form of a checkpoint, which is the same for every database. No I/O.

On SQLite a checkpoint is one value; on PostgreSQL it is a JSON document and a value for each channel. Each backend
converts between its own form and this one, on bytes: no type is imported, and messages stay references to rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import ormsgpack

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import TASKS
from holdfast.checkpoints.serde.msgpack import NESTING, SURROGATES
from holdfast.checkpoints.serde.packed.splice import renumbered
from holdfast.checkpoints.serde.values import TYPE, Attachable, with_references

STOCK: Final = "msgpack"
"""The form of the stock savers' values."""

FORMS: Final = frozenset({STOCK, TYPE, "null", "bytes", "bytearray"})
"""The forms of values that can be transferred. Others are pickles, or older than LangGraph's use of msgpack."""

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

_FIRST_VERSION: Final = f"{1:032}.0"

CanonicalValue: TypeAlias = tuple[str, bytes]
"""The type and the bytes of a channel's value in its canonical form: msgpack, with the lists of messages numbered in
their order. The type is `TYPE` if the value has parts that only Holdfast reads, else `STOCK`."""


class CanonicalCheckpoint(NamedTuple):
    """A checkpoint in the form that is independent of the database."""

    document: dict[str, Any]
    """The checkpoint without its channel values, as a JSON object."""
    values: dict[str, CanonicalValue]
    """The values by channel."""


class Extension(NamedTuple):
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
    return canonical_bytes(part.body, part)


def canonical_list(parts: Sequence[Attachable]) -> CanonicalValue:
    """Return stored values as one value, the list of them.

    Raises:
        NotStorable, ValueError, LookupError: as `canonical_value`.
    """
    lists: list[list[int]] = []
    values = [Attachable(part.channel, *canonical_value(part)) for part in parts]
    body = ormsgpack.packb([renumbered(value.body, value, lists) for value in values], option=_OPTIONS)
    if all(value.type == STOCK for value in values):
        return STOCK, body
    return TYPE, with_references(lists, body)


def with_sends(checkpoint: Any, sends: Any) -> None:
    """Put the Sends of the next step into the channel in which a checkpoint has them since LangGraph 0.5.

    Args:
        checkpoint: a checkpoint of before, with its versions and the values of its channels.
        sends: the value of the channel.
    """
    checkpoint["channel_values"][TASKS] = sends
    checkpoint["channel_versions"] = version_of_sends(checkpoint["channel_versions"])


def version_of_sends(versions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions of a checkpoint's channels, with one for its Sends: the newest, as the stock saver does."""
    return {**versions, TASKS: max(versions.values(), default=_FIRST_VERSION)}


def canonical_bytes(packed: bytes, part: Attachable) -> CanonicalValue:
    """Return a packed value that is part of a stored value in its canonical form."""
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
