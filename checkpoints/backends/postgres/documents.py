"""The JSON document of a checkpoint on PostgreSQL, and its packed form. No I/O.

SQL needs only two parts of a document: the small values in it, and the versions of the values in rows of their own. The
other parts are most of its bytes: versions, which are mostly zeros, and names that repeat. They go into one text:
msgpack, deflated (which adds a checksum), in base64. The id, which is a column too, is left out.

Only the document of a checkpoint with messages is packed. The stock saver refuses that checkpoint anyway, because of
the type of the value with the messages; to get that far, it needs the version of that value and the checkpoint's `v`.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import ormsgpack

from holdfast.checkpoints.backends.records import STORED
from holdfast.checkpoints.langgraph_internals import FIRST_WITH_SENDS, TASKS
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.serde.values import VERSION, compact_versions, holds_messages, version_text

_PACKED: Final = "packed"

# Names that are in every document, stored by their place in this list. A place must never change.
_NAMES: Final = ("ts", "channel_versions", "versions_seen", "updated_channels")

# The parts that are not in the text, besides the versions of stored values.
_BESIDE: Final = frozenset({"v", "id", "channel_values", STORED})

_NEEDED: Final = frozenset({"v", "id", "ts", "channel_versions", "versions_seen"})

_MAPS: Final = ("channel_versions", "channel_values", "versions_seen")

_MOMENT: Final = VERSION + 1  # a time, in microseconds

# A text of at most this many characters is stored in the document, as the stock saver stores texts of any length. A
# longer text has a row of its own, so that it is not written again at every step.
_LONGEST_INLINE: Final = 256

# JSON numbers beyond this are not exact everywhere.
_LARGEST_INLINE: Final = 2**53

# The longest text in PostgreSQL's JSONB: no stored document was longer, and an altered one must not fill the memory.
_LONGEST: Final = 2**28

# The smallest window of zlib: it is allocated fast, and enough for so few bytes.
_WINDOW: Final = 9

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def packed(document: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document in the form in which it is stored.

    Args:
        document: the checkpoint with its small values, and the channels of the others.
        values: all values.
    """
    return folded(document) if holds_messages(values) else document


def folded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document of a checkpoint with messages, packed if it can be."""
    if not document.keys() >= _NEEDED:
        return document
    stored, versions = set(document[STORED]), document["channel_versions"]
    if not stored <= versions.keys():
        return document
    rest = {name: value for name, value in document.items() if name not in _BESIDE}
    rest["ts"] = _Moment.compact(document["ts"])
    rest["channel_versions"] = compact_versions({name: versions[name] for name in versions if name not in stored})
    rest["versions_seen"] = {node: compact_versions(seen) for node, seen in document["versions_seen"].items()}
    # Versions are beside the text, and a lost one would read as a channel without a value.
    rest[STORED] = sorted(stored)
    coded = {_NAMES.index(name) if name in _NAMES else name: value for name, value in rest.items()}
    try:
        data = ormsgpack.packb(coded, default=_ext, option=ormsgpack.OPT_NON_STR_KEYS)
    except TypeError:
        return document  # JSON may have a form for it
    small = {"channel_values": document["channel_values"]} if document["channel_values"] else {}
    own = {name: versions[name] for name in versions if name in stored}
    return {**small, "v": document["v"], "channel_versions": own, _PACKED: _text(data)}


def unpacked(document: Mapping[str, Any], checkpoint_id: str, *, whole: bool = True) -> Mapping[str, Any]:
    """Return a stored document, unpacked if it is packed.

    Args:
        document: the stored document.
        checkpoint_id: the id of the checkpoint.
        whole: whether all parts of the document were read, or only those that name its values.

    Raises:
        ValueError: the document is damaged.
    """
    if not _is_of_checkpoint(document):
        raise ValueError("its document is not one of a checkpoint")
    if document.get(_PACKED) is None:
        if not document.keys() >= (_NEEDED if whole else {"channel_versions"}):
            raise ValueError("its document is incomplete")
        return document
    try:
        data = _inflated(b64decode(document[_PACKED], validate=True))
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


def _is_of_checkpoint(document: object) -> bool:
    return isinstance(document, dict) and all(isinstance(document.get(name) or {}, dict) for name in _MAPS)


def beside(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parts of a stored document that are not in its packed text."""
    return {name: value for name, value in document.items() if name != _PACKED} if isinstance(document, dict) else {}


def stored_in(document: Mapping[str, Any]) -> set[str]:
    """Return the channels whose values are in rows of their own."""
    return set(document["channel_versions"] if _PACKED in document else document[STORED])


def sends_are_apart(document: Mapping[str, Any]) -> bool:
    """Return whether the Sends of the next step are not in the checkpoint, but among the writes on its parent.

    LangGraph before 0.5 made such checkpoints. Ours has them in the channel for Sends, as soon as it has rewritten one.
    """
    version = document.get("v")
    return isinstance(version, int) and version < FIRST_WITH_SENDS and TASKS not in document.get("channel_versions", ())


def is_inline(value: Any) -> bool:
    """Return whether a value is stored in the document, because JSONB returns it exactly.

    JSONB makes 1e22 an int, and refuses NaN, NUL and lone surrogates.
    """
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return abs(value) <= _LARGEST_INLINE
    return type(value) is str and len(value) <= _LONGEST_INLINE and is_sql_text(value)


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj(_WINDOW)
    inflated = stream.decompress(data, _LONGEST)
    if not stream.eof:
        raise ValueError(f"it ends too early, or is longer than {_LONGEST:,} bytes")
    return inflated


def _text(data: bytes) -> str:
    return b64encode(zlib.compress(data, 1, _WINDOW)).decode()


def _ordered(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its keys in the order of JSONB, as one that was not packed."""
    return {
        name: _ordered(document[name]) if isinstance(document[name], dict) else document[name]
        for name in sorted(document, key=lambda name: (len(name.encode()), name.encode()))
    }


class _Moment(NamedTuple):
    """A time in the form of LangGraph."""

    microseconds: int

    @classmethod
    def compact(cls, text: Any) -> Any:
        """Return the time that has exactly this text; the text, if there is none."""
        try:
            at = cls((datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1))
        except (TypeError, ValueError):
            return text
        return at if str(at) == text else text

    def __str__(self) -> str:
        return (_EPOCH + timedelta(microseconds=self.microseconds)).isoformat()


def _ext(value: Any) -> ormsgpack.Ext:
    match value:
        case _Moment(microseconds):
            return ormsgpack.Ext(_MOMENT, microseconds.to_bytes(8, "big", signed=True))
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


def _of_ext(code: int, data: bytes) -> str:
    if code == VERSION:
        return version_text(data)
    if code == _MOMENT:
        return str(_Moment(int.from_bytes(data, "big", signed=True)))
    raise ValueError(f"it has the extension code {code}")
