"""Which messages an undo took back, and who undid them. Pure, no I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Undone:
    """How a message was taken back."""

    by: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Undo:
    """An undo of a turn."""

    after: int
    """The number of the last row at that time."""
    to: str
    """The id of the checkpoint that the thread was reset to; `""` is the empty thread."""
    head: str
    """The id of the newest checkpoint at that time. In a fork, a message may have a later one as its first."""
    undone: Undone


class Undos:
    """The undos of a thread."""

    def __init__(self, undos: Sequence[Undo]) -> None:
        """
        Args:
            undos: the undos in their order.
        """
        self._undos = undos
        self._ends = [undo.after for undo in undos]
        # From each undo on: the oldest checkpoint that it or a later one went back to.
        self._oldest = [*accumulate(reversed([undo.to for undo in undos]), min)][::-1]

    def of(self, seq: int, checkpoint_id: str) -> Undone | None:
        """Return the undo that took a message back; `None` if none did.

        Args:
            seq: the number of its row.
            checkpoint_id: the first checkpoint with the message.
        """
        first = bisect_left(self._ends, seq)
        if first == len(self._undos) or self._oldest[first] >= checkpoint_id:
            return None
        later = self._undos[first:]
        return next((undo.undone for undo in later if undo.to < checkpoint_id <= undo.head), None)
