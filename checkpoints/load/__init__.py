"""Loading: from stored rows to checkpoints. Messages are made of message rows, or of templates that are cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, writes_sort_key

from holdfast.checkpoints.backends.base import Backend, Transaction
from holdfast.checkpoints.backends.canonical import with_sends
from holdfast.checkpoints.backends.records import (
    CheckpointKey,
    Row,
    StoredCheckpoint,
    StoredValue,
    StoredWrite,
    Wanted,
    write_place,
)
from holdfast.checkpoints.core.conflicts import LoadedThread
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.placement import UNCLAIMED, rank
from holdfast.checkpoints.errors import OF_ALTERED_DATA, DamagedThread, NotStorable, row_explained
from holdfast.checkpoints.load.garbage import Paused
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.known import Known, Template, contents_of
from holdfast.checkpoints.serde.messages import MessageRow, decode, digest
from holdfast.checkpoints.serde.types import LOADING, Types
from holdfast.checkpoints.serde.values import Attachable, Make


class RawCheckpoint(NamedTuple):
    """A stored checkpoint with all that is needed to decode it after the transaction."""

    stored: StoredCheckpoint
    values: list[Attachable]
    writes: list[Attachable]
    """In the order of `stored.writes`."""
    sends: list[Attachable]
    """In the order of `stored.sends`."""
    rows: MessageRows


def find(transaction: Transaction, database: Database, wanted: Wanted) -> list[RawCheckpoint]:
    """Read the wanted checkpoints with their message rows, newest first.

    Raises:
        DamagedThread: the references to message rows in a value cannot be read.
    """
    return with_rows(transaction, database, database.backend.find(transaction, wanted))


def with_rows(
    transaction: Transaction, database: Database, checkpoints: Iterable[StoredCheckpoint]
) -> list[RawCheckpoint]:
    """Open the values of stored checkpoints, and read their message rows.

    Raises:
        DamagedThread: as `find`.
    """
    opened = _Opened(database, checkpoints)
    rows = {
        thread_id: MessageRows(
            thread_id, _load_rows(transaction, database.backend, thread_id, seqs), opened.templates[thread_id], database
        )
        for thread_id, seqs in opened.needed.items()
    }
    return opened.raw(rows)


def find_known(transaction: Transaction, database: Database, wanted: Wanted) -> list[RawCheckpoint] | None:
    """Do as `find` in one statement, if the cache has all message rows; else return `None`."""
    opened = _Opened(database, database.backend.find(transaction, wanted))
    if any(opened.needed.values()):
        return None
    return opened.raw(
        {thread_id: MessageRows(thread_id, {}, opened.templates[thread_id], database) for thread_id in opened.needed}
    )


class _Opened:
    """Stored checkpoints whose values are opened, and the message rows that they need."""

    def __init__(self, database: Database, checkpoints: Iterable[StoredCheckpoint]) -> None:
        self._parts: list[tuple[StoredCheckpoint, list[Attachable], list[Attachable], list[Attachable]]] = []
        self.needed: dict[str, set[int]] = {}
        """By thread: the rows that the cache does not have."""
        self.templates: dict[str, Mapping[int, Template]] = {}
        """By thread: those that it has."""
        for found in checkpoints:
            stored = found
            if found.writes or found.sends:
                with explained(found.thread_id, found.checkpoint_id, ""):
                    stored = found._replace(writes=in_order(found.writes), sends=in_order(found.sends))
            key = CheckpointKey(stored.thread_id, stored.ns, stored.checkpoint_id)
            values = [_open_channel(database, stored, key, value) for value in stored.values]
            pending = [_open_write(database, stored, key, write) for write in stored.writes]
            parent = key._replace(checkpoint_id=stored.parent_id or "")
            sends = [_open_write(database, stored, parent, write) for write in stored.sends]
            self._parts.append((stored, values, pending, sends))
            if (known := self.templates.get(stored.thread_id)) is None:
                known = database.cache.templates(stored.thread_id, stored.generation)
                self.templates[stored.thread_id] = known
            seqs = self.needed.setdefault(stored.thread_id, set())
            for part in (*values, *pending, *sends):
                for refs in part.lists:
                    seqs.update(abs(ref) for ref in refs if ref not in known)

    def raw(self, rows: Mapping[str, MessageRows]) -> list[RawCheckpoint]:
        """Return the checkpoints with their rows."""
        return [
            RawCheckpoint(stored, values, pending, sends, rows[stored.thread_id])
            for stored, values, pending, sends in self._parts
        ]


def versions_of(
    transaction: Transaction, database: Database, key: CheckpointKey
) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
    """Return the versions of a checkpoint's channels, and those that each node has seen. No value is rebuilt.

    Raises:
        DamagedThread: the checkpoint is gone, or cannot be read.
        NotStorable: a value is in a form that only a stock saver reads.
    """
    found = find(transaction, database, Wanted(1, key.thread_id, key.ns, key.checkpoint_id))
    with explained(key.thread_id, key.checkpoint_id, ""):
        [raw] = found
        parts = {part.channel: part for part in raw.values if not part.is_empty}
        document = database.backend.to_canonical(raw.stored.document, parts).document
        return document["channel_versions"], document["versions_seen"]


def in_order(writes: Iterable[StoredWrite]) -> list[StoredWrite]:
    """Return writes in the order in which LangGraph applies them."""
    return sorted(writes, key=_place_of_write)


def _place_of_write(write: StoredWrite) -> Any:
    return writes_sort_key(write.task_path, write.task_id, write.idx)


class MessageRows:
    """Message rows of a thread, from which any number of new message objects can be made."""

    def __init__(
        self, thread_id: str, rows: Mapping[int, Row], templates: Mapping[int, Template], database: Database
    ) -> None:
        self.known: list[Known] = []
        """What `make_known` has made, to be cached."""
        self.new_templates: dict[int, Template] = {}
        """Templates of rows that `make_known` has decoded, by reference, to be cached."""
        self._thread_id = thread_id
        self._stored = rows
        self._decrypted: dict[int, MessageRow] = {}
        self._templates = templates
        self._types = database.types
        self._sealer = database.sealer

    def make(self, refs: Sequence[int]) -> list[BaseMessage]:
        """Return a new message object for each reference (see `ranges`).

        Raises:
            DamagedThread: a row is missing, or is not what was saved.
            NotStorable: a type within a message is not allowed or no longer exists.
        """
        templates = self._templates
        with Paused(len(refs)):
            return [
                template.make() if (template := templates.get(ref)) is not None else self._decode(ref) for ref in refs
            ]

    def make_known(self, refs: Sequence[int], ns: str) -> list[BaseMessage]:
        """Do as `make`, and note what to cache of each message before a caller can change it."""
        messages: list[BaseMessage] = []
        templates, known, lowest = self._templates, self.known, rank(ns, "")
        with Paused(len(refs)):
            for ref in refs:
                template = templates.get(ref) or self.new_templates.get(ref)
                if template is None:
                    message = self._decode(ref)
                    template = self._template_of(ref, message)
                else:
                    message = template.make()
                messages.append(message)
                if template is not None:
                    known.append(Known(message, template.contents, ref, template.rank <= lowest))
        return messages

    def _template_of(self, ref: int, message: BaseMessage) -> Template | None:
        mark = contents_of(message)
        if mark is None:
            return None
        stored = self._stored[abs(ref)]
        template = Template(type(message), mark, rank(stored.ns, stored.channel) if stored.committed else UNCLAIMED)
        if stored.committed and not stored.redacted:
            self.new_templates[ref] = template
        return template

    def _decode(self, ref: int) -> BaseMessage:
        row = self.row(abs(ref))
        try:
            return decode(row, self._types, with_id=ref > 0)
        except NotStorable:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DamagedThread(self._thread_id, f"message row {abs(ref)} cannot be read ({error})") from error

    def row(self, seq: int) -> MessageRow:
        """Return a row as it was saved; decrypt and check it when it is first needed."""
        if (row := self._decrypted.get(seq)) is not None:
            return row
        if (stored := self._stored.get(seq)) is None:
            raise DamagedThread(self._thread_id, f"message row {seq} is missing")
        columns = MessageRow(
            stored.message_id, stored.digest, stored.codec, stored.role, stored.name, stored.content, stored.body
        )
        row = self._sealer.open_row(self._thread_id, seq, stored.key_no, columns)
        # A redacted row keeps the digest of the original; an encrypted one is authenticated together with its digest.
        if stored.key_no is None and not stored.redacted and not self._is_as_saved(row):
            raise DamagedThread(self._thread_id, f"message row {seq} is not what was saved (its digest differs)")
        self._decrypted[seq] = row
        return row

    def _is_as_saved(self, row: MessageRow) -> bool:
        try:
            return digest(row.role, row.content, row.body) == row.digest
        except (TypeError, AttributeError, ValueError):  # SQLite's columns take values of any type
            return False


def to_tuple(
    raw: RawCheckpoint, database: Database, *, loaded: LoadedThread | None = None, remember: bool = False
) -> CheckpointTuple:
    """Decode a checkpoint. Every call makes new message objects, because callers change messages in place.

    Args:
        raw: the checkpoint.
        database: the open database.
        loaded: what a run knows of the thread that loads the checkpoint as the head.
        remember: whether to note in `raw.rows` what to cache of the messages.

    Raises:
        DamagedThread: a message row is missing or altered, or bytes are damaged.
        NotStorable: a newer version made it.
    """
    stored, parts, pending, sends, rows = raw
    make: Make = partial(rows.make_known, ns=stored.ns) if remember else rows.make
    values = {part.channel: _attach(stored, part, make, database.types) for part in parts if not part.is_empty}
    writes = [
        (write.task_id, write.channel, _attach(stored, part, rows.make, database.types))
        for write, part in zip(stored.writes, pending, strict=True)
    ]
    with explained(stored.thread_id, stored.checkpoint_id, ""):
        checkpoint: Any = database.backend.join(stored.document, values)
        # Altered bytes may still decode to some value.
        if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get("channel_values"), dict)):
            raise TypeError("it is no checkpoint")
        if sends:
            with_sends(checkpoint, [_attach(stored, part, rows.make, database.types) for part in sends])
    checkpoint_id = stored.checkpoint_id if loaded is None else database.loads.mark(stored.checkpoint_id, loaded)
    config = {"thread_id": stored.thread_id, "checkpoint_ns": stored.ns, "checkpoint_id": checkpoint_id}
    parent = {"thread_id": stored.thread_id, "checkpoint_ns": stored.ns, "checkpoint_id": stored.parent_id}
    return CheckpointTuple(
        config={"configurable": config},
        checkpoint=cast("Checkpoint", checkpoint),
        metadata=stored.metadata,  # type: ignore[arg-type]  # it is what `put` was given
        parent_config={"configurable": parent} if stored.parent_id else None,
        pending_writes=writes,
    )


def _open_channel(database: Database, stored: StoredCheckpoint, key: CheckpointKey, value: StoredValue) -> Attachable:
    with row_explained(stored.thread_id, f"checkpoint {stored.checkpoint_id}"):
        place = database.backend.value_place(key, value.channel, stored.document)
    return _open(database, stored, place, value)


def _open(database: Database, stored: StoredCheckpoint, location: str, value: StoredValue) -> Attachable:
    with explained(stored.thread_id, stored.checkpoint_id, value.channel):
        return Attachable(
            value.channel, *database.sealer.open_value(stored.thread_id, location, value.type, value.blob or b"")
        )


def _open_write(database: Database, stored: StoredCheckpoint, key: CheckpointKey, write: StoredWrite) -> Attachable:
    """Open a write on the checkpoint `key`, which is `stored` or its parent."""
    value = StoredValue(write.channel, write.type, write.blob)
    with row_explained(stored.thread_id, f"a write on checkpoint {key.checkpoint_id}"):
        place = write_place(key, write.task_id, write.idx)
    return _open(database, stored, place, value)


def _attach(stored: StoredCheckpoint, part: Attachable, make: Make, types: Types) -> Any:
    with explained(stored.thread_id, stored.checkpoint_id, part.channel):
        return part.attach(make, types)


class explained:  # noqa: N801 - as a context manager of the standard library
    """Makes errors in the block name the thread, the checkpoint and the channel. Altered bytes fail in many ways."""

    __slots__ = ("_channel", "_checkpoint_id", "_thread_id", "_token")

    def __init__(self, thread_id: str, checkpoint_id: str, channel: str) -> None:
        self._thread_id, self._checkpoint_id, self._channel = thread_id, checkpoint_id, channel

    def __enter__(self) -> None:
        self._token = LOADING.set(self._thread_id)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        LOADING.reset(self._token)
        if error is None:
            return
        channel = f"channel {self._channel!r} of " if self._channel else ""
        where = f"{channel}checkpoint {self._checkpoint_id}"
        if isinstance(error, NotStorable):
            raise NotStorable(f"In thread {self._thread_id!r}, {where}: {error}") from error
        if isinstance(error, OF_ALTERED_DATA):
            raise DamagedThread(self._thread_id, f"{where} cannot be read ({error})") from error


def rows_of(transaction: Transaction, database: Database, thread_id: str, seqs: Iterable[int]) -> MessageRows:
    """Read some message rows of a thread."""
    return MessageRows(thread_id, _load_rows(transaction, database.backend, thread_id, seqs), {}, database)


def _load_rows(transaction: Transaction, backend: Backend, thread_id: str, seqs: Iterable[int]) -> dict[int, Row]:
    calls = [
        (backend.sql["load_rows"], {"thread_id": thread_id, "first": first, "last": last})
        for first, last in ranges.spans(seqs)
    ]
    if not calls:  # even an empty run is a round trip on PostgreSQL
        return {}
    return {row.seq: row for rows in transaction.run(calls) for row in rows}
