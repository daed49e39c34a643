"""The interface of what changes texts before they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from holdfast.checkpoints.serde.messages import MessageRow


class StorageFilter(Protocol):
    """A change of texts on their way into the database. Each method returns the same object if nothing changes."""

    def row(self, row: MessageRow, key: bytes) -> MessageRow:
        """Return the row of a message, with the digest of what it says then.

        Args:
            row: the row.
            key: the key of the digest.
        """
        ...

    def body(self, type_: str, body: bytes, *, is_checkpoint: bool = False) -> bytes:
        """Return the bytes of a value, without the references in front of them.

        Args:
            type_: the type of the value.
            body: its bytes.
            is_checkpoint: whether it is a checkpoint as a whole.
        """
        ...

    def text(self, text: str) -> str:
        """Return a text, such as a title."""
        ...

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a checkpoint or a thread."""
        ...

    def small(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those values of channels that change and are texts or numbers, which a database may store as such."""
        ...
