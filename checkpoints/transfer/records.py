"""The records that a thread consists of, in a form that is independent of the database, and their digest. No I/O.

A record is a row of one of Holdfast's tables, a checkpoint, or a write of a task. A thread has the same records in
every database, but in another order, since databases sort texts differently. So the digest ignores the order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import ormsgpack

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import sql_text


class FieldType(Enum):
    """The type of a record's field; its value completes the sentence 'the field is not …'."""

    KEY = "a short text"
    TEXT = "a text"
    INT = "an integer of 32 bits"
    LONG = "an integer of 64 bits"
    TIME = "a time in seconds"
    BYTES = "bytes"
    JSON = "an object"
    VALUES = "values by channel"


class Field(NamedTuple):
    """The definition of a record's field."""

    type: FieldType
    may_be_none: bool = False


def _fields(**types: FieldType) -> dict[str, Field]:
    """Define fields by name and type. A field whose name is given with two underscores at its end may be `None`."""
    return {name.removesuffix("__"): Field(type_, name.endswith("__")) for name, type_ in types.items()}


THREAD: Final = "thread"
MESSAGE: Final = "message"
EVENT: Final = "event"
CHECKPOINT: Final = "checkpoint"
WRITE: Final = "write"
EFFECT: Final = "effect"

RECORDS: Final[Mapping[str, Mapping[str, Field]]] = {
    # Without the columns that belong to one database: the generation, by which stale writers are refused, and the lease
    # queue's next ticket.
    THREAD: _fields(
        next_seq=FieldType.LONG,
        user_id__=FieldType.KEY,
        title__=FieldType.KEY,
        metadata__=FieldType.TEXT,
        head__=FieldType.KEY,
        unfinished=FieldType.INT,
        messages=FieldType.LONG,
        bytes=FieldType.LONG,
        prompt__=FieldType.BYTES,
        live_from=FieldType.LONG,
        origin_thread_id__=FieldType.KEY,
        origin_checkpoint_id__=FieldType.KEY,
        lineage__=FieldType.KEY,
        created_at=FieldType.TIME,
        updated_at=FieldType.TIME,
    ),
    MESSAGE: _fields(
        seq=FieldType.LONG,
        message_id__=FieldType.TEXT,
        digest=FieldType.BYTES,
        codec=FieldType.INT,
        role=FieldType.TEXT,
        name__=FieldType.TEXT,
        content__=FieldType.TEXT,
        body=FieldType.BYTES,
        ns=FieldType.TEXT,
        channel=FieldType.TEXT,
        checkpoint_id__=FieldType.KEY,
        run_id__=FieldType.TEXT,
        step__=FieldType.INT,
        user_id__=FieldType.TEXT,
        origin_thread_id__=FieldType.KEY,
        origin_seq__=FieldType.LONG,
        created_at=FieldType.TIME,
        redacted_at__=FieldType.TIME,
    ),
    EVENT: _fields(
        no=FieldType.LONG,
        after_seq=FieldType.LONG,
        kind=FieldType.TEXT,
        actor__=FieldType.TEXT,
        data__=FieldType.TEXT,
        at=FieldType.TIME,
    ),
    CHECKPOINT: _fields(
        ns=FieldType.KEY,
        checkpoint_id=FieldType.KEY,
        parent_id__=FieldType.KEY,
        document=FieldType.JSON,
        metadata=FieldType.JSON,
        values=FieldType.VALUES,
    ),
    WRITE: _fields(
        ns=FieldType.KEY,
        checkpoint_id=FieldType.KEY,
        task_id=FieldType.KEY,
        idx=FieldType.INT,
        task_path=FieldType.TEXT,
        channel=FieldType.TEXT,
        type=FieldType.TEXT,
        blob=FieldType.BYTES,
    ),
    "run_write": _fields(
        ns=FieldType.KEY,
        checkpoint_id=FieldType.KEY,
        task_id=FieldType.KEY,
        idx=FieldType.INT,
        run_id=FieldType.KEY,
        channel__=FieldType.TEXT,
        type__=FieldType.TEXT,
        blob__=FieldType.BYTES,
        written_at=FieldType.TIME,
    ),
    "interrupt": _fields(
        interrupt_id=FieldType.KEY,
        ns=FieldType.KEY,
        checkpoint_id=FieldType.KEY,
        task_id=FieldType.KEY,
        asked_at=FieldType.TIME,
        expires_at__=FieldType.TIME,
        answered_at__=FieldType.TIME,
        answered_by__=FieldType.TEXT,
        answer_type__=FieldType.TEXT,
        answer__=FieldType.BYTES,
        answer_digest__=FieldType.BYTES,
        run_id__=FieldType.TEXT,
        closed_at__=FieldType.TIME,
        closed_why__=FieldType.TEXT,
    ),
    "member": _fields(
        user_id=FieldType.KEY,
        owner_id=FieldType.KEY,
        added_at=FieldType.TIME,
    ),
    EFFECT: _fields(
        lineage=FieldType.KEY,
        effect_key=FieldType.KEY,
        thread_id=FieldType.KEY,
        tool=FieldType.TEXT,
        args_digest=FieldType.BYTES,
        state=FieldType.TEXT,
        attempt=FieldType.INT,
        owner=FieldType.TEXT,
        alive_until=FieldType.TIME,
        why__=FieldType.TEXT,
        interrupt_id__=FieldType.TEXT,
        decision__=FieldType.TEXT,
        decided_by__=FieldType.TEXT,
        decided_at__=FieldType.TIME,
        result_type__=FieldType.TEXT,
        result__=FieldType.BYTES,
        run_id__=FieldType.TEXT,
        started_at=FieldType.TIME,
        finished_at__=FieldType.TIME,
    ),
}
"""The fields of each kind of record, in the order of the columns of the statements `page_of_…`, and under the names of
the parameters of the statements `move_…`."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    THREAD: (),
    MESSAGE: ("seq",),
    EVENT: ("no",),
    CHECKPOINT: ("ns", "checkpoint_id"),
    WRITE: ("ns", "checkpoint_id", "task_id", "idx"),
    "run_write": ("ns", "checkpoint_id", "task_id", "idx", "run_id"),
    "interrupt": ("interrupt_id",),
    "member": ("user_id",),
    EFFECT: ("effect_key",),
}
"""The fields that identify a record among those of its kind in a thread, and by which the records are ordered."""


class ThreadRecord(NamedTuple):
    """A record of a thread."""

    kind: str
    fields: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(self.fields[name] for name in KEYS[self.kind])


class ThreadDigest:
    """The digest of all records of a thread, by which two copies of it are compared. Their order does not matter."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._records: list[bytes] = []

    def add(self, record: ThreadRecord) -> None:
        self._records.append(blake2b(record_bytes(record), digest_size=16).digest())

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self._records)

    def digest(self) -> str:
        state = blake2b(self._thread_id.encode(), digest_size=16, person=b"holdfast-thread")
        for record_digest in sorted(self._records):
            state.update(record_digest)
        return state.hexdigest()


