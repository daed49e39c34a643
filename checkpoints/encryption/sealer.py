"""The sealer of an encrypted database."""

from __future__ import annotations

import binascii
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

import ormsgpack

from holdfast.checkpoints.encryption.cipher import DataKey, key_no_of
from holdfast.checkpoints.encryption.keyring import Keyring, OnPlainThread
from holdfast.checkpoints.errors import SealBroken
from holdfast.checkpoints.serde.encryption import SEALED, SEALED_TEXT
from holdfast.checkpoints.serde.messages import MessageRow

State: TypeAlias = Literal["off", "converting", "on"]
"""Of a database: nothing is encrypted; `holdfast db encrypt` is at work; everything is."""

_TEXT_BEGINS: Final = f'{{"{SEALED_TEXT}": "'
_TEXT_ENDS: Final = '"}'

# Seconds. While a database is being encrypted, a process looks for the end of that.
_LOOKS_EVERY: Final = 10.0


class KeyedSealer:
    """Encryption with the data keys of threads, as a `Sealer`."""

    def __init__(self, keyring: Keyring, read_state: Callable[[], State]) -> None:
        """
        Args:
            keyring: the keys of the threads.
            read_state: reads whether the database is encrypted.
        """
        self.keyring = keyring
        self._read_state = read_state
        self.state: State = "off"
        self.encrypt_thread: OnPlainThread = lambda thread_id: False
        self._looked_at = 0.0

    @property
    def encrypts(self) -> bool:
        return self.state != "off"

    # --- keys

    def digest_key(self, thread_id: str) -> bytes:
        return self._current(thread_id).digest_key if self.encrypts else b""

    def key_no(self, thread_id: str) -> int | None:
        return self._current(thread_id).no if self.encrypts else None

    def prefetch(self, thread_ids: Iterable[str]) -> None:
        if self.encrypts:
            self.keyring.prefetch(thread_ids)

    def is_stored(self, thread_id: str) -> None:
        self.keyring.is_stored(thread_id)

    def erase(self, thread_id: str) -> None:
        self.keyring.erase(thread_id)

    def forget(self, thread_id: str) -> None:
        self.keyring.forget(thread_id)

    def forget_all(self) -> None:
        self.keyring.forget_all()

    def _current(self, thread_id: str) -> DataKey:
        """Return the key with which a save encrypts. A thread that has none is encrypted, or is a new one and gets one.

        It may begin a transaction, so none may be open.
        """
        key = self.keyring.find(thread_id)
        if key is None and self.state == "converting" and self.encrypt_thread(thread_id):
            key = self.keyring.find(thread_id)
        return key or self.keyring.make(thread_id)

    def _sealing(self, thread_id: str) -> DataKey | None:
        """Return the key of a thread; `None` if nothing of the thread is encrypted yet, so that it stays so for now.

        Raises:
            SealBroken: the thread must be encrypted, and has no key.
        """
        if not self.encrypts:
            return None
        key = self.keyring.find(thread_id)
        if key is None and self.state == "on":
            raise SealBroken(thread_id, "it is not encrypted, and in this database it must be")
        return key

    # --- rows, values, bytes and texts

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        if (key := self._sealing(thread_id)) is None:
            return None, row
        data = ormsgpack.packb([row.name, row.content, row.body])
        return key.no, row._replace(name=None, content=None, body=key.seal(_place_of_row(thread_id, seq, row), data))

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        if key_no is None:
            self._accept_plain(thread_id, f"message row {seq}")
            return row
        data = self._opened(thread_id, f"message row {seq}", _place_of_row(thread_id, seq, row), row.body)
        name, content, body = ormsgpack.unpackb(data)
        return row._replace(name=name, content=content, body=body)

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        if (key := self._sealing(thread_id)) is None:
            return type_, blob
        return SEALED + type_, key.seal(_place_of(thread_id, place, type_), blob)

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        if not type_.startswith(SEALED):
            if type_ != "empty" or blob:  # the stock saver's mark of a channel without a value
                self._accept_plain(thread_id, _readable(place))
            return type_, blob
        type_ = type_.removeprefix(SEALED)
        return type_, self._opened(thread_id, _readable(place), _place_of(thread_id, place, type_), blob)

    def seal_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        key = self._sealing(thread_id)
        return data if key is None else key.seal(_place_of(thread_id, place), data)

    def open_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        if key_no_of(data) is None:
            self._accept_plain(thread_id, _readable(place))
            return data
        return self._opened(thread_id, _readable(place), _place_of(thread_id, place), data)

    def seal_text(self, thread_id: str, place: str, text: str) -> str:
        if (key := self._sealing(thread_id)) is None:
            return text
        sealed = key.seal(_place_of(thread_id, place), text.encode("utf-8", "surrogatepass"))
        return f"{_TEXT_BEGINS}{b64encode(sealed).decode()}{_TEXT_ENDS}"

    def open_text(self, thread_id: str, place: str, text: str) -> str:
        if not (text.startswith(_TEXT_BEGINS) and text.endswith(_TEXT_ENDS)):
            self._accept_plain(thread_id, _readable(place))
            return text
        try:
            sealed = b64decode(json.loads(text)[SEALED_TEXT], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise SealBroken(thread_id, f"{_readable(place)} cannot be decrypted: {error}") from None
        opened = self._opened(thread_id, _readable(place), _place_of(thread_id, place), sealed)
        return opened.decode("utf-8", "surrogatepass")

    def _opened(self, thread_id: str, what: str, place: bytes, sealed: bytes) -> bytes:
        no = key_no_of(sealed)
        if no is None:
            raise SealBroken(thread_id, f"{what} is not encrypted, and in this database it must be")
        key = self.keyring.named(thread_id, no)
        if key is None:
            raise SealBroken(thread_id, f"{what} was encrypted with data key {no}, which this thread does not have")
        try:
            return key.open(place, sealed)
        except ValueError as error:
            with_key = f"data key {no}, wrapped by master key {key.master_id!r}"
            raise SealBroken(thread_id, f"{what} cannot be decrypted with {with_key}: {error}") from None

    def _accept_plain(self, thread_id: str, what: str) -> None:
        """Accept what is not encrypted, as long as the database is being encrypted and its thread is not yet.

        Raises:
            SealBroken: it must be encrypted.
        """
        if self.state == "off":
            return
        if self.state == "converting":
            self._look()
        if self.state == "on" or self.keyring.kept(thread_id) is not None:
            raise SealBroken(thread_id, f"{what} is not encrypted, and in this database it must be")

    def _look(self) -> None:
        """Look now and then whether the whole database is encrypted by now."""
        if time.monotonic() - self._looked_at > _LOOKS_EVERY:
            self._looked_at = time.monotonic()
            self.state = self._read_state()


def _place_of(thread_id: str, *place: str) -> bytes:
    return "\0".join((thread_id, *place)).encode("utf-8", "surrogatepass")


def _place_of_row(thread_id: str, seq: int, row: MessageRow) -> bytes:
    """Return the place of a row: what is readable of it belongs to it, but for its id, which may be set later."""
    return _place_of(thread_id, "messages", str(seq), str(row.codec), row.role) + row.digest


def _readable(place: str) -> str:
    return " ".join(part for part in place.split("\0") if part)
