"""What is stored of a checkpoint and its writes, and which checkpoints are wanted, for every database."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langgraph.checkpoint.base import ChannelVersions

from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.sql import Statement

STORED: Final = "stored"
"""In the JSON document of a checkpoint: the channels whose values are in rows of their own. A
packed document has versions only for these."""


class Row(tuple[Any, ...]):
    """A row of a result: a tuple whose values are also attributes, by the names of the statement's columns."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, column: str) -> Any: ...


class RowNames:
    """The names of the columns of a database's statements. Safe for threads."""

    def __init__(self) -> None:
        # By the text of the statement. The texts are our own, so their number is bounded.
        self._makers: dict[str, Callable[[Iterable[Any]], Row]] = {}

    def name(
        self, statement: Statement, columns: Callable[[], Iterable[str]], values: Iterable[tuple[Any, ...]]
    ) -> list[Row]:
        """Return rows whose values are attributes too.

        Args:
            statement: the statement that gave the rows. A column whose name is no identifier has no attribute.
            columns: returns the names of the columns, in their order. It is called once for each statement.
            values: the rows as the driver returned them.
        """
        make = self._makers.get(statement.text)
        if make is None:
            make = self._makers[statement.text] = _maker(statement, columns())
        return list(map(make, values))


def _maker(statement: Statement, columns: Iterable[str]) -> Callable[[Iterable[Any]], Row]:
    fields = namedtuple(statement.name, list(columns), rename=True)  # type: ignore[misc]  # they are known only now
    kind: type[Row] = type(statement.name, (fields, Row), {"__slots__": ()})
    return partial(tuple.__new__, kind)  # as `_make` of a named tuple, but without its check of the length


class StoredValue(NamedTuple):
    """A value as bytes, under the channel that it belongs to (`""`: the checkpoint as a whole)."""

    channel: str
    type: str
    blob: bytes | None


class StoredWrite(NamedTuple):
    """A write of a task as bytes."""

    task_id: str
    task_path: str
    idx: int
    channel: str
    type: str
    blob: bytes | None


class StoredCheckpoint(NamedTuple):
    """A checkpoint as a database stores it, with its values and pending writes."""

    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    document: Any
    """The part of the checkpoint that this kind of database stores in its own form."""
    values: list[StoredValue]
    metadata: dict[str, Any]
    writes: list[StoredWrite]
    generation: int | None
    """The generation of the thread; `None` if none of its messages has a row yet."""
    sends: Sequence[StoredWrite] = ()
    """The Sends of the next step, if this checkpoint has them only as writes on its parent: on PostgreSQL, those of a
    LangGraph before 0.5."""


class EncodedCheckpoint(NamedTuple):
    """A checkpoint to be saved, with those of its values that are not stored yet, as bytes."""

    key: CheckpointKey
    parent_id: str | None
    document: Any
    """The part that this kind of database stores in its own form; `None` where a checkpoint is one value."""
    values: Sequence[StoredValue]
    versions: ChannelVersions
    metadata: Mapping[str, Any]


class Link(NamedTuple):
    """A checkpoint in a chain of ancestors, with the parts that some of its channels need."""

    checkpoint_id: str
    parent_id: str | None
    document: Any
    """The part that this kind of database stores in its own form; `None` where a checkpoint is one value."""
    values: list[StoredValue]
    """The checkpoint, where it is one value; else a value, without its bytes, for each channel that has a row."""


BASE: Final[dict[str, Any]] = {"holdfast": "base"}
"""The metadata of a base: the values of deleted checkpoints that other checkpoints are built on. It is no state."""

REFUSED: Final = "holdfast_refused"
"""In the metadata of a branch: the head that the refused checkpoint could not follow."""

MERGED: Final = "holdfast_merged"
"""In the metadata of a checkpoint: the head that it was merged with."""

WITHIN: Final = "holdfast_within"
"""In the metadata of a checkpoint that a task of a run has made: the checkpoint of the same thread at which the run
was."""

NOTES: Final = frozenset({REFUSED, MERGED, WITHIN})
"""What we note in the metadata of single checkpoints. The rest is the thread's own."""


class CheckpointKey(NamedTuple):
    """The key of a checkpoint."""

    thread_id: str
    ns: str
    checkpoint_id: str


def by_checkpoint(rows: Sequence[Row]) -> dict[str, list[StoredWrite]]:
    """Group rows of writes, which begin with the id of their checkpoint, by that id."""
    found: dict[str, list[StoredWrite]] = {}
    for checkpoint_id, *write in rows:
        found.setdefault(checkpoint_id, []).append(StoredWrite(*write))
    return found


def write_place(key: CheckpointKey, task_id: str, idx: int) -> str:
    """Return the place of a write, as `Backend.value_place` does for a value."""
    return "\0".join(("writes", key.ns, key.checkpoint_id, task_id, str(idx)))


class Cursor(NamedTuple):
    """The last checkpoint of a page, newest first: the next page begins after it."""

    checkpoint_id: str
    thread_id: str
    ns: str


@dataclass(frozen=True)
class Wanted:
    """The filters of a search for checkpoints, newest first. `None` means any."""

    limit: int
    thread_id: str | None = None
    ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    """Only checkpoints whose id is below this one."""
    metadata: Sequence[Sequence[Mapping[str, Any]]] = ()
    """Only checkpoints whose metadata contain at least one of each group, as PostgreSQL's `@>` defines it."""
    after: Cursor | None = None
    heads_of: Collection[str] | None = None
    """Only the heads of the root graph in these threads."""
    with_bases: bool = True
    """Whether to find bases as well (see `BASE`), which are not part of a history."""


class Split(NamedTuple):
    """A checkpoint split for the tables: the part that is stored as it is, and the values to convert to bytes."""

    document: Any
    values: dict[str, Any]


OpenValue = Callable[[StoredValue], Attachable]
"""Returns a stored value, decrypted and opened."""
