"""The records of a thread as they are taken out of a database, within a transaction and in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from holdfast.checkpoints.backends.base import Row, StoredCheckpoint, Transaction
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained
from holdfast.checkpoints.errors import DamagedThread, NotMoved, NotStorable
from holdfast.checkpoints.serde.encryption import Plain
from holdfast.checkpoints.serde.messages import digest
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.transfer.canonical import FORMS, MessageSeqs, from_document, from_whole
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

_ROWS: Final = 500  # records that are read at once

# Checkpoints that are read at once: of large ones fewer.
_FIRST_PAGE: Final = 8
_LARGEST_PAGE: Final = 128
_PAGE_BYTES: Final = 4 * 2**20

_NEW: Final[dict[str, Any]] = {"next_seq": 1, "unfinished": 0, "messages": 0, "bytes": 0, "live_from": 1}
_LOWEST: Final[dict[FieldType, Any]] = {FieldType.KEY: "", FieldType.INT: -(2**31), FieldType.LONG: -(2**31)}


def read_records(transaction: Transaction, database: Database, thread_id: str) -> Iterator[ThreadRecord]:
    """A thread. The first record is the thread's own; of one that is not there come none.

    Raises:
        DamagedThread: something of it cannot be read.
        NotMoved: something of it has no form that another database could hold, or it is encrypted.
    """
    if not isinstance(database.sealer, Plain):
        raise NotMoved(thread_id, "it is encrypted, and an encrypted thread cannot be moved yet.")
    thread = _thread(transaction, database, thread_id)
    if thread is None:
        return
    yield thread
    place = {"thread_id": thread_id, "lineage": thread.fields["lineage"] or thread_id}
    rows = MessageSeqs()
    for kind in RECORDS:
        if kind == CHECKPOINT:
            yield from _checkpoints(transaction, database, thread_id, rows)
        elif kind != THREAD:
            for row in _rows(transaction, database, kind, place):
                yield _record(kind, row, thread_id, rows)


def _thread(transaction: Transaction, database: Database, thread_id: str) -> ThreadRecord | None:
    """The record of a thread itself; one of a stock saver has no row, and gets one with what is known of it."""
    params = {"thread_id": thread_id}
    rows, [(first, newest)] = transaction.run(
        [(database.backend.sql["page_of_thread"], params), (database.backend.sql["span_of_thread"], params)]
    )
    if rows:
        return ThreadRecord(THREAD, dict(zip(RECORDS[THREAD], rows[0], strict=True)))
    if first is None:
        return None
    begun = {"created_at": moment_of(first) or 0.0, "updated_at": moment_of(newest) or 0.0}
    return ThreadRecord(THREAD, {**dict.fromkeys(RECORDS[THREAD]), **_NEW, **begun})


def _rows(transaction: Transaction, database: Database, kind: str, place: dict[str, Any]) -> Iterator[Row]:
    statement, names = database.backend.sql[f"page_of_{kind}"], tuple(RECORDS[kind])
    after = {name: _LOWEST[RECORDS[kind][name].kind] for name in KEYS[kind]}
    while True:
        [found] = transaction.run([(statement, {**place, **after, "limit": _ROWS})])
        yield from found
        if len(found) < _ROWS:
            return
        after = {name: found[-1][names.index(name)] for name in KEYS[kind]}


def _record(kind: str, row: Row, thread_id: str, rows: MessageSeqs) -> ThreadRecord:
    if kind == MESSAGE:
        return _message(row, thread_id, rows)
    fields = dict(zip(RECORDS[kind], row, strict=True))
    if kind == WRITE:
        fields["type"], fields["blob"] = fields["type"] or "null", fields["blob"] or b""
        if fields["type"] not in FORMS:
            raise NotMoved(
                thread_id,
                f"what a task wrote on checkpoint {fields['checkpoint_id']} is in the form {fields['type']!r}, of a "
                "LangGraph before it used msgpack, or a pickle. Go on with the thread, and prune it.",
            )
        with explained(thread_id, fields["checkpoint_id"], fields["channel"]):
            _whole(fields["channel"], fields["type"], fields["blob"], rows)
    return ThreadRecord(kind, fields)


def _message(row: Row, thread_id: str, rows: MessageSeqs) -> ThreadRecord:
    *values, key_no = row
    fields = dict(zip(RECORDS[MESSAGE], values, strict=True))
    if key_no is not None:
        raise NotMoved(thread_id, f"its message row {fields['seq']} is encrypted, and no keys were given.")
    # A redacted row keeps the digest of what it was.
    said = digest(fields["role"], fields["content"], fields["body"])
    if fields["redacted_at"] is None and said != fields["digest"]:
        raise DamagedThread(thread_id, f"message row {fields['seq']} is not what was saved (its digest differs)")
    rows.add(fields["seq"])
    return ThreadRecord(MESSAGE, fields)


def _whole(channel: str, type_: str, blob: bytes, rows: MessageSeqs) -> Attachable:
    """A stored value, opened, that is not damaged and whose messages are there.

    Raises:
        ValueError: it is, or they are not.
    """
    part = Attachable(channel, type_, blob)
    rows.check(type_, blob)
    return part


def _checkpoints(
    transaction: Transaction, database: Database, thread_id: str, rows: MessageSeqs
) -> Iterator[ThreadRecord]:
    after, limit = ("", ""), _FIRST_PAGE
    while True:
        try:
            page = database.backend.page(transaction, thread_id, after, limit)
        except ValueError as error:
            raise DamagedThread(thread_id, f"the metadata of a checkpoint are no JSON ({error})") from error
        for stored in page:
            yield _checkpoint(database, stored, rows)
        if len(page) < limit:
            return
        after = page[-1].ns, page[-1].checkpoint_id
        size = sum(len(value.blob or b"") for stored in page for value in stored.values)
        limit = min(limit * 2, _LARGEST_PAGE) if size < _PAGE_BYTES else max(limit // 2, 1)


def _checkpoint(database: Database, stored: StoredCheckpoint, rows: MessageSeqs) -> ThreadRecord:
    try:
        with explained(stored.thread_id, stored.checkpoint_id, ""):
            opened = [_whole(value.channel, value.type, value.blob or b"", rows) for value in stored.values]
            found = {part.channel: part for part in opened if not part.is_empty}
            parts = from_whole(found[""]) if database.backend.whole else from_document(stored.document, found)
            document, metadata = canonical_json(parts.document), canonical_json(stored.metadata)
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
            "values": {channel: tuple(value) for channel, value in parts.values.items()},
        },
    )
