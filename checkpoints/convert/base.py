"""One thread whose values are rewritten within a transaction, and what it is compared by before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import CheckpointKey, Transaction, Wanted, write_place
from holdfast.checkpoints.core import load
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Outline, outlines
from holdfast.checkpoints.serde.fingerprint import StandIns, fingerprint
from holdfast.checkpoints.threads.index import ThreadRow

_PAGE: Final = 10  # checkpoints that are compared at once


class ValueLocation(NamedTuple):
    """Where a value lies: a channel of a checkpoint, or a write on it."""

    key: CheckpointKey
    channel: str
    text: str
    """See `Sealer`."""
    statement: str
    params: dict[str, Any]
    """Of the statement that stores it anew."""


class Fingerprints(NamedTuple):
    """What a checkpoint is compared by."""

    saved: bytes
    """Of what it had when it was looked at first."""
    whole: bytes
    """Of all that is found with it: the stock savers find values by their versions, also those of others."""


class Conversion:
    """One thread that is rewritten within a transaction."""

    form: str
    """The form of what is to be rewritten."""
    as_stock = False

    def __init__(self, database: Database, thread_id: str) -> None:
        self.database = database
        self.thread_id = thread_id
        self._sql = database.backend.sql
        self._channels: dict[tuple[str, str], set[str]] = {}
        self.rewritten = 0
        self.problems: list[str] = []
        # What is compared is loaded without anything that this process remembers, or that is not here.
        self._comparing = Database(database.backend, StandIns(database.types), database.sealer)

    def lock(self, transaction: Transaction) -> int:
        """Lock the thread, and give its next seq."""
        sql, params = self.database.backend.sql, {"thread_id": self.thread_id}
        [_, [locked]] = transaction.run([(sql["adopt_thread"], params), (sql["lock_thread"], params)])
        return ThreadRow(*locked).next_seq

    def outline(self, transaction: Transaction) -> list[Outline]:
        """The checkpoints, in the order in which they were made."""
        [found] = transaction.run([(self._sql["outline"], {"thread_id": self.thread_id})])
        there = outlines(found, ())
        return sorted((o for ns in there.values() for o in ns.values()), key=lambda o: (o.checkpoint_id, o.ns))

    def size(self, transaction: Transaction) -> int:
        [[(size,)]] = transaction.run([(self._sql["thread_bytes"], {"thread_id": self.thread_id})])
        return int(size)

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        """The thread is locked."""

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        raise NotImplementedError

    def prepare(self, transaction: Transaction) -> bool:
        """Change what may let more be found with a checkpoint than before. Gives whether there was such."""
        return False

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        raise NotImplementedError

    def end(self, transaction: Transaction) -> None:
        """All checkpoints are rewritten."""

    def prints(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> dict[tuple[str, str], Fingerprints]:
        """A fingerprint of each checkpoint with all that belongs to it, as it is loaded now."""
        found: dict[tuple[str, str], Fingerprints] = {}
        for ns in sorted({outline.ns for outline in checkpoints}):
            before: str | None = None
            while True:
                wanted = Wanted(_PAGE, self.thread_id, ns, before=before)
                page = load.find(transaction, self._comparing, wanted)
                for opened in page:
                    found[ns, opened.stored.checkpoint_id] = self._print(opened)
                if len(page) < _PAGE:
                    break
                before = page[-1].stored.checkpoint_id
        return found

    def _print(self, opened: load.Opened) -> Fingerprints:
        checkpoint, writes, _ = load.attach(opened, self._comparing)
        values = dict(sorted(checkpoint["channel_values"].items()))  # PostgreSQL gives them in no order
        had = self._channels.setdefault((opened.stored.ns, opened.stored.checkpoint_id), set(values))

        def told(values: dict[str, Any]) -> bytes:
            said = [{**checkpoint, "channel_values": values}, writes, opened.stored.metadata, opened.stored.parent_id]
            return fingerprint(said, as_stock=self.as_stock)

        whole = told(values)
        if values.keys() <= had:
            return Fingerprints(whole, whole)
        return Fingerprints(told({channel: value for channel, value in values.items() if channel in had}), whole)

    def values(
        self, transaction: Transaction, checkpoint: Outline
    ) -> tuple[list[tuple[ValueLocation, bytes]], list[Any]]:
        """What is to be rewritten of a checkpoint, and of the writes on it."""
        key = CheckpointKey(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id)
        params = {**key._asdict(), "type": self.form}
        values, writes = transaction.run([(self._sql["values_of_type"], params), (self._sql["writes_of_type"], params)])
        return (
            [self._opened(self._value(key, channel, version), blob) for channel, version, blob in values],
            [self._opened(self._write(key, *write), blob) for *write, blob in writes],
        )

    def _opened(self, where: ValueLocation, blob: bytes) -> tuple[ValueLocation, bytes]:
        return where, self.database.sealer.open_value(self.thread_id, where.text, self.form, bytes(blob))[1]

    def _value(self, key: CheckpointKey, channel: str, version: str) -> ValueLocation:
        text = self.database.backend.value_place(key, channel, {"channel_versions": {channel: version}})
        return ValueLocation(key, channel, text, "set_value", {**key._asdict(), "channel": channel, "version": version})

    def _write(self, key: CheckpointKey, task_id: str, idx: int, channel: str) -> ValueLocation:
        params = {**key._asdict(), "task_id": task_id, "idx": idx}
        return ValueLocation(key, channel, write_place(key, task_id, idx), "set_write", params)

    def set(self, transaction: Transaction, where: ValueLocation, type_: str, blob: bytes) -> None:
        type_, blob = self.database.sealer.seal_value(self.thread_id, where.text, type_, blob)
        transaction.send([(self._sql[where.statement], {**where.params, "type": type_, "blob": blob})])
        self.rewritten += 1
