"""The interface of a database: transactions of statements, and LangGraph's own tables.

The saver decides; a backend talks to its database. Statements on our own tables are the same for every database;
LangGraph's tables differ between the databases, so a backend knows how they store a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint
from holdfast.checkpoints.backends.records import (
    CheckpointKey,
    EncodedCheckpoint,
    Link,
    OpenValue,
    Row,
    Split,
    StoredCheckpoint,
    StoredValue,
    StoredWrite,
    Wanted,
)
from holdfast.checkpoints.backends.retry import Patience
from holdfast.checkpoints.errors import NotOpen
from holdfast.checkpoints.search.query import Query
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.sql import Statement, Statements

Call = tuple[Statement, Mapping[str, Any]]
"""A statement with its parameters."""

OnStatement = Callable[[str], None]
"""Called with the name of each statement before it runs, so that tests can kill a process there and profilers count."""


NOT_OPEN: Final = (
    "This checkpointer was closed, or is not open. Use it inside `with open_checkpointer(url) as checkpointer:`."
)


class Changed(Exception):
    """A statement that must find a row has found none."""


def refuse_use() -> None:
    """Refuse the use of a database that is not open.

    Raises:
        NotOpen: always.
    """
    raise NotOpen(NOT_OPEN)


def check_process(opened_by: int) -> None:
    """Check that this process opened the database: a forked child must not use the connections of its parent.

    Raises:
        NotOpen: another process opened it.
    """
    if os.getpid() != opened_by:
        raise NotOpen(
            f"This checkpointer was opened by process {opened_by}, and this is process {os.getpid()}, forked from it. "
            "Open a checkpointer in each process, after the fork."
        )


class Transaction(Protocol):
    """Statements that are committed together when the block ends, or rolled back when it raises an error."""

    def run(self, calls: Sequence[Call]) -> list[list[Row]]:
        """Run the calls in order and return the rows of each, in one round trip where the database can."""
        ...

    def send(self, calls: Sequence[Call]) -> None:
        """Run the calls in order, without waiting for them before the next `run` or the end of the transaction."""
        ...

    def send_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement once for each of some parameters, as `send`, but several times as fast as so many calls."""
        ...


class FullText(Protocol):
    """The full text index of a database."""

    def is_made(self, transaction: Transaction) -> bool:
        """Return whether the index exists.

        Raises:
            SearchUnavailable: this database cannot have an index.
        """
        ...

    def make(self, transaction: Transaction) -> None:
        """Make an empty index. Idempotent."""
        ...

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        """Return the calls that add new message rows, as (seq, text). A row without words is left out."""
        ...

    def remove(self, thread_id: str) -> list[Call]:
        """Return the calls that remove all rows of a thread. Deleted rows leave the index by themselves."""
        ...

    def clean(self, transaction: Transaction) -> None:
        """Erase the words that this transaction removed from the tables of the index, if there is an index."""
        ...

    def find(self, query: Query, among: Sequence[str]) -> tuple[Statement, dict[str, Any]]:
        """Return the statement that finds rows, best first, as (thread_id, seq, rank), and its parameters.

        `among` are the words of some users and threads, of which a row needs one; if there are none, every row counts.
        The caller adds the conditions, `{where}`, and the numbers of rows to rank, `:most`, and to return, `:limit`.
        """
        ...


