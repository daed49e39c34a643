"""The record of an erasure in its own database: what is done so far, and in the end the receipt.

So an erasure that was cut off goes on, and its receipt has all of it. The record names no user: a user's row has a
number that follows from the id, and cannot be read back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.erased import Erasable
from holdfast.checkpoints.erasure.receipt import Erased

_UNDER_WAY: Final = "erasing"


@dataclass
class Part:
    """A part of an erasure: what one transaction of it has done."""

    threads: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    copies: list[str] = field(default_factory=list)

    def add(self, other: Part) -> None:
        """Add what another part has done."""
        self.threads = list(dict.fromkeys([*self.threads, *other.threads]))
        self.copies = list(dict.fromkeys([*self.copies, *other.copies]))
        for name in ("rows", "kept", "redacted"):
            getattr(self, name).update(getattr(other, name))

    def text(self) -> str:
        """Return the part as it is stored."""
        return json.dumps({name: value for name, value in vars(self).items() if value})

    @classmethod
    def of(cls, text: str) -> Part:
        """Return a part that was stored."""
        facts: dict[str, Any] = json.loads(text)
        counters = {name: Counter(facts.get(name, {})) for name in ("rows", "kept", "redacted")}
        return cls(threads=facts.get("threads", []), copies=facts.get("copies", []), **counters)


class Head(NamedTuple):
    """The first row of the record."""

    is_under_way: bool
    data: Mapping[str, Any]
    """Of an erasure that is under way, how it began; else its receipt."""


class Journal:
    """The record of the erasure of one thread or user."""

    def __init__(self, database: Database, subject: Erasable) -> None:
        self._database = database
        self._sql = database.backend.sql
        self._subject = subject
        self._params = {"no": subject.number, "last": subject.last}

    def read(self) -> Head | None:
        """Return the first row of the record, if there is one."""
        [rows] = self._database.read(self._call("erasure"))
        return Head(rows[0].kind == _UNDER_WAY, json.loads(rows[0].data)) if rows else None

    def note(self, transaction: Transaction, part: Part, begun: Mapping[str, Any]) -> None:
        """Add a part to the record, within the transaction that does it.

        Args:
            transaction: the transaction.
            part: what it does.
            begun: how the erasure began, for the first row, unless one is under way.
        """
        self.begin(transaction, begun)
        transaction.send([self._call("note_erased", data=part.text())])

    def begin(self, transaction: Transaction, begun: Mapping[str, Any]) -> None:
        """Make the first row, unless an erasure is under way. It is locked until the transaction ends.

        An erasure after one that has left something goes on with its receipt.
        """
        [rows] = transaction.run([self._call("lock_erasure")])
        if rows and rows[0].kind == _UNDER_WAY:
            return
        before = json.loads(rows[0].data) if rows else {}
        first: dict[str, Any] = {**begun, "earlier": _digests(before)}
        calls = []
        if before.get("failed"):
            began_at = datetime.fromisoformat(before["began_at"]).timestamp()
            first |= {"erasure_id": before["erasure_id"], "began_at": began_at}
            calls.append(self._call("note_erased", data=Part.of(rows[0].data).text()))
        transaction.send([self._call("begin_erasure", data=json.dumps(first)), *calls])

    def touch(self, transaction: Transaction) -> None:
        """Set the time of the record: a writer that was there before is refused from now on."""
        transaction.send([self._call("touch_erasure")])

    def parts(self) -> Part:
        """Return all that is done so far."""
        [rows] = self._database.read(self._call("erased_parts"))
        return _sum(Part.of(row.data) for row in rows)

    def has(self, receipt: Erased) -> bool:
        """Return whether a receipt is on record, also if there is a later one."""
        head = self.read()
        return head is not None and receipt.digest in _digests(head.data)

    def end(self, receipt: Erased, head: Head) -> None:
        """Put the receipt in place of the parts, with the number of the user whose the thread was.

        Args:
            receipt: the receipt.
            head: the first row of the record.
        """
        earlier = [digest for digest in _digests(head.data) if digest != receipt.digest]
        facts = {**receipt.facts(), "owner": head.data.get("owner"), "earlier": earlier}
        if self._subject.kind == "user":
            # What the caller says again when asking for it. The record itself names no user.
            del facts["user_id"]
            if receipt.by == self._subject.name:
                del facts["by"]
        calls = [self._call("end_erasure", data=json.dumps(facts)), self._call("forget_parts")]
        self._database.write(*calls)

    def receipt(self, head: Head) -> Erased:
        """Return the receipt of an erasure that has ended."""
        known = {"user_id": self._subject.name, "by": self._subject.name} if self._subject.kind == "user" else {}
        return Erased.of({**known, **head.data})

    def _call(self, name: str, **params: Any) -> Any:
        return self._sql[name], {**self._params, **params}


def _digests(data: Mapping[str, Any]) -> list[str]:
    """Return the digests of the receipts that the first row of a record knows."""
    return [*data.get("earlier", []), *([data["digest"]] if "digest" in data else [])]


def _sum(parts: Iterable[Part]) -> Part:
    total = Part()
    for part in parts:
        total.add(part)
    return total
