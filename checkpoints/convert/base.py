"""The conversion of one thread within a transaction, and the fingerprints that compare it before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Wanted, write_place
from holdfast.checkpoints.convert.fingerprint import StandIns, fingerprint
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Outline, outlines
from holdfast.checkpoints.serde.types import Types

_PAGE: Final = 10  # checkpoints that one query reads for their fingerprints


class ValueLocation(NamedTuple):
    """The location of a stored value: a channel of a checkpoint, or a write on it."""

    key: CheckpointKey
    channel: str
    text: str
    """The location as a text, as `Sealer` uses it."""
    statement: str
    """The name of the statement that replaces the value."""
    params: dict[str, Any]
    """The parameters of that statement, without the value."""


class Fingerprints(NamedTuple):
    """The fingerprints of a checkpoint."""

    saved: bytes
    """The fingerprint without the channels that it did not have at first."""
    whole: bytes
    """The fingerprint of everything that loads with it. The stock savers find values by version, so a checkpoint may
    load values that another one has saved."""


class Conversion:
    """A conversion of one thread within a transaction."""

    form: str
    """The form of the values to rewrite."""
    as_stock = False
    """Whether the result is compared as the stock savers would load it."""

    def __init__(self, database: Database, thread_id: str, types: Types | None = None) -> None:
        """
        Args:
            database: the open database.
            thread_id: the thread.
            types: the types to load values with. The default is stand-ins for types that this process does not have.
        """
        self.database = database
        self.thread_id = thread_id
        self._sql = database.backend.sql
        self._channels: dict[tuple[str, str], set[str]] = {}
        self.rewritten = 0
        self.problems: list[str] = []
        # Fingerprints are made without this process's cache.
        self._comparing = Database(database.backend, types or StandIns(database.types), database.sealer)

    def lock(self, transaction: Transaction) -> int:
        """Lock the thread, and return its next seq."""
        sql, params = self.database.backend.sql, {"thread_id": self.thread_id}
        [_, [row]] = transaction.run([(sql["adopt_thread"], params), (sql["lock_thread"], params)])
        return int(row.next_seq)

    def outline(self, transaction: Transaction) -> list[Outline]:
        """Return the outlines of the checkpoints, in the order in which they were made."""
        [rows] = transaction.run([(self._sql["outline"], {"thread_id": self.thread_id})])
        thread = outlines(rows, ())
        return sorted((o for ns in thread.values() for o in ns.values()), key=lambda o: (o.checkpoint_id, o.ns))

    def size(self, transaction: Transaction) -> int:
        """Return the size of the thread in bytes."""
        [[row]] = transaction.run([(self._sql["thread_bytes"], {"thread_id": self.thread_id})])
        return int(row.bytes)

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        """Prepare the conversion, after the thread was locked."""

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        """Return whether the thread has values to rewrite."""
        raise NotImplementedError

    def prepare(self, transaction: Transaction) -> bool:
        """Make changes after which a checkpoint may load more values than before, and return whether there were any."""
        return False

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        """Rewrite the values of a checkpoint, and the writes on it."""
        raise NotImplementedError

    def end(self, transaction: Transaction) -> None:
        """Complete the conversion, after all checkpoints were rewritten."""

    def fingerprints(
        self, transaction: Transaction, checkpoints: Sequence[Outline]
    ) -> dict[tuple[str, str], Fingerprints]:
        """Return the fingerprints of each checkpoint with its writes, as it loads now, by namespace and id."""
        found: dict[tuple[str, str], Fingerprints] = {}
        for ns in sorted({outline.ns for outline in checkpoints}):
            before: str | None = None
            while True:
                wanted = Wanted(_PAGE, self.thread_id, ns, before=before)
                page = load.find(transaction, self._comparing, wanted)
                for opened in page:
                    found[ns, opened.stored.checkpoint_id] = self._fingerprints(opened)
                if len(page) < _PAGE:
                    break
                before = page[-1].stored.checkpoint_id
        return found

    def _fingerprints(self, raw: load.RawCheckpoint) -> Fingerprints:
        loaded, stored = load.to_tuple(raw, self._comparing), raw.stored
        checkpoint, writes = loaded.checkpoint, loaded.pending_writes
        values = dict(sorted(checkpoint["channel_values"].items()))  # PostgreSQL returns them in no order
        at_first = self._channels.setdefault((stored.ns, stored.checkpoint_id), set(values))

        def of(values: dict[str, Any]) -> bytes:
            parts = [{**checkpoint, "channel_values": values}, writes, stored.metadata, stored.parent_id]
            return fingerprint(parts, as_stock=self.as_stock)

        whole = of(values)
        if values.keys() <= at_first:
            return Fingerprints(whole, whole)
        return Fingerprints(of({channel: value for channel, value in values.items() if channel in at_first}), whole)

    def values(
        self, transaction: Transaction, checkpoint: Outline
    ) -> tuple[list[tuple[ValueLocation, bytes]], list[Any]]:
        """Return the values of a checkpoint to rewrite, and the writes on it, each with its location."""
        key = CheckpointKey(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id)
        params = {**key._asdict(), "type": self.form}
        values, writes = transaction.run([(self._sql["values_of_type"], params), (self._sql["writes_of_type"], params)])
        return (
            [self._opened(self._value(key, row.channel, row.version), row.blob) for row in values],
            [self._opened(self._write(key, row.task_id, row.idx, row.channel), row.blob) for row in writes],
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
        """Replace a stored value."""
        type_, blob = self.database.sealer.seal_value(self.thread_id, where.text, type_, blob)
        transaction.send([(self._sql[where.statement], {**where.params, "type": type_, "blob": blob})])
        self.rewritten += 1
