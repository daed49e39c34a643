"""A data key: it encrypts what is stored of one thread, with AES-256-GCM.

What it makes is a header of five bytes (the form, and the number of the key), the nonce, and the encrypted bytes with
their tag. The header, and the place that the data are for, are authenticated with them.

The nonce is a keyed digest of the place and the data. So no two different data ever share one, whatever becomes of the
random numbers of a process that was forked or restored; and a save that is repeated stores the same bytes again.
"""

from __future__ import annotations

import os
import zlib
from hashlib import blake2b
from struct import Struct
from typing import Final

from holdfast.checkpoints.encryption.masters import KEY_BYTES, NONCE_BYTES, aes_gcm

_HEADER: Final = Struct(">BI")
_BEGIN: Final = _HEADER.size + NONCE_BYTES

_AS_IT_IS: Final = 1
_DEFLATED: Final = 2

# Shorter data are seldom shorter when they are compressed.
_SHORTEST: Final = 200

_SMALL: Final = 2**14

_HIGHEST_NO: Final = 2**31 - 1


class DataKey:
    """The key of one thread. It is never printed."""

    __slots__ = ("_cipher", "_nonce_key", "digest_key", "master_id", "no", "secret")

    def __init__(self, no: int, secret: bytes, master_id: str) -> None:
        """
        Args:
            no: its number.
            secret: 32 bytes, of which the keys for each purpose are made.
            master_id: the master key that has wrapped it when it was read, for errors.
        """
        self.no = no
        self.master_id = master_id
        self.secret = secret
        self.digest_key = _derived(secret, b"holdfast-digest")
        self._nonce_key = _derived(secret, b"holdfast-nonce")
        self._cipher = aes_gcm(_derived(secret, b"holdfast-seal"))

    @classmethod
    def new(cls, master_id: str) -> DataKey:
        """Return a new key. Its number is made by chance, so that a thread that is begun anew has another one."""
        return cls(int.from_bytes(os.urandom(4), "big") % _HIGHEST_NO + 1, os.urandom(KEY_BYTES), master_id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.no}, {self.master_id!r})"

    def seal(self, place: bytes, data: bytes) -> bytes:
        """Return data encrypted for a place."""
        form = _AS_IT_IS
        if len(data) >= _SHORTEST:
            shorter = _compressed(data)
            if len(shorter) < len(data):
                form, data = _DEFLATED, shorter
        header = _HEADER.pack(form, self.no)
        of_place = blake2b(len(place).to_bytes(4, "big") + place, digest_size=NONCE_BYTES, key=self._nonce_key)
        of_place.update(data)
        nonce = of_place.digest()
        return header + nonce + self._cipher.encrypt(nonce, data, header + place)

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """Return data that were encrypted for a place.

        Raises:
            ValueError: they were altered, or encrypted for another place or with another key.
        """
        from cryptography.exceptions import InvalidTag

        try:
            header = sealed[: _HEADER.size]
            data = self._cipher.decrypt(sealed[_HEADER.size : _BEGIN], sealed[_BEGIN:], header + place)
        except InvalidTag:
            raise ValueError("it was altered, or moved from another place") from None
        return zlib.decompress(data, -zlib.MAX_WBITS) if header[0] == _DEFLATED else data


def key_no_of(sealed: bytes) -> int | None:
    """Return the number of the key that has sealed data; `None` if they are not sealed."""
    if len(sealed) < _BEGIN:
        return None
    form, no = _HEADER.unpack_from(sealed)
    return int(no) if form in {_AS_IT_IS, _DEFLATED} and no else None


def _compressed(data: bytes) -> bytes:
    # The memory that zlib takes by default is allocated in five times as long as a message is compressed.
    window, memory = (12, 5) if len(data) <= _SMALL else (zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
    deflate = zlib.compressobj(1, zlib.DEFLATED, -window, memory)
    return deflate.compress(data) + deflate.flush()


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return blake2b(key=secret, digest_size=KEY_BYTES, person=purpose).digest()
