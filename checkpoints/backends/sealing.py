"""Encryption of the parts of a checkpoint that a database stores in its own form: its metadata and its document."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import ormsgpack

from holdfast.checkpoints.backends.records import BASE, NOTES, CheckpointKey
from holdfast.checkpoints.errors import DamagedThread, EncryptedDatabase
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS
from holdfast.checkpoints.serde.encryption import SEALED_TEXT, Sealer, without_keys

READABLE: Final = frozenset({"source", "step", "parents", "run_id", "user_id", DELTA_COUNTERS}) | NOTES
"""The names of metadata that are not encrypted: what follows from what, and the run and the user that deletion and
access go by. A list of checkpoints can be filtered by these."""

# The parts of a document that SQL reads: which values of a checkpoint are in rows of their own.
_READABLE_PARTS: Final = frozenset({"v", "channel_versions"})


def seal_metadata(sealer: Sealer, key: CheckpointKey, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata of a checkpoint as they are stored."""
    if not sealer.encrypts or metadata == BASE:
        return metadata
    hidden = {name: value for name, value in metadata.items() if name not in READABLE}
    readable = {name: value for name, value in metadata.items() if name in READABLE}
    data = json.dumps(hidden).encode()
    sealed = sealer.seal_bytes(key.thread_id, _place(key, "metadata"), data)
    if sealed is data:  # nothing of the thread is encrypted yet
        return metadata
    return {**readable, SEALED_TEXT: b64encode(sealed).decode()}


def open_metadata(sealer: Sealer, key: CheckpointKey, metadata: Any) -> Any:
    """Return the metadata that were sealed.

    Raises:
        DamagedThread: they are no JSON object.
        SealBroken, KeyMissing: see `Sealer.open_bytes`.
    """
    if not isinstance(metadata, Mapping):
        raise DamagedThread(key.thread_id, f"the metadata of checkpoint {key.checkpoint_id} are no JSON object")
    if not sealer.encrypts or metadata == BASE:
        return metadata
    sealed = _decoded(metadata.get(SEALED_TEXT))
    opened = sealer.open_bytes(key.thread_id, _place(key, "metadata"), sealed)
    if SEALED_TEXT not in metadata:
        return metadata
    readable = {name: value for name, value in metadata.items() if name != SEALED_TEXT}
    return {**readable, **json.loads(opened)}


def check_filter(sealer: Sealer, filter: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a filter of checkpoints by their metadata, if these are readable.

    Raises:
        EncryptedDatabase: one is not.
    """
    hidden = sorted(name for name in filter if name.split(".")[0] not in READABLE) if sealer.encrypts else []
    if hidden:
        raise EncryptedDatabase(
            f"Checkpoints cannot be filtered by {', '.join(map(repr, hidden))}: these metadata are encrypted. Needed: "
            f"some of {', '.join(sorted(READABLE - NOTES))}. Filter the others after the checkpoints are loaded."
        )
    return filter


def seal_document(sealer: Sealer, key: CheckpointKey, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document as it is stored, given in the form without encryption."""
    if not sealer.encrypts:
        return document
    readable = {name: part for name, part in document.items() if name in _READABLE_PARTS}
    hidden = {name: part for name, part in document.items() if name not in _READABLE_PARTS}
    data = _packed(hidden)
    sealed = sealer.seal_bytes(key.thread_id, _place(key, "checkpoint"), data)
    if sealed is data:
        return document
    return {**readable, SEALED_TEXT: b64encode(sealed).decode()}


def open_document(sealer: Sealer, key: CheckpointKey, document: Any) -> Any:
    """Return a document in the form without encryption.

    Raises:
        NotStorable: it is encrypted, and there are no keys.
        SealBroken, KeyMissing: see `Sealer.open_bytes`.
    """
    text = document.get(SEALED_TEXT) if isinstance(document, Mapping) else None  # an altered row has any JSON
    if not sealer.encrypts:
        if text is not None:
            raise without_keys(key.thread_id, f"Checkpoint {key.checkpoint_id}")
        return document
    opened = sealer.open_bytes(key.thread_id, _place(key, "checkpoint"), _decoded(text))
    if text is None:
        return document
    readable = {name: part for name, part in document.items() if name in _READABLE_PARTS}
    return {**readable, **_unpacked(opened)}


def _place(key: CheckpointKey, column: str) -> str:
    return "\0".join(("checkpoints", key.ns, key.checkpoint_id, column))


def _decoded(text: Any) -> bytes:
    """Return the bytes of a sealed part; none if it is not sealed."""
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _packed(parts: Mapping[str, Any]) -> bytes:
    packed = parts.get("packed")  # base64, which is a third longer than the bytes
    if isinstance(packed, str):
        parts = {**parts, "packed": b64decode(packed)}
    try:
        return ormsgpack.packb(parts)
    except TypeError:  # a number of more than 64 bits
        return ormsgpack.packb({"json": json.dumps(parts)})


def _unpacked(data: bytes) -> Mapping[str, Any]:
    parts: dict[str, Any] = ormsgpack.unpackb(data)
    if "json" in parts:
        parts = json.loads(parts["json"])
    if isinstance(parts.get("packed"), bytes):
        parts["packed"] = b64encode(parts["packed"]).decode()
    return parts
