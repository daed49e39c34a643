"""Conversion of a checkpoint between SQLite's form, one value, and the canonical form. No I/O."""

from __future__ import annotations

from typing import Any, Final

import ormsgpack

from holdfast.checkpoints.backends.canonical import (
    STOCK,
    CanonicalCheckpoint,
    Extension,
    canonical_bytes,
    canonical_value,
    with_sends,
)
from holdfast.checkpoints.langgraph_internals import PENDING_SENDS
from holdfast.checkpoints.serde.packed.splice import renumbered
from holdfast.checkpoints.serde.values import (
    LIST,
    TYPE,
    VERSION,
    Attachable,
    compact_versions,
    version_text,
    with_references,
)

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS

_VALUES: Final = "channel_values"


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
    if top.get(PENDING_SENDS):
        with_sends(top, top.pop(PENDING_SENDS))
    values = {
        channel: canonical_bytes(ormsgpack.packb(value, option=_OPTIONS), whole)
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
        document["channel_versions"] = compact_versions(document["channel_versions"])
        seen = document["versions_seen"]
        document["versions_seen"] = {node: compact_versions(versions) for node, versions in seen.items()}
    body = ormsgpack.packb(document, option=_OPTIONS)
    return (TYPE, with_references(lists, body)) if TYPE in types else (STOCK, body)


def _is_list(part: Attachable) -> bool:
    """Return whether a value as a whole is a list of messages."""
    if not part.lists:
        return False
    top = ormsgpack.unpackb(part.body, ext_hook=Extension, option=_OPTIONS)
    return type(top) is Extension and top.code == LIST


def _of_version(code: int, data: bytes) -> Any:
    return version_text(data) if code == VERSION else ormsgpack.Ext(code, data)