def record_bytes(record: ThreadRecord) -> bytes:
    """Return a record as bytes, which are equal for equal records."""
    values = [record.fields[name] for name in RECORDS[record.kind]]
    try:
        return ormsgpack.packb([record.kind, values], option=ormsgpack.OPT_SORT_KEYS)
    except TypeError:  # an integer of more than 64 bits, which JSON can hold and msgpack cannot
        hex_values = [value.hex() if isinstance(value, bytes) else value for value in values]
        return json.dumps([record.kind, hex_values], sort_keys=True, default=bytes.hex).encode()


def canonical_json(value: Any) -> Any:
    """Return a JSON value as every database returns it.

    Texts have no characters that JSONB refuses, the keys of objects are sorted, and numbers are those of JSONB.

    Raises:
        NotStorable: the value has a part that JSON cannot hold.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() and "\0" not in value else sql_text(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is dict:
        return {canonical_json(name): canonical_json(value[name]) for name in sorted(value)}
    if kind is list or kind is tuple:
        return [canonical_json(item) for item in value]
    if kind is float:
        return _number(value)
    raise NotStorable(f"A checkpoint's document or metadata has a {kind.__name__}, which JSON cannot hold.")


def _number(value: float) -> Any:
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return 0.0  # JSONB has no -0.0
    return int(value) if abs(value) >= _EXACT else value


# From here on Python writes a float with an exponent, and JSONB returns it as an integer.
_EXACT: Final = 1e16
