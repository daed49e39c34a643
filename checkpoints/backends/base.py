"""What a database must do for the saver: run statements in transactions, and keep LangGraph's own tables.

The saver decides; a backend talks to its database. Statements on our own tables are the same for every database;
LangGraph's tables differ between the databases, so a backend knows how they store a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint
from holdfast.checkpoints.backends.retry import Patience
from holdfast.checkpoints.errors import NotOpen
from holdfast.checkpoints.search.query import Query
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.sql import Statement, Statements


class Row(tuple[Any, ...]):
    """A row of a result: a tuple whose values are also attributes, by the names of the statement's columns."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, column: str) -> Any: ...


Call = tuple[Statement, Mapping[str, Any]]
"""A statement with its parameters."""

OnStatement = Callable[[str], None]
"""Called with the name of each statement before it runs: where tests kill a process, and what a profiler counts."""


def check_process(opened_by: int) -> None:
    """Connections belong to the process that opened them; a forked child that used them would garble what they say.

    Raises:
        NotOpen: this process is another one.
    """
    if os.getpid() != opened_by:
        raise NotOpen(
            f"This checkpointer was opened by process {opened_by}, and this is process {os.getpid()}, forked from it. "
            "Open a checkpointer in each process, after the fork."
        )


class Transaction(Protocol):
    """Statements that commit together when the block ends, or not at all when it raises."""

    def run(self, calls: Sequence[Call]) -> list[list[Row]]:
        """Run the calls in order and return the rows of each, in one round trip where the database can."""
        ...

    def send(self, calls: Sequence[Call]) -> None:
        """Run the calls in order. Nobody waits for them before the next `run` or the end of the transaction."""
        ...

    def send_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        """`send` one statement once for each of some parameters, in several times less time than as so many calls."""
        ...


class StoredValue(NamedTuple):
    """A value as bytes, under the channel that it belongs to (`""`: the checkpoint as a whole)."""

    channel: str
    type: str
    blob: bytes | None


class StoredWrite(NamedTuple):
    task_id: str
    task_path: str
    idx: int
    channel: str
    type: str
    blob: bytes | None


class StoredCheckpoint(NamedTuple):
    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    document: Any
    """What the database keeps of the checkpoint in a form of its own."""
    values: list[StoredValue]
    metadata: dict[str, Any]
    writes: list[StoredWrite]
    generation: int | None
    """Of the thread; `None` if no message of it has a row yet."""


class Link(NamedTuple):
    """A checkpoint in a chain of ancestors, as far as some of its channels need it."""

    checkpoint_id: str
    parent_id: str | None
    document: Any
    """What the database keeps in a form of its own; of a `whole` checkpoint nothing."""
    values: list[StoredValue]
    """Of a `whole` checkpoint itself; else a value, without its bytes, for each of the channels that has a row."""


BASE: Final[dict[str, Any]] = {"holdfast": "base"}
"""The metadata of a base: what is left of deleted checkpoints that others are built on, and no state of its own."""


class CheckpointKey(NamedTuple):
    thread_id: str
    ns: str
    checkpoint_id: str


def by_checkpoint(rows: Sequence[Row]) -> dict[str, list[StoredWrite]]:
    """Rows of writes behind the id of their checkpoint, by that id."""
    found: dict[str, list[StoredWrite]] = {}
    for checkpoint_id, *write in rows:
        found.setdefault(checkpoint_id, []).append(StoredWrite(*write))
    return found


def write_place(key: CheckpointKey, task_id: str, idx: int) -> str:
    """As `Backend.value_place`, for what a task wrote."""
    return "\0".join(("writes", key.ns, key.checkpoint_id, task_id, str(idx)))


class Cursor(NamedTuple):
    """Where a list goes on: after this checkpoint, newest first."""

    checkpoint_id: str
    thread_id: str
    ns: str


@dataclass(frozen=True)
class Wanted:
    """Which checkpoints to find, newest first. `None` means any."""

    limit: int
    thread_id: str | None = None
    ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    """Only checkpoints whose id is below this one."""
    metadata: Mapping[str, Any] | None = None
    """Only checkpoints whose metadata contain this, as PostgreSQL's `@>` has it."""
    after: Cursor | None = None
    with_bases: bool = True
    """Whether to find bases as well (see `BASE`), which are no part of a history."""


