"""A checkpoint's JSON document on PostgreSQL, and how it is packed. No I/O.

Of a document SQL needs the small values that lie in it, and the versions of those that have rows of their own. The rest
is most of its bytes: versions, which are zeros for the greater part, and names that come again and again. So it goes
into one text: msgpack, deflated, which brings a checksum, in base64. The id, which is a column as well, is left out.

Only a document that holds messages is packed, for the stock saver refuses it anyway: by the type of the value with the
messages. To come that far it needs their version, as it is, and the `v` of the checkpoint.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import ormsgpack

from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.serde.values import VERSION, Version, holds_messages, version_text

STORED: Final = "stored"
"""In a document: the channels whose values lie in rows of their own. In a packed one they are those with a version."""

_PACKED: Final = "packed"

# Instead of the names that are in every document. A place in this list must never change.
_NAMES: Final = ("ts", "channel_versions", "versions_seen", "updated_channels")

# What is not in the text: these, and the versions of stored values.
_BESIDE: Final = frozenset({"v", "id", "channel_values", STORED})

_NEEDED: Final = frozenset({"v", "id", "ts", "channel_versions", "versions_seen"})

_MOMENT: Final = VERSION + 1  # a time, in microseconds

# A text of at most this many characters is kept inside the checkpoint's document, as the stock saver keeps texts of any
# length. A longer one has a row of its own, so that it is not written again at every step.
_LONGEST_INLINE: Final = 256

# JSON numbers beyond this are not exact everywhere.
_LARGEST_INLINE: Final = 2**53

# So little needs no larger window of zlib's, and the smallest is quickly made.
_WINDOW: Final = 9

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def packed(document: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document as it is stored.

    Args:
        document: the checkpoint with the small ones of its values, and the channels of the others.
        values: all of them.
    """
    return folded(document) if holds_messages(values) else document


def folded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a checkpoint that holds messages, as it is stored; one that cannot be packed stays."""
    if not document.keys() >= _NEEDED:
        return document
    stored, versions = set(document[STORED]), document["channel_versions"]
    if not stored <= versions.keys():
        return document
    rest = {name: value for name, value in document.items() if name not in _BESIDE}
    rest["ts"] = _Moment.compact(document["ts"])
    rest["channel_versions"] = Version.compact({name: versions[name] for name in versions if name not in stored})
    rest["versions_seen"] = {node: Version.compact(seen) for node, seen in document["versions_seen"].items()}
    rest[STORED] = sorted(
        stored
    )  # versions lie beside the text, and one that is lost would be a channel without a value
    coded = {_NAMES.index(name) if name in _NAMES else name: value for name, value in rest.items()}
    try:
        data = ormsgpack.packb(coded, default=_ext, option=ormsgpack.OPT_NON_STR_KEYS)
    except TypeError:
        return document  # what msgpack has no form for, JSON may have one for
    small = {"channel_values": document["channel_values"]} if document["channel_values"] else {}
    own = {name: versions[name] for name in versions if name in stored}
    return {**small, "v": document["v"], "channel_versions": own, _PACKED: _text(data)}


def unpacked(document: Mapping[str, Any], checkpoint_id: str, *, whole: bool = True) -> Mapping[str, Any]:
    """The document as `packed` was given it; one that is not packed stays.

    Args:
        document: what is stored.
        checkpoint_id: the checkpoint's.
        whole: whether all of the document was read, and not only what says which values it has.

    Raises:
        ValueError: it is damaged.
    """
    if document.get(_PACKED) is None:
        if not document.keys() >= (_NEEDED if whole else {"channel_versions"}):
            raise ValueError("its document is incomplete")
        return document
    try:
        data = zlib.decompress(b64decode(document[_PACKED], validate=True), _WINDOW)
        coded = ormsgpack.unpackb(data, ext_hook=_of_ext, option=ormsgpack.OPT_NON_STR_KEYS)
        rest = {name if isinstance(name, str) else _NAMES[name]: value for name, value in coded.items()}
        own = document["channel_versions"]
        is_as_saved = set(rest.get(STORED, own)) == own.keys()  # older ones do not say
        found = {
            **rest,
            "v": document["v"],
            "id": checkpoint_id,
            "channel_values": document.get("channel_values") or {},
            "channel_versions": {**rest["channel_versions"], **own},
            STORED: list(own),
        }
        ordered = _ordered(found)
    except (zlib.error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"its document cannot be unpacked: {error!r}") from error
    if not is_as_saved:
        raise ValueError("its document does not name the values that were saved with it")
    return ordered


def stored_in(document: Mapping[str, Any]) -> set[str]:
    """The channels whose values lie in rows of their own."""
    return set(document["channel_versions"] if _PACKED in document else document[STORED])


def is_inline(value: Any) -> bool:
    """Whether a value lies in the document itself, because JSONB gives it back exactly. (It makes 1e22 an int, and
    refuses NaN, NUL and lone surrogates.)"""
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return abs(value) <= _LARGEST_INLINE
    return type(value) is str and len(value) <= _LONGEST_INLINE and is_sql_text(value)


def _text(data: bytes) -> str:
    return b64encode(zlib.compress(data, 1, _WINDOW)).decode()


def _ordered(document: Mapping[str, Any]) -> dict[str, Any]:
    """In the order in which JSONB would have it, so that it is read as one that is not packed."""
    return {
        name: _ordered(document[name]) if isinstance(document[name], dict) else document[name]
        for name in sorted(document, key=lambda name: (len(name.encode()), name.encode()))
    }


class _Moment(NamedTuple):
    """A time as LangGraph writes it."""

    microseconds: int

    @classmethod
    def compact(cls, text: Any) -> Any:
        """The time that is exactly this text, or the text."""
        try:
            at = cls((datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1))
        except (TypeError, ValueError):
            return text
        return at if str(at) == text else text

    def __str__(self) -> str:
        return (_EPOCH + timedelta(microseconds=self.microseconds)).isoformat()


def _ext(value: Any) -> ormsgpack.Ext:
    match value:
        case Version():
            return ormsgpack.Ext(VERSION, value.data())
        case _Moment(microseconds):
            return ormsgpack.Ext(_MOMENT, microseconds.to_bytes(8, "big", signed=True))
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


def _of_ext(code: int, data: bytes) -> str:
    if code == VERSION:
        return version_text(data)
    if code == _MOMENT:
        return str(_Moment(int.from_bytes(data, "big", signed=True)))
    raise ValueError(f"it has the extension code {code}")
