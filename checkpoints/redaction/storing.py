"""The filter that redacts before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.checkpoints.redaction.patterns import Redactor, finders_of
from holdfast.checkpoints.redaction.rows import RowValues, redacted_row, with_own_digest
from holdfast.checkpoints.redaction.values import Values
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.types import Types


class RedactingFilter:
    """A `StorageFilter` that redacts what patterns find. The messages and values of the caller stay as they are."""

    def __init__(self, patterns: Sequence[str | re.Pattern[str]], types: Types) -> None:
        """
        Args:
            patterns: as for `redact`.
            types: the types that the program knows.

        Raises:
            DriverMissing, ValueError: a pattern cannot be used.
        """
        redactor = Redactor(finders_of(patterns))
        self._rows, self._values = RowValues(redactor.text, types), Values(redactor.text, types)

    def row(self, row: MessageRow, key: bytes) -> MessageRow:
        new = redacted_row(row, self._rows)
        return row if new == row else with_own_digest(new, key)

    def body(self, type_: str, body: bytes, *, is_checkpoint: bool = False) -> bytes:
        return self._values.stored(type_, body, is_checkpoint=is_checkpoint)

    def text(self, text: str) -> str:
        return self._values.text(text)

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return self._values.metadata(metadata)

    def small(self, values: Mapping[str, Any]) -> dict[str, Any]:
        small = {channel: value for channel, value in values.items() if type(value) is str or type(value) is int}
        return {channel: new for channel, value in small.items() if (new := self._values.value(value)) is not value}
