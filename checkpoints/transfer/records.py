"""What a thread consists of, as records that every database can have, and a digest of them. No I/O.

A record is a row of one of our tables, a checkpoint, or what a task wrote. A thread has the same records wherever it
lies, but for their order: databases sort texts in different ways. So the digest is one of all records together.
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


class Is(Enum):
    """What a field holds."""

    KEY = "a short text"
    TEXT = "a text"
    INT = "an integer of 32 bits"
    LONG = "an integer of 64 bits"
    TIME = "a time in seconds"
    BYTES = "bytes"
    JSON = "an object"
    VALUES = "values by channel"


class Field(NamedTuple):
    kind: Is
    may_be_none: bool = False


def _fields(**kinds: Is) -> dict[str, Field]:
    """A name that ends with two underscores may have no value."""
    return {name.removesuffix("__"): Field(kind, name.endswith("__")) for name, kind in kinds.items()}


THREAD: Final = "thread"
MESSAGE: Final = "message"
CHECKPOINT: Final = "checkpoint"
WRITE: Final = "write"
EFFECT: Final = "effect"

RECORDS: Final[Mapping[str, Mapping[str, Field]]] = {
    # Not what belongs to a place: the generation, which tells those who knew the thread there, and the line of leases.
    THREAD: _fields(
        next_seq=Is.LONG,
        user_id__=Is.KEY,
        title__=Is.KEY,
        metadata__=Is.TEXT,
        head__=Is.KEY,
        unfinished=Is.INT,
        messages=Is.LONG,
        bytes=Is.LONG,
        prompt__=Is.BYTES,
        live_from=Is.LONG,
        origin_thread_id__=Is.KEY,
        origin_checkpoint_id__=Is.KEY,
        lineage__=Is.KEY,
        created_at=Is.TIME,
        updated_at=Is.TIME,
    ),
    MESSAGE: _fields(
        seq=Is.LONG,
        message_id__=Is.TEXT,
        digest=Is.BYTES,
        codec=Is.INT,
        role=Is.TEXT,
        name__=Is.TEXT,
        content__=Is.TEXT,
        body=Is.BYTES,
        ns=Is.TEXT,
        channel=Is.TEXT,
        checkpoint_id__=Is.KEY,
        run_id__=Is.TEXT,
        step__=Is.INT,
        user_id__=Is.TEXT,
        origin_thread_id__=Is.KEY,
        origin_seq__=Is.LONG,
        created_at=Is.TIME,
        redacted_at__=Is.TIME,
    ),
    "event": _fields(no=Is.LONG, after_seq=Is.LONG, kind=Is.TEXT, actor__=Is.TEXT, data__=Is.TEXT, at=Is.TIME),
    CHECKPOINT: _fields(
        ns=Is.KEY, checkpoint_id=Is.KEY, parent_id__=Is.KEY, document=Is.JSON, metadata=Is.JSON, values=Is.VALUES
    ),
    WRITE: _fields(
        ns=Is.KEY,
        checkpoint_id=Is.KEY,
        task_id=Is.KEY,
        idx=Is.INT,
        task_path=Is.TEXT,
        channel=Is.TEXT,
        type=Is.TEXT,
        blob=Is.BYTES,
    ),
    "run_write": _fields(
        ns=Is.KEY,
        checkpoint_id=Is.KEY,
        task_id=Is.KEY,
        idx=Is.INT,
        run_id=Is.KEY,
        channel__=Is.TEXT,
        type__=Is.TEXT,
        blob__=Is.BYTES,
        written_at=Is.TIME,
    ),
    "interrupt": _fields(
        interrupt_id=Is.KEY,
        ns=Is.KEY,
        checkpoint_id=Is.KEY,
        task_id=Is.KEY,
        asked_at=Is.TIME,
        expires_at__=Is.TIME,
        answered_at__=Is.TIME,
        answered_by__=Is.TEXT,
        answer_type__=Is.TEXT,
        answer__=Is.BYTES,
        answer_digest__=Is.BYTES,
        run_id__=Is.TEXT,
        closed_at__=Is.TIME,
        closed_why__=Is.TEXT,
    ),
    EFFECT: _fields(
        lineage=Is.KEY,
        effect_key=Is.KEY,
        thread_id=Is.KEY,
        tool=Is.TEXT,
        args_digest=Is.BYTES,
        state=Is.TEXT,
        attempt=Is.INT,
        owner=Is.TEXT,
        alive_until=Is.TIME,
        why__=Is.TEXT,
        interrupt_id__=Is.TEXT,
        decision__=Is.TEXT,
        decided_by__=Is.TEXT,
        decided_at__=Is.TIME,
        result_type__=Is.TEXT,
        result__=Is.BYTES,
        run_id__=Is.TEXT,
        started_at=Is.TIME,
        finished_at__=Is.TIME,
    ),
}
"""For each kind of record its fields, in their order, under the names that the statements `page_of_…` and `move_…` of
`sql/moving.sql` have for them."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    THREAD: (),
    MESSAGE: ("seq",),
    "event": ("no",),
    CHECKPOINT: ("ns", "checkpoint_id"),
    WRITE: ("ns", "checkpoint_id", "task_id", "idx"),
    "run_write": ("ns", "checkpoint_id", "task_id", "idx", "run_id"),
    "interrupt": ("interrupt_id",),
    EFFECT: ("effect_key",),
}
"""The fields that tell a record from all others of its kind in a thread. In the order in which records come."""


class Record(NamedTuple):
    """A part of a thread."""

    kind: str
    fields: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(self.fields[name] for name in KEYS[self.kind])


class ThreadDigest:
    """What a thread is compared by: a digest of all its records, in whatever order they come."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._records: list[bytes] = []

    def add(self, record: Record) -> None:
        self._records.append(blake2b(canonical(record), digest_size=16).digest())

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._records)

    def digest(self) -> str:
        state = blake2b(self._thread_id.encode(), digest_size=16, person=b"holdfast-thread")
        for one in sorted(self._records):
            state.update(one)
        return state.hexdigest()


def canonical(record: Record) -> bytes:
    """A record as bytes: the same for the same record."""
    values = [record.fields[name] for name in RECORDS[record.kind]]
    try:
        return ormsgpack.packb([record.kind, values], option=ormsgpack.OPT_SORT_KEYS)
    except TypeError:  # a number of more than 64 bits, which JSON has a form for
        said = [value.hex() if isinstance(value, bytes) else value for value in values]
        return json.dumps([record.kind, said], sort_keys=True, default=bytes.hex).encode()


def json_of(value: Any) -> Any:
    """A JSON value as every database gives it back: texts without what JSONB refuses, in an order that does not matter,
    and numbers as JSONB has them.

    Raises:
        NotStorable: it is more than JSON.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() and "\0" not in value else sql_text(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is dict:
        return {json_of(name): json_of(value[name]) for name in sorted(value)}
    if kind is list or kind is tuple:
        return [json_of(item) for item in value]
    if kind is float:
        return _number(value)
    raise NotStorable(f"What is stored of a checkpoint beside its values is more than JSON: it has a {kind.__name__}.")


def _number(value: float) -> Any:
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return 0.0  # JSONB has no -0.0
    return int(value) if abs(value) >= _EXACT else value  # and writes 1e16 as an integer


_EXACT: Final = 1e16  # Python writes integral floats from here on with an exponent
