"""Loading what can be read of a damaged checkpoint, with the names of what cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import BaseMessage

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.canonical import with_sends
from holdfast.checkpoints.backends.records import (
    STORED,
    CheckpointKey,
    StoredCheckpoint,
    StoredValue,
    StoredWrite,
    Wanted,
    write_place,
)
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.langgraph_internals import TASKS
from holdfast.checkpoints.serde.packed.sections import sections, value_at
from holdfast.checkpoints.serde.types import LOADING
from holdfast.checkpoints.serde.values import Attachable

# What bytes that are damaged may raise.
_FAULTS: Final = (
    HoldfastError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

_VALUES: Final = "channel_values"


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of a checkpoint that cannot be read."""

    where: str
    """The part, such as "channel 'found'", "message row 5" or "metadata"."""
    why: str


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What can be read of a checkpoint: channels, single messages of a list, or pending writes may be missing.

    The parts are in LangGraph's form, as in a `CheckpointTuple`.
    """

    config: dict[str, Any]
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    parent_config: dict[str, Any] | None
    pending_writes: list[tuple[str, str, Any]]
    """The task, the channel and the value of each."""
    damaged: list[Damage]
    """What is missing, or may be altered; empty if the checkpoint is sound."""

    @property
    def values(self) -> dict[str, Any]:
        """The values of the channels."""
        values: dict[str, Any] = self.checkpoint[_VALUES]
        return values


def salvage(database: Database, thread_id: str, ns: str, checkpoint_id: str | None) -> Salvaged | None:
    """Load what can be read of a checkpoint, of the newest by default; `None` if there is none.

    Nothing is cached of it, and nothing is changed.
    """
    wanted = Wanted(1, thread_id, ns, checkpoint_id)

    def read() -> Salvaged | None:
        with database.backend.reading() as transaction:
            problems: list[tuple[str, str]] = []
            found = database.backend.find(transaction, wanted, problems)
            if not found:
                return None
            reader = _Reader(transaction, database, found[0])
            reader.damaged.extend(Damage(*problem) for problem in problems)
            return reader.read()

    token = LOADING.set(thread_id)
    try:
        return persist(database.backend, read)
    finally:
        LOADING.reset(token)


class _Reader:
    """The reading of one checkpoint, part by part."""

    def __init__(self, transaction: Transaction, database: Database, stored: StoredCheckpoint) -> None:
        self.damaged: list[Damage] = []
        self._transaction, self._database, self._stored = transaction, database, stored
        self._key = CheckpointKey(stored.thread_id, stored.ns, stored.checkpoint_id)
        self._lost_rows: set[int] = set()

    def read(self) -> Salvaged:
        stored = self._stored
        whole = next((value for value in stored.values if value.channel == ""), None)
        checkpoint = self._whole(whole) if whole is not None else self._of_parts()
        if stored.sends:
            parent = self._key._replace(checkpoint_id=stored.parent_id or "")
            with_sends(checkpoint, [send for _, _, send in self._writes(load.in_order(stored.sends), parent)])
        place = {"thread_id": stored.thread_id, "checkpoint_ns": stored.ns}
        metadata: Any = stored.metadata
        if not isinstance(metadata, dict):
            self.damaged.append(Damage("metadata", "they are no JSON object"))
            metadata = {}
        return Salvaged(
            config={"configurable": {**place, "checkpoint_id": stored.checkpoint_id}},
            checkpoint=checkpoint,
            metadata=metadata,
            parent_config=(
                {"configurable": {**place, "checkpoint_id": stored.parent_id}} if stored.parent_id else None
            ),
            pending_writes=list(self._writes(load.in_order(stored.writes), self._key)),
            damaged=self.damaged,
        )

    def _of_parts(self) -> dict[str, Any]:
        """Return a checkpoint whose channels are stored one by one."""
        stored = self._stored
        checkpoint = {**_blank(stored.checkpoint_id), **stored.document}
        needed = set(checkpoint.pop(STORED, None) or ())
        values = dict(checkpoint.get(_VALUES) or {})
        for value in stored.values:
            where = f"channel {value.channel!r}"
            needed.discard(value.channel)
            values.pop(value.channel, None)  # the mark of a snapshot
            with self._noted(where):
                place = self._database.backend.value_place(self._key, value.channel, stored.document)
                part = self._opened(value, place, where)
                if not part.is_empty:
                    values[value.channel] = self._attached(part)
        self.damaged.extend(Damage(f"channel {channel!r}", "its value is missing") for channel in sorted(needed))
        return {**checkpoint, _VALUES: values}

    def _whole(self, value: StoredValue) -> dict[str, Any]:
        """Return a checkpoint that is stored as one value."""
        checkpoint = _blank(self._stored.checkpoint_id)
        where = "the checkpoint"
        with self._noted(where):
            place = self._database.backend.value_place(self._key, "", self._stored.document)
            part = self._opened(value, place, where)
            if part.type == "json":
                return {**checkpoint, **part.attach(self._make, self._database.types)}
            for name, at in sections(part.body):
                if name == _VALUES:
                    checkpoint[_VALUES] = {}
                    self._channels(part, at, checkpoint[_VALUES])
                else:
                    with self._noted(f"{name!r} of the checkpoint"):
                        checkpoint[name] = self._attached(part, value_at(part.body, at))
        return checkpoint

    def _channels(self, whole: Attachable, at: int, values: dict[str, Any]) -> None:
        """Read the channels of a checkpoint that is one value, up to where no next one can be found."""
        last = "the channels"
        try:
            for channel, place in sections(whole.body, at):
                last = f"the channels after {channel!r}"
                with self._noted(f"channel {channel!r}"):
                    values[channel] = self._attached(whole, value_at(whole.body, place))
        except ValueError as error:
            self.damaged.append(Damage(last, str(error)))

    def _writes(self, writes: Iterable[StoredWrite], key: CheckpointKey) -> Iterator[tuple[str, str, Any]]:
        for write in writes:
            what = "a Send" if write.channel == TASKS else "a pending write"
            where = f"{what} of task {write.task_id} to channel {write.channel!r}"
            with self._noted(where):
                value = StoredValue(write.channel, write.type, write.blob)
                part = self._opened(value, write_place(key, write.task_id, write.idx), where)
                yield write.task_id, write.channel, self._attached(part)

    def _opened(self, value: StoredValue, place: str, where: str) -> Attachable:
        """Return a stored value, decrypted and opened, also if its checksum differs."""
        type_, blob = self._database.sealer.open_value(self._key.thread_id, place, value.type, value.blob or b"")
        part = Attachable(value.channel, type_, blob, checked=False)
        if not part.is_as_saved:
            self.damaged.append(Damage(where, "its checksum differs, so what can be read of it may be altered"))
        return part

    def _attached(self, part: Attachable, packed: bytes | None = None) -> Any:
        """Return a value, or one that is packed within it."""
        return part.attach(self._make, self._database.types, packed)

    def _make(self, refs: Iterable[int]) -> list[BaseMessage]:
        """Return the messages of a list that can be read."""
        wanted = list(refs)
        rows = load.rows_of(self._transaction, self._database, self._key.thread_id, {abs(ref) for ref in wanted})
        found: list[BaseMessage] = []
        for ref in wanted:
            try:
                found.extend(rows.make([ref]))
            except _FAULTS as error:
                if abs(ref) not in self._lost_rows:
                    self._lost_rows.add(abs(ref))
                    self.damaged.append(Damage(f"message row {abs(ref)}", str(error)))
        return found

    @contextmanager
    def _noted(self, where: str) -> Iterator[None]:
        """Note what the block cannot read, and go on after it."""
        try:
            yield
        except _FAULTS as error:
            self.damaged.append(Damage(where, str(error)))


def _blank(checkpoint_id: str) -> dict[str, Any]:
    return {"v": 4, "id": checkpoint_id, "ts": "", _VALUES: {}, "channel_versions": {}, "versions_seen": {}}
