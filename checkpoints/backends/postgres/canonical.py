"""Conversion of a checkpoint between PostgreSQL's form and the canonical form. No I/O.

On PostgreSQL a checkpoint is a document, and the larger values of its channels are stored beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ormsgpack
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.backends.canonical import STOCK, CanonicalCheckpoint, Extension, canonical_value
from holdfast.checkpoints.backends.postgres.documents import folded, is_inline
from holdfast.checkpoints.backends.records import STORED, StoredValue
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.values import LIST, Attachable

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

_VALUES: Final = "channel_values"


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
        top = ormsgpack.unpackb(part.body, ext_hook=Extension, option=_OPTIONS)
        if type(top) is not Extension and is_inline(top):
            inline[channel] = top
            continue
        if type(top) is Extension:
            holds_messages = holds_messages or top.code == LIST
            if top.code == jsonplus.EXT_DELTA_SNAPSHOT:
                inline[channel] = True  # the stock saver's mark of a snapshot
        if channel not in checkpoint.document["channel_versions"]:
            raise NotStorable(f"Channel {channel!r} has a value but no version, which PostgreSQL needs to store it.")
        rows.append(StoredValue(channel, *value))
    document = {**checkpoint.document, _VALUES: inline, STORED: [row.channel for row in rows]}
    return (folded(document) if holds_messages else document), rows
