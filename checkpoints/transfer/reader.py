"""Reader of a thread's records from a database, within a transaction and in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.canonical import FORMS, CanonicalCheckpoint, canonical_list, version_of_sends
from holdfast.checkpoints.backends.records import (
    CheckpointKey,
    Row,
    StoredCheckpoint,
    StoredValue,
    StoredWrite,
    write_place,
)
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.records import open_record
from holdfast.checkpoints.errors import DamagedThread, NotMoved, NotStorable, row_explained
from holdfast.checkpoints.langgraph_internals import TASKS
from holdfast.checkpoints.load import explained, in_order
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.messages import digest
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.transfer.records import (
    CHECKPOINT,
    KEYS,
    MESSAGE,
    RECORDS,
    THREAD,
    WRITE,
    FieldType,
    ThreadRecord,
    canonical_json,
)
from holdfast.checkpoints.transfer.references import MessageSeqs

_PAGE: Final = 500  # records that one query reads

# Checkpoints that one query reads; fewer if they are large.
_FIRST_PAGE: Final = 8
_LARGEST_PAGE: Final = 128
_PAGE_BYTES: Final = 4 * 2**20

_NEW: Final[dict[str, Any]] = {"next_seq": 1, "unfinished": 0, "messages": 0, "bytes": 0, "live_from": 1}
_LOWEST: Final[dict[FieldType, Any]] = {FieldType.KEY: "", FieldType.INT: -(2**31), FieldType.LONG: -(2**31)}


def read_records(transaction: Transaction, database: Database, thread_id: str) -> Iterator[ThreadRecord]:
    """Yield the records of a thread, the thread's own first. A thread that does not exist yields nothing.

    Raises:
        DamagedThread: a part of the thread cannot be read.
        NotMoved: a part of the thread has no form that another database could hold.
    """
    thread = _thread(transaction, database, thread_id)
    if thread is None:
        return
    yield thread
    place = {"thread_id": thread_id, "lineage": thread.fields["lineage"] or thread_id}
    seqs = MessageSeqs()
    for kind in RECORDS:
        if kind == CHECKPOINT:
            yield from _checkpoints(transaction, database, thread_id, seqs)
        elif kind != THREAD:
            for row in _rows(transaction, database, kind, place):
                yield _record(database.sealer, kind, row, thread_id, seqs)


def _thread(transaction: Transaction, database: Database, thread_id: str) -> ThreadRecord | None:
    """Return a thread's own record. That of a thread without a row, of a stock saver, is made from its checkpoints."""
    params = {"thread_id": thread_id}
    rows, [span] = transaction.run(
        [(database.backend.sql["page_of_thread"], params), (database.backend.sql["span_of_thread"], params)]
    )
    if rows:
        fields = dict(zip(RECORDS[THREAD], rows[0], strict=True))
        return ThreadRecord(THREAD, {**fields, **open_record(database.sealer, thread_id, THREAD, fields)})
    if span.first is None:
        return None
    times = {"created_at": moment_of(span.first) or 0.0, "updated_at": moment_of(span.newest) or 0.0}
    return ThreadRecord(THREAD, {**dict.fromkeys(RECORDS[THREAD]), **_NEW, **times})


def _rows(transaction: Transaction, database: Database, kind: str, place: dict[str, Any]) -> Iterator[Row]:
    statement = database.backend.sql[f"page_of_{kind}"]
    after = {name: _LOWEST[RECORDS[kind][name].type] for name in KEYS[kind]}
    while True:
        [page] = transaction.run([(statement, {**place, **after, "limit": _PAGE})])
        yield from page
        if len(page) < _PAGE:
            return
        after = {name: getattr(page[-1], name) for name in KEYS[kind]}


def _record(sealer: Sealer, kind: str, row: Row, thread_id: str, seqs: MessageSeqs) -> ThreadRecord:
    stored = row._asdict()
    fields: dict[str, Any] = {**stored, **open_record(sealer, thread_id, kind, stored)}
    if kind == MESSAGE:
        return _message(fields, thread_id, seqs)
    if kind == WRITE:
        fields["type"], fields["blob"] = fields["type"] or "null", fields["blob"] or b""
        if fields["type"] not in FORMS:
            raise NotMoved(
                thread_id,
                f"a write on checkpoint {fields['checkpoint_id']} is in the form {fields['type']!r}: a pickle, or from "
                "a LangGraph before it used msgpack. Continue the thread, and prune it.",
            )
        with explained(thread_id, fields["checkpoint_id"], fields["channel"]):
            _opened(fields["channel"], fields["type"], fields["blob"], seqs)
    return ThreadRecord(kind, fields)


