"""The interface for encryption, and its absence. `encryption.sealer` is what encrypts.

What is stored of a conversation passes through the sealer when it is stored and loaded: message rows, the values of
channels, writes of tasks, metadata, titles, prompts and other events, answers to requests, and results in the ledger.
The ids, authors, times and sizes beside them do not, and are readable.

Sealed data are bound to their table, thread, row and column, so that they cannot be moved to another place. So each
method receives the place: a text that names table, row and column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import MessageRow

SEALED: Final = "sealed."
"""The beginning of the type of a sealed value; the type of the value follows."""


SEALED_TEXT: Final = "holdfast_sealed"
"""The name under which a JSON object has what is sealed of it, in base64."""


def without_keys(thread_id: str, what: str) -> NotStorable:
    """Return the error for something of a thread that is encrypted, in a process without keys."""
    return NotStorable(
        f"{what} of thread {thread_id!r} is encrypted. No keys were given. Needed: the keys of this database, as "
        "`keys=` or in HOLDFAST_KEYS."
    )


class Sealer(Protocol):
    """Encryption of rows and values. It knows the keys of the threads."""

    @property
    def encrypts(self) -> bool:
        """Whether what is saved is encrypted."""
        ...

    def digest_key(self, thread_id: str) -> bytes:
        """Return the key for the digests of a thread's messages, at most 64 bytes; `b""` for none.

        For a save: a thread that has no key yet gets one, which the save must store (see `new_key`).
        """
        ...

    def key_no(self, thread_id: str) -> int | None:
        """Return the number of the key with which a save in a thread encrypts; `None`: it does not. As `digest_key`.

        While the database is being encrypted, a thread that is not is encrypted first. So whatever encrypts something
        before it locks the thread calls this, and no transaction may be open.
        """
        ...

    def prefetch(self, thread_ids: Iterable[str]) -> None:
        """Read the keys of some threads. It saves reading them one by one."""
        ...

    def is_stored(self, thread_id: str) -> None:
        """Note that the first save of a thread was committed, and its key with it."""
        ...

    def erase(self, thread_id: str) -> None:
        """Delete the key of a thread that was deleted, where keys are in another database than threads."""
        ...

    def forget(self, thread_id: str) -> None:
        """Drop the key of a thread from the cache: the thread may be another one now."""
        ...

    def forget_all(self) -> None:
        """Drop all keys from the cache, because the database may have been replaced by another."""
        ...

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        """Return the number of the key (`None`: plain) and the row as it is stored."""
        ...

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        """Return the row that was sealed.

        Raises:
            SealBroken: the row was altered, or sealed for another place, or is not sealed.
            KeyMissing: its key is not there.
        """
        ...

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes as they are stored."""
        ...

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes that were sealed.

        Raises:
            SealBroken, KeyMissing: as `open_row`.
        """
        ...

    def seal_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        """Return some bytes as they are stored."""
        ...

    def open_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        """Return the bytes that were sealed.

        Raises:
            SealBroken, KeyMissing: as `open_row`.
        """
        ...

    def seal_text(self, thread_id: str, place: str, text: str) -> str:
        """Return a text as it is stored: a JSON object, also in place of a text that is none."""
        ...

    def open_text(self, thread_id: str, place: str, text: str) -> str:
        """Return the text that was sealed.

        Raises:
            SealBroken, KeyMissing: as `open_row`.
        """
        ...


class Plain:
    """No encryption: everything is stored as it is."""

    encrypts: Final = False

    def digest_key(self, thread_id: str) -> bytes:
        return b""

    def key_no(self, thread_id: str) -> int | None:
        return None

    def prefetch(self, thread_ids: Iterable[str]) -> None:
        pass

    def is_stored(self, thread_id: str) -> None:
        pass

    def erase(self, thread_id: str) -> None:
        pass

    def forget(self, thread_id: str) -> None:
        pass

    def forget_all(self) -> None:
        pass

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        return None, row

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        if key_no is not None:
            raise without_keys(thread_id, f"Message row {seq}")
        return row

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        return type_, blob

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        if type_.startswith(SEALED):
            raise without_keys(thread_id, "A value")
        return type_, blob

    def seal_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        return data

    def open_bytes(self, thread_id: str, place: str, data: bytes) -> bytes:
        return data

    def seal_text(self, thread_id: str, place: str, text: str) -> str:
        return text

    def open_text(self, thread_id: str, place: str, text: str) -> str:
        return text
