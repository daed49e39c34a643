"""The interface for encryption. No checkpointer has keys yet: each one is opened with `Plain`.

Message rows, values of channels, writes of tasks, answers to requests, and results in the ledger pass through it when
they are stored and loaded. These do not, and are written plain: titles, metadata of threads and checkpoints, system
prompts, the ids and authors in every table, and on PostgreSQL the short values within a checkpoint's document.

Sealed data are bound to their table, thread, row and column, so that they cannot be moved to another place. So each
method receives the place; for a value it is a text that names table, row and column. Without keys nothing is sealed,
and sealed data are refused.
"""

from __future__ import annotations

from typing import Protocol

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import MessageRow


class Sealer(Protocol):
    """Encryption of rows and values. Pure, except that it holds the keys."""

    def digest_key(self, thread_id: str) -> bytes:
        """Return the key for the digests of a thread's messages, at most 64 bytes; `b""` for none."""
        ...

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        """Return the number of the key (`None`: plain) and the row as it is stored."""
        ...

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        """Return the row that was sealed.

        Raises:
            NotStorable: the key is missing, or the row was sealed for another place.
        """
        ...

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes as they are stored. The type names the key."""
        ...

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes that were sealed.

        Raises:
            NotStorable: the key is missing, or the value was sealed for another place.
        """
        ...


class Plain:
    """No encryption: everything is stored as it is."""

    def digest_key(self, thread_id: str) -> bytes:
        return b""

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        return None, row

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        if key_no is not None:
            raise NotStorable(
                f"Message row {seq} of thread {thread_id!r} is encrypted with key {key_no}, and no keys were given."
            )
        return row

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        return type_, blob

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        return type_, blob
