"""The record of erasures: who is erased, under which number of the table of events. No I/O.

The rows are events of the thread `''`, which no caller can name. Code from before this record leaves them alone.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.sql import Statements

Kind = Literal["thread", "user"]

_PERSON: Final = b"holdfast-erased"
_PARTS: Final = 19
"""Bits of a number that count the parts of an erasure; the other 44 follow from what is erased."""


class Erasable(NamedTuple):
    """A thread or a user that is erased."""

    kind: Kind
    name: str

    @property
    def number(self) -> int:
        """The number of the row that says so. It follows from the name, and does not tell it."""
        text = json.dumps(list(self)).encode()
        digest = blake2b(text, digest_size=8, person=_PERSON).digest()
        return int.from_bytes(digest) >> (64 - 44) << _PARTS

    @property
    def last(self) -> int:
        """The largest number of a part of its erasure."""
        return self.number + (1 << _PARTS) - 1


def erased_since(sql: Statements, user_id: str, since: float) -> Call:
    """Build the call that finds a row if a user was erased since a moment, and not long ago.

    A process that was at work before may still hold what it has read. It is refused for as long as a run may take; the
    user may have come again by then.
    """
    params = {"no": Erasable("user", user_id).number, "since": since, "guard": times.ERASURE_GUARD}
    return sql["erased_since"], params
