"""The keys by which the ledger, and a service, know a call again. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from holdfast.checkpoints.effects.states import Effect


def effect_key(message_id: str, tool_call_id: str) -> str:
    """Return the key of a tool call in the ledger.

    It includes the message, because some endpoints call every call `call_0`. It is a digest, because ids may be too
    long for a key.
    """
    return _digest(f"{message_id}\0{tool_call_id}".encode()).hex()


def arguments_digest(tool: str, args: Mapping[str, Any], *, key: bytes = b"") -> bytes:
    """Return the digest of a tool and its arguments."""
    text = json.dumps([tool, args], sort_keys=True, default=repr, ensure_ascii=True)
    return _digest(text.encode(), key)


def idempotency_key(effect: Effect, lineage: str) -> str:
    """Return the key by which a service recognises a repeated call: equal on every attempt, different for other
    arguments."""
    return _digest(f"{lineage}\0{effect.key}\0".encode() + effect.args_digest).hex()


def _digest(data: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=16, key=key).digest()