class Split(NamedTuple):
    """A checkpoint on its way into the tables: what goes in as it is, and the values to turn into bytes."""

    document: Any
    values: dict[str, Any]


OpenValue = Callable[[StoredValue], Attachable]
"""Returns a stored value, decrypted and opened."""


class FullText(Protocol):
    """A database's index of the words that were said."""

    def is_made(self, transaction: Transaction) -> bool:
        """Whether the index is there.

        Raises:
            SearchUnavailable: this database cannot have one.
        """
        ...

    def make(self, transaction: Transaction) -> None:
        """Make the index, empty. Twice is once."""
        ...

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        """The calls that put message rows in, as (seq, text), which are not in it; one without words stays out."""
        ...

    def remove(self, thread_id: str) -> list[Call]:
        """The calls that take all rows of a thread out. Of rows that are deleted the index lets go by itself."""
        ...

    def clean(self, transaction: Transaction) -> None:
        """Leave no word of what was taken out in this transaction in the index's tables. There may be no index."""
        ...

    def find(self, query: Query, user_id: str | None, thread_id: str | None) -> tuple[Statement, dict[str, Any]]:
        """The statement that finds rows, best first, as (thread_id, seq, rank), with its parameters but for those of
        the conditions, `{where}`, and of the numbers of rows to rank, `:most`, and to give, `:limit`."""
        ...


