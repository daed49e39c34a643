"""Transfer of whole threads from one database to another, directly or through a file.

A thread is transferred as records, which are the same in every database (see `records`). Before an import commits, the
thread is read back from the target and its digest is compared with that of the source. So a thread arrives exactly as
it was, or not at all.

Leases are not transferred. A tool call that is running at that moment is transferred as it is. Its owner does not exist
in the target, so the call is in doubt there once its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.keys_of_threads import give_key
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    HoldfastError,
    InvalidArchive,
    NotMoved,
    NotOpen,
    ThreadDiffers,
)
from holdfast.checkpoints.transfer.reader import read_records
from holdfast.checkpoints.transfer.records import ThreadDigest, ThreadRecord
from holdfast.checkpoints.transfer.writer import ThreadWriter


@dataclass(frozen=True, slots=True)
class Transferred:
    """The outcome of the transfer of one thread."""

    thread_id: str
    digest: str = ""
    records: int = 0
    """The number of records that the thread consists of."""
    was_there: bool = False
    """Whether the target already had an identical thread, so that nothing was written."""
    problem: str | None = None
    """Why the thread was not transferred."""


def count_transferable(database: Database) -> int:
    """Count the threads that can be exported from a database."""
    [[row]] = database.read((database.backend.sql["count_movable"], {}))
    return int(row.number)


def transferable_threads(database: Database) -> Iterator[str]:
    """Return the ids of the threads that can be exported; see `Database.find_threads`."""
    return database.find_threads("movable_after")


def is_transferable(database: Database, thread_id: str) -> bool:
    """Return whether a database has a thread that can be exported under this id."""
    params = {"thread_id": thread_id}
    known, [saved] = database.read(
        (database.backend.sql["page_of_thread"], params), (database.backend.sql["has_checkpoints"], params)
    )
    return bool(known or saved.has_checkpoints)


# --- export


def export_thread(database: Database, thread_id: str) -> Generator[ThreadRecord]:
    """Yield the records of a thread from one snapshot, in pages.

    The first record is that of the thread itself. A thread that does not exist yields nothing. The transaction stays
    open until the iterator is exhausted or closed.

    Raises:
        DamagedThread: a part of the thread cannot be read.
        NotMoved: a part of the thread has no form that another database could hold.
        DatabaseUnavailable, NotOpen: as for every read.
    """
    with database.backend.reading() as transaction:
        yield from read_records(transaction, database, thread_id)


# --- import


def import_thread(database: Database, thread_id: str, records: Iterable[ThreadRecord]) -> Transferred:
    """Write a thread into a database in one transaction, exactly as its records say.

    If the database already has an identical thread, nothing is written. The id of a deleted thread can be used again; a
    writer that loaded the deleted thread is refused, as after every new start.

    Args:
        database: the target.
        thread_id: the thread's id.
        records: the thread's records, as `export_thread` yields them.

    Raises:
        ThreadDiffers: the database has a different thread under this id.
        NotMoved: the database cannot hold the thread as it is, or has another ledger of its tool calls.
        DatabaseUnavailable, NotOpen: as for every write.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    received = ThreadDigest(thread_id)
    with database.backend.writing() as transaction:
        _, _, [target] = transaction.run(
            [(sql["add_thread"], params), (sql["lock_thread"], params), (sql["is_empty"], params)]
        )
        if target.is_empty:
            give_key(transaction, database.backend, database.sealer, thread_id)
        writer = ThreadWriter(transaction, database, thread_id) if target.is_empty else None
        for record in records:
            received.add(record)
            if writer is not None:
                writer.add(record)
        digest = received.digest()
        if not received.count:
            raise NotMoved(thread_id, "there is no such thread.")
        # A thread that consists of its own record alone may be there although the target is "empty"; the writer has
        # sent nothing of it so far.
        was_there = (writer is None or received.count == 1) and _read_digest(transaction, database, thread_id) == digest
        if not was_there:
            if writer is None:
                raise ThreadDiffers(thread_id)
            writer.end()
            if _read_digest(transaction, database, thread_id) != digest:
                raise NotMoved(
                    thread_id,
                    "it would not be there as it was. If a program is writing to it at this moment, stop the program "
                    "and repeat the transfer; otherwise this is a defect of Holdfast.",
                )
    if not was_there:
        database.forget(thread_id)
    return Transferred(thread_id, digest, received.count, was_there)


def transfer_thread(source: Database, target: Database, thread_id: str) -> Transferred:
    """Copy a thread from one database into another. Idempotent, also after an interruption.

    Raises:
        ValueError: source and target are the same database.
        ThreadDiffers, NotMoved, DamagedThread, DatabaseUnavailable, NotOpen: as `export_thread` and `import_thread`.
    """
    if source.backend is target.backend:
        raise ValueError("The source and the target are the same database. Needed: two different ones.")

    def copy() -> Transferred:
        exported = export_thread(source, thread_id)
        try:
            return import_thread(target, thread_id, exported)
        finally:
            exported.close()

    return persist(target.backend, copy)


def date_by_checkpoints(database: Database, thread_id: str) -> None:
    """Give what a thread consists of the times of its checkpoints, as their ids say them.

    A thread that was saved anew, from a checkpointer of others, is then the same each time.
    """
    sql, thread = database.backend.sql, {"thread_id": thread_id}
    with database.backend.writing() as transaction:
        [rows] = transaction.run([(sql["checkpoint_ids"], thread)])
        times = [(row.checkpoint_id, moment_of(row.checkpoint_id) or 0.0) for row in rows]
        if not times:
            return
        for checkpoint_id, at in times:
            params = {**thread, "checkpoint_id": checkpoint_id, "at": at}
            transaction.send([(sql[name], params) for name in ("date_messages", "date_interrupts", "date_run_writes")])
        span = {**thread, "first": times[0][1], "at": times[-1][1]}
        transaction.send([(sql["date_closing"], span), (sql["date_thread"], span)])


def attempt_transfer(thread_id: str, transfer: Callable[[], Transferred]) -> Transferred:
    """Run the transfer of one thread, and return its outcome with the problem if this thread cannot be transferred.

    Raises:
        DatabaseUnavailable, NotOpen: a database is out of reach, so other threads would fail as well.
        InvalidArchive: the file is not usable.
    """
    try:
        return transfer()
    except (DatabaseUnavailable, NotOpen, InvalidArchive):
        raise
    except HoldfastError as error:
        return Transferred(thread_id, problem=str(error))


def thread_digest(database: Database, thread_id: str) -> str:
    """Return a thread's digest, which is the same in every database. A missing thread has the digest of nothing."""

    def read() -> str:
        with database.backend.reading() as transaction:
            return _read_digest(transaction, database, thread_id)

    return persist(database.backend, read)


def _read_digest(transaction: Transaction, database: Database, thread_id: str) -> str:
    digest = ThreadDigest(thread_id)
    for record in read_records(transaction, database, thread_id):
        digest.add(record)
    return digest.digest()
