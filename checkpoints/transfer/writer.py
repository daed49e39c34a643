"""Writer of a thread's records into an empty thread, within a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint
from holdfast.checkpoints.backends.records import CheckpointKey, EncodedCheckpoint, StoredValue
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.keys_of_threads import add_new_key
from holdfast.checkpoints.encryption.records import open_record, seal_record
from holdfast.checkpoints.errors import NotMoved, NotStorable
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.transfer.records import (
    CHECKPOINT,
    EFFECT,
    MESSAGE,
    THREAD,
    ThreadRecord,
    record_bytes,
)

# Statements that are sent together: enough to hide the latency of a server, few enough for the memory.
_BATCH: Final = 500
_BATCH_BYTES: Final = 4 * 2**20


class ThreadWriter:
    """A writer of the records of one thread, which come in any order after the thread's own."""

    def __init__(self, transaction: Transaction, database: Database, thread_id: str) -> None:
        """
        Args:
            transaction: the transaction, in which the thread is locked and empty.
            database: the database.
            thread_id: the thread.
        """
        self._transaction = transaction
        self._database = database
        self._thread_id = thread_id
        self._ledger: SharedLedger | None = None
        self._stored: dict[str, bytes] = {}  # the digest of the value at each place
        self._calls: dict[str, tuple[Statement, list[Mapping[str, Any]]]] = {}
        self._waiting = 0
        self._bytes = 0

    def add(self, record: ThreadRecord) -> None:
        """Write a record.

        Raises:
            NotMoved: the database cannot hold the record, or it contradicts the ledger that is there.
        """
        sql = self._database.backend.sql
        if record.kind == THREAD:
            self._ledger = SharedLedger(self._transaction, self._database, self._thread_id, record.fields["lineage"])
            of_thread = {"thread_ids": self._database.backend.array([self._thread_id])}
            self._transaction.send([(sql["delete_members"], of_thread)])
        if record.kind == CHECKPOINT:
            self._send(*self._checkpoint(record.fields))
        elif record.kind != EFFECT:
            self._send((sql[f"move_{record.kind}"], {**self._sealed(record), "thread_id": self._thread_id}))
        elif self._ledger is not None and self._ledger.accepts(record):
            # Where it ran may be a thread that is not here, or not yet.
            add_key = add_new_key(self._database.backend, self._database.sealer, record.fields["thread_id"])
            self._send((sql["move_effect"], self._sealed(record)))
            self._transaction.send(add_key)

    def end(self) -> None:
        """Send what is left, after the last record.

        Raises:
            NotMoved: the ledger that is there has effects that were not among the records.
        """
        if self._ledger is not None:
            self._ledger.end()
        self._flush()

    def _sealed(self, record: ThreadRecord) -> dict[str, Any]:
        fields = {"key_no": None, **record.fields} if record.kind == MESSAGE else record.fields
        return {**fields, **seal_record(self._database.sealer, self._thread_id, record.kind, fields)}

    def _checkpoint(self, fields: dict[str, Any]) -> list[Call]:
        backend = self._database.backend
        key = CheckpointKey(self._thread_id, fields["ns"], fields["checkpoint_id"])
        checkpoint = CanonicalCheckpoint(fields["document"], fields["values"])
        try:
            document, values = backend.from_canonical(checkpoint)
        except NotStorable as error:
            raise NotMoved(self._thread_id, f"in checkpoint {key.checkpoint_id}: {error}") from error
        new = [self._sealed_value(key, value, document) for value in values if self._is_new(key, value, document)]
        versions = checkpoint.document["channel_versions"]
        encoded = EncodedCheckpoint(key, fields["parent_id"], document, new, versions, fields["metadata"])
        return backend.save_checkpoint(encoded)

    def _sealed_value(self, key: CheckpointKey, value: StoredValue, document: Any) -> StoredValue:
        place = self._database.backend.value_place(key, value.channel, document)
        sealed = self._database.sealer.seal_value(key.thread_id, place, value.type, value.blob or b"")
        return StoredValue(value.channel, *sealed)

    def _is_new(self, key: CheckpointKey, value: StoredValue, document: Any) -> bool:
        """Return whether a value is not stored yet. Most values are those of the checkpoint before.

        Raises:
            NotMoved: another value is stored under the same version.
        """
        digest = blake2b(value.blob or b"", digest_size=16, key=value.type.encode()).digest()
        before = self._stored.setdefault(self._database.backend.value_place(key, value.channel, document), digest)
        if before is digest:
            return True
        if before != digest:
            raise NotMoved(
                self._thread_id,
                f"checkpoint {key.checkpoint_id} and an earlier one have different values of channel "
                f"{value.channel!r} under the same version, of which PostgreSQL keeps one value. A node has changed "
                "its state in place. Prune the thread, and repeat the transfer.",
            )
        return False

    def _send(self, *calls: Call) -> None:
        for statement, params in calls:
            self._calls.setdefault(statement.name, (statement, []))[1].append(params)
            self._bytes += sum([len(value) for value in params.values() if type(value) is str or type(value) is bytes])
        self._waiting += len(calls)
        if self._waiting >= _BATCH or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        # In any order, since no row refers to another one by a constraint.
        for statement, rows in self._calls.values():
            self._transaction.send_many(statement, rows)
        self._transaction.run([])
        self._calls, self._waiting, self._bytes = {}, 0, 0


class SharedLedger:
    """The ledger of effects that a thread shares with its copies.

    If the database already has threads or effects of the same lineage, the records must repeat its ledger exactly. New
    effects would change what these threads may run.
    """

    def __init__(self, transaction: Transaction, database: Database, thread_id: str, lineage: str | None) -> None:
        self._thread_id = thread_id
        self._lineage = lineage or thread_id
        self._transaction = transaction
        self._sql, sealer = database.backend.sql, database.sealer
        params = {"thread_id": thread_id, "lineage": self._lineage}
        everything = {**params, "effect_key": "", "limit": 2**31 - 1}
        relatives, effects = transaction.run(
            [(self._sql["relatives"], params), (self._sql["page_of_effect"], everything)]
        )
        self._relative = str(relatives[0].thread_id) if relatives else None
        stored = [effect._asdict() for effect in effects]
        opened = [{**fields, **open_record(sealer, thread_id, EFFECT, fields)} for fields in stored]
        self._there = {record_bytes(ThreadRecord(EFFECT, fields)) for fields in opened}
        self._is_shared = bool(relatives or effects)
        self._matched = 0

    def accepts(self, record: ThreadRecord) -> bool:
        """Return whether an effect is new and has to be written.

        Raises:
            NotMoved: the database has the ledger, without this effect; or the effect is one of another lineage.
        """
        if self._is_shared:
            if record_bytes(record) not in self._there:
                self._refuse()
            self._matched += 1
            return False
        ran_in = record.fields["thread_id"]
        if record.fields["lineage"] != self._lineage:
            self._refuse()
        if ran_in not in {self._thread_id, self._lineage}:
            params = {"thread_id": ran_in, "lineage": self._lineage}
            [[other]] = self._transaction.run([(self._sql["is_stranger"], params)])
            if other.is_stranger:
                self._refuse()
        return True

    def end(self) -> None:
        """Check that every effect of the ledger that is there was among the records.

        Raises:
            NotMoved: an effect was not.
        """
        if self._matched < len(self._there):
            self._refuse()

    def _refuse(self) -> None:
        shared = f", which it shares with thread {self._relative!r}" if self._relative else ""
        raise NotMoved(
            self._thread_id,
            f"the target has a different ledger of its tool calls{shared}. Move a thread and its copies together, into "
            "a database that has none of them.",
        )