class Backend(Protocol):
    """A database. Safe for use by several threads at once.

    An error of the driver that can be explained becomes a `HoldfastError`; others pass unchanged. A database out of
    reach is `Unreachable`, also when a connection breaks in the middle of a transaction.
    """

    sql: Statements
    full_text: FullText
    unreachable: Sequence[str]
    """Where deleted rows may be that no statement reaches, in sentences; nothing for memory."""
    sealer: Sealer
    """Encrypts the metadata and the document of a checkpoint; values are encrypted before they come here."""
    is_exclusive: bool
    """Whether no other connection can have this database, as with `memory://`."""
    workers: int
    """The number of threads that can usefully work on it at once."""
    on_statement: OnStatement | None
    on_use: Callable[[], None]
    """Called when the database is to be used and is not open: opens it, or raises `NotOpen`."""
    on_lost: Callable[[], None]
    """Called when the database may differ from before: the server was restored, or replaced by another."""
    patience: Patience
    """The waits and retries of `persist`, which runs every unit of work."""

    def open(self) -> None:
        """Connect, and make or migrate the tables. Eight processes may do so at once on an empty database."""
        ...

    def close(self) -> None:
        """Close the database. Idempotent."""
        ...

    def reading(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that reads one snapshot of the database and changes nothing."""
        ...

    def glancing(self) -> AbstractContextManager[Transaction]:
        """Begin to read. On PostgreSQL each `run` of one statement is a snapshot of its own, and one round trip."""
        ...

    def writing(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that may write."""
        ...

    def scrub(self) -> list[str]:
        """Rewrite the files of the tables without the bytes of what was deleted or changed. Writers wait meanwhile.

        Returns:
            What may remain, and why, in sentences; nothing if no file of a table has such bytes any more.
        """
        ...

    def save_at_once(
        self,
        required: Sequence[Call],
        calls: Sequence[Call],
        *,
        is_current: Callable[[], bool],
        written: Callable[[int], None],
    ) -> bool:
        """Run some statements as one: all of them are committed, or nothing is changed.

        Args:
            required: statements that must find exactly one row each. The first returns a generation.
            calls: statements that may find any number. None of them depends on another.
            is_current: called before anything is sent, with the connection at hand; returns whether to send it.
            written: called with the generation, once other transactions of this process are committed after this one.

        Returns:
            Whether the statements were committed. If not, a required one has found no row, or `is_current` was false.
        """
        ...

    def split(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> Split:
        """Split a checkpoint into a document and values, as this database stores it."""
        ...

    def join(self, document: Any, values: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint that `split` returned in parts.

        Raises:
            ValueError: a value is missing.
        """
        ...

    def value_place(self, key: CheckpointKey, channel: str, document: Any) -> str:
        """Return the table, row and column of a value of a checkpoint, as a text that is unique for each."""
        ...

    def wanted_checkpoints(self, wanted: Wanted) -> Call:
        """Return the call that finds the rows of the wanted checkpoints, newest first, each with its key."""
        ...

    def find(
        self, transaction: Transaction, wanted: Wanted, problems: list[tuple[str, str]] | None = None
    ) -> list[StoredCheckpoint]:
        """Return the wanted checkpoints, newest first, with their pending writes in no order.

        Args:
            transaction: the transaction.
            wanted: the checkpoints.
            problems: receives what is damaged beside the values, and why, in place of an error.

        Raises:
            DamagedThread: something beside the values is damaged.
        """
        ...

    def page(
        self, transaction: Transaction, thread_id: str, after: tuple[str, str], limit: int
    ) -> list[StoredCheckpoint]:
        """Return the checkpoints of a thread after a namespace and an id, ordered by these, without writes."""
        ...

    def open_document(self, row: Row, thread_id: str, sealer: Sealer) -> tuple[Any, Any]:
        """Return the document and the metadata in a row of the statement `page_of_document`, decrypted.

        The document is in the form in which it is stored; `None` where a checkpoint is one value.

        Raises:
            DamagedThread: they cannot be read.
        """
        ...

    def rewrite_document(self, key: CheckpointKey, document: Any, metadata: Mapping[str, Any]) -> Call:
        """Return the call that replaces the document and the metadata of a checkpoint."""
        ...

    def save_checkpoint(self, encoded: EncodedCheckpoint) -> list[Call]:
        """Return the calls that save a checkpoint, in place of one with the same key."""
        ...

    def delete_checkpoints(self, thread_id: str, ns: str, checkpoint_ids: Collection[str]) -> list[Call]:
        """Return the calls that delete some checkpoints of a namespace, with all that belongs to them alone."""
        ...

    def delete_all_checkpoints(self, thread_ids: Collection[str]) -> list[Call]:
        """Return the calls that delete everything that LangGraph's tables hold of some threads."""
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
        """Return the calls that find message rows by digest.

        Each row is (digest, seq, message_id, ns, channel, committed, redacted).
        """
        ...

    def base_params(self) -> Mapping[str, Any]:
        """Return the parameters of the condition that a checkpoint is no base."""
        ...

    def is_saved(
        self, key: CheckpointKey, parent_id: str | None, document: Any, metadata: Mapping[str, Any]
    ) -> list[Call]:
        """Return the call that finds a row if exactly this checkpoint is stored; none if saves are never repeated."""
        ...

    def save_writes(self, key: CheckpointKey, writes: Sequence[StoredWrite], *, replace: bool) -> list[Call]:
        """Return the calls that save writes. A write that exists stays, or is replaced with `replace`."""
        ...

    def array(self, texts: Collection[str]) -> Any:
        """Return any number of texts as one parameter."""
        ...

    def leans(self, split: Split) -> bool:
        """Return whether a checkpoint shares values that were stored with an older one."""
        ...

    def chain(self, transaction: Transaction, key: CheckpointKey, channels: Collection[str], limit: int) -> list[Link]:
        """Return a checkpoint and its ancestors, newest first, at most `limit`; an empty list if it does not exist."""
        ...

    def writes_to(
        self, transaction: Transaction, key: CheckpointKey, checkpoint_ids: Collection[str], channels: Collection[str]
    ) -> dict[str, list[StoredWrite]]:
        """Return the writes to some channels on some checkpoints of a namespace, by checkpoint, in no order."""
        ...

    def sends_apart(self, transaction: Transaction, key: CheckpointKey, link: Link) -> list[StoredWrite] | None:
        """Return the Sends of the next step that a checkpoint has only as writes on its parent, in no order.

        The result is `None` if it has them itself, as every checkpoint since LangGraph 0.5.
        """
        ...

    def save_sends(self, key: CheckpointKey, document: Any, value: StoredValue | None) -> list[Call]:
        """Return the calls that give a checkpoint its Sends.

        Args:
            key: the checkpoint.
            document: its document, with a version for the Sends.
            value: the list of them; `None` if there are none.
        """
        ...

    def values_of(
        self, transaction: Transaction, key: CheckpointKey, link: Link, channels: Collection[str]
    ) -> list[StoredValue]:
        """Return the values of a link of a chain, with their bytes."""
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
        """Convert the documents of a thread's checkpoints into the form of the stock saver.

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