def _message(fields: dict[str, Any], thread_id: str, seqs: MessageSeqs) -> ThreadRecord:
    if fields.pop("key_no") is not None:
        raise NotMoved(thread_id, f"its message row {fields['seq']} is encrypted. Give the keys of this database.")
    # A redacted row keeps the digest of the original message.
    with row_explained(thread_id, f"message row {fields['seq']}"):
        actual = digest(fields["role"], fields["content"], fields["body"])
    if fields["redacted_at"] is None and actual != fields["digest"]:
        raise DamagedThread(thread_id, f"message row {fields['seq']} is not what was saved (its digest differs)")
    seqs.add(fields["seq"])
    return ThreadRecord(MESSAGE, fields)


def _opened(channel: str, type_: str, blob: bytes, seqs: MessageSeqs) -> Attachable:
    """Open a stored value, and check that its message rows exist.

    Raises:
        ValueError: the value is damaged, or a row is missing.
    """
    part = Attachable(channel, type_, blob)
    seqs.check(type_, blob)
    return part


def _value(database: Database, key: CheckpointKey, value: StoredValue, document: Any, seqs: MessageSeqs) -> Attachable:
    place = database.backend.value_place(key, value.channel, document)
    opened = database.sealer.open_value(key.thread_id, place, value.type, value.blob or b"")
    return _opened(value.channel, *opened, seqs)


def _send(database: Database, parent: CheckpointKey, write: StoredWrite, seqs: MessageSeqs) -> Attachable:
    place = write_place(parent, write.task_id, write.idx)
    return _opened(
        write.channel, *database.sealer.open_value(parent.thread_id, place, write.type, write.blob or b""), seqs
    )


def _checkpoints(
    transaction: Transaction, database: Database, thread_id: str, seqs: MessageSeqs
) -> Iterator[ThreadRecord]:
    after, limit = ("", ""), _FIRST_PAGE
    while True:
        page = database.backend.page(transaction, thread_id, after, limit)
        for stored in page:
            yield _checkpoint(database, stored, seqs)
        if len(page) < limit:
            return
        after = page[-1].ns, page[-1].checkpoint_id
        size = sum(len(value.blob or b"") for stored in page for value in stored.values)
        limit = min(limit * 2, _LARGEST_PAGE) if size < _PAGE_BYTES else max(limit // 2, 1)


def _checkpoint(database: Database, stored: StoredCheckpoint, seqs: MessageSeqs) -> ThreadRecord:
    try:
        with explained(stored.thread_id, stored.checkpoint_id, ""):
            key = CheckpointKey(stored.thread_id, stored.ns, stored.checkpoint_id)
            opened = [_value(database, key, value, stored.document, seqs) for value in stored.values]
            parts = {part.channel: part for part in opened if not part.is_empty}
            canonical = database.backend.to_canonical(stored.document, parts)
            if stored.sends:
                parent = key._replace(checkpoint_id=stored.parent_id or "")
                sends = [_send(database, parent, write, seqs) for write in in_order(stored.sends)]
                versions = version_of_sends(canonical.document["channel_versions"])
                canonical = CanonicalCheckpoint(
                    {**canonical.document, "channel_versions": versions},
                    {**canonical.values, TASKS: canonical_list(sends)},
                )
            document, metadata = canonical_json(canonical.document), canonical_json(stored.metadata)
    except NotStorable as error:
        raise NotMoved(stored.thread_id, str(error)) from error
    return ThreadRecord(
        CHECKPOINT,
        {
            "ns": stored.ns,
            "checkpoint_id": stored.checkpoint_id,
            "parent_id": stored.parent_id or None,
            "document": document,
            "metadata": metadata,
            "values": canonical.values,
        },
    )
