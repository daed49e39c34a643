"""Where encryption goes in: every stored text, body and value passes through here on its way in and out.

What is sealed is bound to the table, thread, row and column that it belongs to, so that nothing can be moved to another
place; so each method is told the place. For a value that is a text that names table, row and column. Without keys
nothing is sealed, and what somebody else has sealed is refused.
"""

from __future__ import annotations

from typing import Protocol

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import MessageRow


class Sealer(Protocol):
    """Seals and opens. Pure but for the keys that it holds."""

    def digest_key(self, thread_id: str) -> bytes:
        """The key for the digests of a thread's messages, at most 64 bytes; `b""` for none."""
        ...

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        """The number of the key (`None`: plain) and the row as it is stored."""
        ...

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        """What `seal_row` was given.

        Raises:
            NotStorable: there is no such key, or the row was sealed for another place.
        """
        ...

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """The type and the bytes as they are stored; the type says which key sealed them."""
        ...

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        """What `seal_value` was given.

        Raises:
            NotStorable: there is no such key, or the value was sealed for another place.
        """
        ...


class Plain:
    """No keys: everything is stored as it is."""

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
