"""The records of a thread on their way into an empty one, within a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, CheckpointKey, StoredValue, Transaction
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import NotMoved, NotStorable
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.transfer.canonical import CanonicalCheckpoint, CanonicalValue, to_document, to_whole
from holdfast.checkpoints.transfer.records import (
    CHECKPOINT,
    EFFECT,
    RECORDS,
    THREAD,
    ThreadRecord,
    record_bytes,
)

# Statements that are sent before anybody waits for them: enough to hide the way to a server, few enough to hold.
_BATCH: Final = 500
_BATCH_BYTES: Final = 4 * 2**20


class ThreadWriter:
    """Writes the records of one thread, in any order after the thread's own."""

    def __init__(self, transaction: Transaction, database: Database, thread_id: str) -> None:
        """
        Args:
            transaction: in which the thread is locked, and empty.
            store: the database.
            thread_id: the thread.
        """
        self._transaction = transaction
        self._database = database
        self._thread_id = thread_id
        self._ledger: SharedLedger | None = None
        self._stored: dict[tuple[str, str, str], bytes] = {}
        self._calls: dict[str, tuple[Statement, list[Mapping[str, Any]]]] = {}
        self._waiting = 0
        self._bytes = 0

    def add(self, record: ThreadRecord) -> None:
        """
        Raises:
            NotMoved: the database cannot hold it, or says something else of what the thread's tools have done.
        """
        sql = self._database.backend.sql
        if record.kind == THREAD:
            self._ledger = SharedLedger(self._transaction, self._database, self._thread_id, record.fields["lineage"])
        if record.kind == CHECKPOINT:
            self._send(*self._checkpoint(record.fields))
        elif record.kind != EFFECT:
            self._send((sql[f"move_{record.kind}"], {**record.fields, "thread_id": self._thread_id}))
        elif self._ledger is not None and self._ledger.takes(record):
            self._send((sql["move_effect"], record.fields))

    def end(self) -> None:
        """All records were added. What was sent is there when this returns.

        Raises:
            NotMoved: as `add`.
        """
        if self._ledger is not None:
            self._ledger.end()
        self._flush()

    def _checkpoint(self, fields: dict[str, Any]) -> list[Call]:
        backend = self._database.backend
        key = CheckpointKey(self._thread_id, fields["ns"], fields["checkpoint_id"])
        parts = CanonicalCheckpoint(
            fields["document"], {name: CanonicalValue(*value) for name, value in fields["values"].items()}
        )
        document, values, versions = None, [], parts.document["channel_versions"]
        if backend.whole:
            values = [StoredValue("", *to_whole(parts))]
        else:
            try:
                document, values = to_document(parts)
            except NotStorable as error:
                raise NotMoved(self._thread_id, f"in checkpoint {key.checkpoint_id}: {error}") from error
            values = [value for value in values if self._is_new(key, value, str(versions[value.channel]))]
        return backend.save_checkpoint(key, fields["parent_id"], document, values, versions, fields["metadata"])

    def _is_new(self, key: CheckpointKey, value: StoredValue, version: str) -> bool:
        """Whether a value is not there yet: most are those of the checkpoint before."""
        digest = blake2b(value.blob or b"", digest_size=16, key=value.type.encode()).digest()
        before = self._stored.setdefault((key.ns, value.channel, version), digest)
        if before is digest:
            return True
        if before != digest:
            raise NotMoved(
                self._thread_id,
                f"checkpoint {key.checkpoint_id} has another value of channel {value.channel!r} than an earlier one, "
                "under the same version, of which PostgreSQL keeps one value. A node has changed its state in place. "
                "Prune the thread, and repeat this.",
            )
        return False

    def _send(self, *calls: Call) -> None:
        for statement, params in calls:
            self._calls.setdefault(statement.name, (statement, []))[1].append(params)
            self._bytes += sum(len(value) for value in params.values() if isinstance(value, bytes | str))
        self._waiting += len(calls)
        if self._waiting >= _BATCH or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        # No row needs another one to be there first.
        for statement, rows in self._calls.values():
            self._transaction.send_many(statement, rows)
        self._transaction.run([])
        self._calls, self._waiting, self._bytes = {}, 0, 0


class SharedLedger:
    """What a thread's tools have done, which it shares with its copies. Those that are here already are not told
    anything new by one that arrives: it would change what they may run."""

    def __init__(self, transaction: Transaction, database: Database, thread_id: str, lineage: str | None) -> None:
        self._thread_id = thread_id
        self._lineage = lineage or thread_id
        self._transaction = transaction
        self._sql = database.backend.sql
        params = {"thread_id": thread_id, "lineage": self._lineage}
        everything = {**params, "effect_key": "", "limit": 2**31 - 1}
        relatives, effects = transaction.run(
            [(self._sql["relatives"], params), (self._sql["page_of_effect"], everything)]
        )
        self._relative = str(relatives[0][0]) if relatives else None
        self._there = {
            record_bytes(ThreadRecord(EFFECT, dict(zip(RECORDS[EFFECT], effect, strict=True)))) for effect in effects
        }
        self._is_shared = bool(relatives or effects)
        self._met = 0

    def takes(self, record: ThreadRecord) -> bool:
        """Whether it is to be written.

        Raises:
            NotMoved: the ledger is here, and does not say this.
        """
        if self._is_shared:
            if record_bytes(record) not in self._there:
                self._refuse()
            self._met += 1
            return False
        ran_in = record.fields["thread_id"]
        if record.fields["lineage"] != self._lineage:
            self._refuse()
        if ran_in not in {self._thread_id, self._lineage}:
            params = {"thread_id": ran_in, "lineage": self._lineage}
            [[(is_stranger,)]] = self._transaction.run([(self._sql["is_stranger"], params)])
            if is_stranger:
                self._refuse()
        return True

    def end(self) -> None:
        """
        Raises:
            NotMoved: the ledger that is here says more.
        """
        if self._met < len(self._there):
            self._refuse()

    def _refuse(self) -> None:
        with_whom = f", which it shares with thread {self._relative!r}" if self._relative else ""
        raise NotMoved(
            self._thread_id,
            f"what its tools have done is on record there in another way{with_whom}. Move a thread and its copies "
            "together, into a database that has none of them.",
        )
