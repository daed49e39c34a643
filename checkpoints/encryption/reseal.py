"""The encryption of all that is stored of a thread, in the transaction in which the thread is locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Backend, Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.encryption.keys_of_threads import give_key
from holdfast.checkpoints.encryption.records import open_record, seal_record
from holdfast.checkpoints.encryption.sealer import KeyedSealer
from holdfast.checkpoints.serde.encryption import Plain, Sealer

_PAGE: Final = 200  # rows that one statement reads


class _Kind(NamedTuple):
    """A kind of records: how they are read in pages, and replaced."""

    key: Mapping[str, Any]
    """The columns by which the pages are ordered, each with what is below all values."""
    replace: str
    """The statement that replaces one."""


_NO: Final = -(2**31)
_WRITE_KEY: Final = {"ns": "", "checkpoint_id": "", "task_id": "", "idx": _NO}

_KINDS: Final[Mapping[str, _Kind]] = {
    "message": _Kind({"seq": _NO}, "reseal_message"),
    "event": _Kind({"no": _NO}, "redact_event"),
    "write": _Kind(_WRITE_KEY, "set_write"),
    "run_write": _Kind({**_WRITE_KEY, "run_id": ""}, "redact_run_write"),
    "interrupt": _Kind({"interrupt_id": ""}, "reseal_interrupt"),
    "effect": _Kind({"effect_key": ""}, "reseal_effect"),
    "run": _Kind({"number": _NO}, "reseal_run"),
}


class Resealing:
    """The encryption of what a thread has, as it is stored now, with the thread's key."""

    def __init__(self, transaction: Transaction, backend: Backend, opener: Sealer, was: str, thread_id: str) -> None:
        """
        Args:
            transaction: the transaction, in which the thread is locked and has its key.
            backend: the database.
            opener: opens what is stored.
            was: the thread that what is stored was encrypted for.
            thread_id: the thread.
        """
        self._transaction = transaction
        self._backend = backend
        self._opener, self._sealer = opener, backend.sealer
        self._was, self._thread_id = was, thread_id
        self._place = {"thread_id": thread_id}

    def run(self) -> None:
        """Encrypt everything.

        Raises:
            DamagedThread: something cannot be read.
        """
        [rows] = self._transaction.run([(self._backend.sql["page_of_thread"], self._place)])
        for row in rows:
            self._replace("thread", row, "reseal_thread")
        lineage = next((row.lineage for row in rows), None) or self._thread_id
        for name, kind in _KINDS.items():
            for row in self._pages(f"page_of_{name}", kind.key, {"lineage": lineage}):
                # The ledger is that of all copies; its entries belong to the thread in which each ran.
                if name != "effect" or (row.thread_id == self._thread_id == self._was):
                    self._replace(name, row, kind.replace)
        self._values()
        self._documents()

    def _replace(self, kind: str, row: Row, statement: str) -> None:
        stored = row._asdict()
        opened = {**stored, **open_record(self._opener, self._was, kind, stored)}
        if kind == "message" and opened["redacted_at"] is not None and not self._opener.encrypts:
            # Of the original, nothing but the digest is left.
            key = self._sealer.digest_key(self._thread_id)
            opened["digest"] = blake2b(bytes(opened["digest"]), digest_size=16, key=key).digest()
        sealed = seal_record(self._sealer, self._thread_id, kind, opened)
        self._send(statement, {**opened, **sealed, **self._place})

    def _values(self) -> None:
        for row in self._pages("page_of_value", {"ns": "", "channel": "", "version": ""}, {}):
            versions = {"channel_versions": {row.channel: row.version}}
            place = self._backend.value_place(CheckpointKey("", row.ns, row.version), row.channel, versions)
            opened = self._opener.open_value(self._was, place, row.type, bytes(row.blob or b""))
            type_, blob = self._sealer.seal_value(self._thread_id, place, *opened)
            at = {"ns": row.ns, "channel": row.channel, "version": row.version}
            self._send("redact_value", {**at, **self._place, "type": type_, "blob": blob})

    def _documents(self) -> None:
        for row in self._pages("page_of_document", {"ns": "", "checkpoint_id": ""}, {}):
            document, metadata = self._backend.open_document(row, self._was, self._opener)
            key = CheckpointKey(self._thread_id, row.ns, row.checkpoint_id)
            self._transaction.send([self._backend.rewrite_document(key, document, metadata)])

    def _pages(self, statement: str, first: Mapping[str, Any], more: Mapping[str, Any]) -> Iterator[Row]:
        after = {**self._place, **more, **first}
        while True:
            [rows] = self._transaction.run([(self._backend.sql[statement], {**after, "limit": _PAGE})])
            yield from rows
            if len(rows) < _PAGE:
                return
            after |= {name: getattr(rows[-1], name) for name in first}

    def _send(self, statement: str, params: Mapping[str, Any]) -> None:
        call: Call = (self._backend.sql[statement], params)
        self._transaction.send([call])


def encrypt_thread(backend: Backend, sealer: KeyedSealer, thread_id: str) -> bool:
    """Encrypt a thread that is not encrypted yet, in one transaction. Idempotent.

    Returns:
        Whether the thread exists; then it has a key.

    Raises:
        DamagedThread: something of it cannot be read. Nothing was changed.
    """
    encrypted = persist(backend, partial(_encrypt, backend, sealer, thread_id))
    sealer.forget(thread_id)
    return encrypted


def _encrypt(backend: Backend, sealer: KeyedSealer, thread_id: str) -> bool:
    sql, place = backend.sql, {"thread_id": thread_id}
    with backend.writing() as transaction:
        names = ("adopt_thread", "lock_thread", "index_state")
        _, rows, states = transaction.run([(sql[name], place) for name in names])
        if not rows:
            return False
        if rows[0].key_no is None:
            if sealer.keyring.find(thread_id) is None:
                sealer.keyring.make(thread_id)
            give_key(transaction, backend, sealer, thread_id)
            Resealing(transaction, backend, Plain(), thread_id, thread_id).run()
            is_searched = any(state.searched for state in states)
            if is_searched:
                transaction.send(backend.full_text.remove(thread_id))
            transaction.send([(sql["was_encrypted"], place)])
            if is_searched:
                backend.full_text.clean(transaction)
    return True