class Backend(Protocol):
    """A database. Safe for use by several threads at once.

    Errors of the driver stop here: what can be explained leaves as a `HoldfastError`, the rest as the driver raised it.
    That the database is out of reach is `Unreachable`, also when a connection breaks in the middle of a transaction.
    """

    sql: Statements
    full_text: FullText
    workers: int
    """How many threads can usefully work on it at once."""
    on_statement: OnStatement | None
    on_lost: Callable[[], None]
    """Called when the database may be another one than before: a server that was restored, or another in its place."""
    patience: Patience
    """For `persist`, in which every unit of work is done."""

    def open(self) -> None:
        """Connect, and make or migrate the tables. Eight processes may do so at once on an empty database."""
        ...

    def close(self) -> None:
        """Close what `open` opened. Twice is once."""
        ...

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one state of the database and changes nothing."""
        ...

    def writing(self) -> AbstractContextManager[Transaction]:
        """A transaction that may write."""
        ...

    def split(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> Split: ...

    def join(self, document: Any, values: Mapping[str, Any]) -> Checkpoint:
        """The checkpoint again, from what `split` made of it.

        Raises:
            ValueError: a value is missing.
        """
        ...

    def value_place(self, key: CheckpointKey, channel: str, document: Any) -> str:
        """The table, row and column where a value of a checkpoint lies, as a text that differs for each."""
        ...

    def find(self, transaction: Transaction, wanted: Wanted) -> list[StoredCheckpoint]:
        """The checkpoints that are wanted with their pending writes, newest first; writes in no order."""
        ...

    def page(
        self, transaction: Transaction, thread_id: str, after: tuple[str, str], limit: int
    ) -> list[StoredCheckpoint]:
        """The checkpoints of a thread that come after a namespace and an id, in the order of these; without writes."""
        ...

    def save_checkpoint(
        self,
        key: CheckpointKey,
        parent_id: str | None,
        document: Any,
        values: Sequence[StoredValue],
        versions: ChannelVersions,
        metadata: Mapping[str, Any],
    ) -> list[Call]:
        """The calls that save a checkpoint, in place of one with the same key."""
        ...

    def delete_checkpoints(self, thread_id: str, ns: str, checkpoint_ids: Collection[str]) -> list[Call]:
        """Return the calls that delete some checkpoints of a namespace, with all that belongs to them alone."""
        ...

    def delete_all_checkpoints(self, thread_id: str) -> list[Call]:
        """Return the calls that delete everything that LangGraph's tables hold of a thread."""
        ...

    def copy_all_checkpoints(self, source: str, target: str) -> list[Call]:
        """Return the calls that copy everything that LangGraph's tables hold of a thread into an empty thread."""
        ...

    def stored_values(self, transaction: Transaction, thread_id: str) -> list[tuple[CheckpointKey, str, StoredValue]]:
        """Return all values and writes of a thread that may refer to message rows.

        Returns:
            For each the checkpoint, the place (see `value_place`) and the value. A value that several checkpoints share
            comes once, with its version in place of the id of a checkpoint.
        """
        ...

    def rows_with_digests(self, thread_id: str, digests: Collection[bytes]) -> list[Call]:
        """The calls that find message rows by digest; rows are (digest, seq, message_id, ns, channel, committed)."""
        ...

    def is_saved(
        self, key: CheckpointKey, parent_id: str | None, document: Any, metadata: Mapping[str, Any]
    ) -> list[Call]:
        """The call that gives a row if exactly this checkpoint is there; none where no save is ever repeated."""
        ...

    def save_writes(self, key: CheckpointKey, writes: Sequence[StoredWrite], *, replace: bool) -> list[Call]:
        """The calls that save writes. Of a write that is there already the first stays, or with `replace` the last."""
        ...

    def array(self, texts: Collection[str]) -> Any:
        """Any number of texts as one parameter."""
        ...

    def leans(self, split: Split) -> bool:
        """Whether a checkpoint has values that are stored with the one before it, and not with it."""
        ...

    def chain(self, transaction: Transaction, key: CheckpointKey, channels: Collection[str], limit: int) -> list[Link]:
        """A checkpoint and those that it follows from, newest first, at most `limit`; nothing if it is not there."""
        ...

    def writes_to(
        self, transaction: Transaction, key: CheckpointKey, checkpoint_ids: Collection[str], channels: Collection[str]
    ) -> dict[str, list[StoredWrite]]:
        """What was written to these channels on some checkpoints of a namespace, by checkpoint, in no order."""
        ...

    def values_of(
        self, transaction: Transaction, key: CheckpointKey, link: Link, channels: Collection[str]
    ) -> list[StoredValue]:
        """The values of a link of a chain, with their bytes."""
        ...

    def channels_named(self, link: Link, open_value: OpenValue) -> set[str]:
        """Return the channels that have a value according to the checkpoint itself."""
        ...

    def channels_present(self, link: Link, channels: Collection[str], open_value: OpenValue) -> set[str]:
        """Return those of the channels that have a value in a checkpoint.

        Raises:
            ValueError: the checkpoint names a value that is missing.
        """
        ...

    def channel_value(self, loaded: Any, channel: str) -> Any:
        """Return a channel's value from the stored value that holds it, after that was loaded."""
        ...

    def base(
        self, checkpoint_id: str, seeds: Mapping[str, Link], open_seed: Callable[[str], Attachable]
    ) -> tuple[Any, list[StoredValue]]:
        """Return the document and the values of a base that has each channel as one checkpoint of a chain has it.

        Args:
            checkpoint_id: the id of the base.
            seeds: the checkpoint for each channel.
            open_seed: opens the value of that checkpoint, by the channel.
        """
        ...

    def as_split(self, loaded: Any) -> Any:
        """Return a stored value that was loaded in the form in which `split` would return it."""
        ...

    def restore_documents(self, transaction: Transaction, thread_id: str) -> bool:
        """Bring the documents of a thread's checkpoints into the form of the stock saver.

        Returns:
            Whether a load may find more with a checkpoint than before: the stock saver finds values by their versions.
        """
        ...

    def to_canonical(self, document: Any, values: Mapping[str, Attachable]) -> CanonicalCheckpoint:
        """Return a stored checkpoint in the form that is the same for every database.

        Raises:
            NotStorable: a value is in a form that cannot be transferred.
            ValueError, LookupError: the bytes are damaged, or a value is missing.
        """
        ...

    def from_canonical(self, checkpoint: CanonicalCheckpoint) -> tuple[Any, list[StoredValue]]:
        """Return the document and the values to store of a checkpoint from another database.

        Raises:
            NotStorable: this database cannot hold it.
        """
        ...
