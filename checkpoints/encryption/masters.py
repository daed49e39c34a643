"""Master keys, which wrap the data keys of threads; from a setting, or in a key service."""

from __future__ import annotations

import binascii
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from holdfast.checkpoints.errors import InvalidKeys, KeyMissing
from holdfast.checkpoints.extras import install_command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FORM: Final = "`id:base64`, where the key is 32 bytes; `holdfast db new-key` makes one"


@runtime_checkable
class KeyService(Protocol):
    """What has the master keys: it wraps data keys, and unwraps them. Implement it for the key service of a cloud."""

    @property
    def key_ids(self) -> Sequence[str]:
        """The ids of the master keys, newest first. The first one wraps."""
        ...

    def wrap(self, key_id: str, data_key: bytes, context: bytes) -> bytes:
        """Return a data key encrypted with a master key. `context` must be given again to unwrap it."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key that was wrapped.

        Raises:
            KeyMissing: there is no master key of this id, or it is another one than the key that wrapped.
        """
        ...


Keys: TypeAlias = str | Sequence[str] | KeyService
"""Master keys as a caller gives them: `id:base64`, several of these, newest first, or a `KeyService`."""


class MasterKeys:
    """Master keys that this process has. They are never printed."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """
        Args:
            keys: the keys by id, newest first; each has 32 bytes.

        Raises:
            InvalidKeys: there is none, or one has another length or an id that cannot be used.
        """
        if not keys:
            raise InvalidKeys(f"There are no keys. Needed: {_FORM}.")
        for key_id, key in keys.items():
            if not _ID.fullmatch(key_id):
                raise InvalidKeys(
                    "The id of a key cannot be used. Needed: 1 to 64 letters, digits, `.`, `_` or `-`, before a colon "
                    f"and the key: {_FORM}."
                )
            if len(key) != KEY_BYTES:
                raise InvalidKeys(f"The key {key_id!r} has {len(key)} bytes. Needed: {_FORM}.")
        self._ciphers = {key_id: aes_gcm(key) for key_id, key in keys.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._ciphers)})"

    @property
    def key_ids(self) -> Sequence[str]:
        return list(self._ciphers)

    def wrap(self, key_id: str, data_key: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers[key_id].encrypt(nonce, data_key, context)

    def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise KeyMissing(
                f"The master key {key_id!r} is needed, and the keys that were given are {', '.join(self._ciphers)}. "
                "Give it as well, behind the newest: data keys are still wrapped with it until `holdfast db "
                "rotate-keys` has wrapped them anew."
            )
        try:
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise KeyMissing(
                f"The master key that was given as {key_id!r} is not the one that this database was encrypted with "
                "under this id, or the data key was altered. Give the key that belongs to this id."
            ) from None


def key_service(keys: Keys) -> KeyService:
    """Return the master keys that a caller gave.

    Raises:
        InvalidKeys: they cannot be used.
    """
    if isinstance(keys, str):
        keys = re.split(r"[\s,]+", keys.strip())
    if isinstance(keys, Sequence):
        return MasterKeys(_parsed(keys))
    return keys


def read_keys(path: Path) -> list[str]:
    """Return the keys in a file: one a line, newest first; empty lines and lines that begin with `#` do not count.

    Raises:
        InvalidKeys: the file cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeys(
            f"The file of keys {path} cannot be read: {error}. Needed: one key a line, {_FORM}."
        ) from None
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def new_key(key_id: str) -> str:
    """Return a new master key, as `id:base64`.

    Raises:
        InvalidKeys: the id cannot be used.
    """
    key = os.urandom(KEY_BYTES)
    MasterKeys({key_id: key})
    return f"{key_id}:{b64encode(key).decode()}"


def aes_gcm(key: bytes) -> AESGCM:
    """Return the cipher of a key.

    Raises:
        InvalidKeys: the package that encrypts is not installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise InvalidKeys(
            f"Encryption needs a package that is not installed ({error}). Install it: {install_command('encryption')}"
        ) from error
    return AESGCM(key)


def _parsed(keys: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number, text in enumerate(keys, 1):
        key_id, colon, encoded = text.partition(":")
        try:
            key = b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not colon or not key:  # without the text, which may be a key without an id
            raise InvalidKeys(f"Key {number} of {len(keys)} cannot be used. Needed: {_FORM}.")
        if key_id in found:
            raise InvalidKeys(f"The key {key_id!r} is given twice. Needed: an id of its own for each key.")
        found[key_id] = key
    return found
