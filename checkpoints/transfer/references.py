"""The references to message rows that stand in front of stored values, and the rows that they need. No I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

import ormsgpack

from holdfast.checkpoints.serde.values import TYPE

# A value begins with a checksum of its references and their length, each a number of four bytes.
_NUMBER: Final = 4


def reference_ranges(type_: str, blob: bytes) -> list[list[int]]:
    """Return the ranges of message rows that stand in front of a stored value, one flat list of pairs for each list.

    They are not expanded, since a single pair can describe a list that fits into no memory. See `ranges`.

    Raises:
        ValueError: they are not flat pairs of numbers.
    """
    if type_ != TYPE:
        return []
    start = 2 * _NUMBER
    end = start + int.from_bytes(blob[_NUMBER:start], "big")
    lists = ormsgpack.unpackb(blob[start:end])
    if not isinstance(lists, list) or not all(isinstance(flat, list) and len(flat) % 2 == 0 for flat in lists):
        raise ValueError("its references are no lists of pairs")
    if any(type(ref) is not int for flat in lists for ref in flat):
        raise ValueError("its references are not all numbers")
    return lists


class MessageSeqs:
    """The seqs of the message rows that a thread has, in ascending order."""

    def __init__(self) -> None:
        self._seqs: list[int] = []

    @property
    def last(self) -> int:
        return self._seqs[-1] if self._seqs else 0

    def add(self, seq: int) -> None:
        """Add the seq of a row, which must be above all others."""
        self._seqs.append(seq)

    def check(self, type_: str, blob: bytes) -> int:
        """Check that all rows exist to which a stored value refers, and return the number of its references.

        Raises:
            ValueError: a row is missing, or the references are damaged.
        """
        total = 0
        for flat in reference_ranges(type_, blob):
            for first, last in zip(flat[::2], flat[1::2], strict=True):
                low, high = sorted((abs(first), abs(last)))
                if bisect_right(self._seqs, high) - bisect_left(self._seqs, low) != high - low + 1:
                    raise ValueError(f"it refers to message rows {low} to {high}, some of which are missing")
                total += high - low + 1
        return total
