"""Moving house: a thread is taken out of one database and put into another, whole.

What comes out is the same wherever the thread lies (see `records`). What went in is taken out again before it is
committed, and must be the same: so a thread is there as it was, or not at all.

Leases stay behind. A tool call that somebody was running when the thread was taken out comes as it is; its owner is not
on the other side, so there it will be in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    HoldfastError,
    InvalidArchive,
    NotMoved,
    NotOpen,
    ThreadDiffers,
)
from holdfast.checkpoints.serde.encryption import Plain
from holdfast.checkpoints.transfer.reader import records
from holdfast.checkpoints.transfer.records import Record, ThreadDigest
from holdfast.checkpoints.transfer.writer import Arrival

_THREADS: Final = 500  # whose ids are read at once


class Moved(NamedTuple):
    """What came of bringing a thread into a database."""

    thread_id: str
    digest: str
    records: int
    """Of how many parts it consists."""
    was_there: bool
    """It was there already, the same, and nothing was written."""


class Transferred(NamedTuple):
    """What came of one thread among many."""

    thread_id: str
    moved: Moved | None
    problem: str | None = None
    """Why it was not moved."""


def count(database: Database) -> int:
    """How many threads can be taken out."""
    [[(threads,)]] = database.read((database.backend.sql["count_movable"], {}))
    return int(threads)


def threads(database: Database) -> Iterator[str]:
    """The threads of a database, in an order that stays; nothing is locked in between."""
    after = ""
    while True:
        [found] = database.read((database.backend.sql["movable_after"], {"after": after, "limit": _THREADS}))
        yield from (str(thread_id) for (thread_id,) in found)
        if len(found) < _THREADS:
            return
        after = found[-1][0]


def is_there(database: Database, thread_id: str) -> bool:
    """Whether a thread can be taken out."""
    params = {"thread_id": thread_id}
    known, [(saved,)] = database.read(
        (database.backend.sql["page_of_thread"], params), (database.backend.sql["has_checkpoints"], params)
    )
    return bool(known or saved)


# --- out


def export_thread(database: Database, thread_id: str) -> Generator[Record]:
    """A thread, all of one moment and in pages. The first record is its own; of one that is not there come none.

    The transaction in which it is read is open until the last record is taken, or the iterator is closed.

    Raises:
        DamagedThread: something of it cannot be read.
        NotMoved: something of it has no form that another database could hold, or it is encrypted.
        DatabaseUnavailable, NotOpen: as ever.
    """
    with database.backend.reading() as transaction:
        yield from records(transaction, database, thread_id)


# --- in


def import_thread(database: Database, thread_id: str, found: Iterable[Record]) -> Moved:
    """Put a thread into a database, in one transaction: as its records say, or not at all.

    If it is there already and is the same, nothing is written. An id that was deleted can be used again; whoever knew
    that thread is refused, as by any thread that was begun anew.

    Args:
        store: the database.
        thread_id: the thread.
        found: its records, as `export_thread` gives them.

    Raises:
        ThreadDiffers: the thread is there, and is not the same.
        NotMoved: the database cannot hold it as it is, or what its tools have done is told there in another way.
        DatabaseUnavailable, NotOpen: as ever.
    """
    if not isinstance(database.sealer, Plain):
        raise NotMoved(thread_id, "this database is encrypted, and nothing can be moved into it yet.")
    sql, params = database.backend.sql, {"thread_id": thread_id}
    digest = ThreadDigest(thread_id)
    with database.backend.writing() as transaction:
        _, _, [(is_empty,)] = transaction.run(
            [(sql["add_thread"], params), (sql["lock_thread"], params), (sql["is_empty"], params)]
        )
        arrival = Arrival(transaction, database, thread_id) if is_empty else None
        for record in found:
            digest.add(record)
            if arrival is not None:
                arrival.add(record)
        said = digest.digest()
        if not digest.count:
            raise NotMoved(thread_id, "there is no such thread.")
        # One with nothing in it may be there already, and then nothing was sent so far.
        was_there = (arrival is None or digest.count == 1) and _digest(
            transaction, database, thread_id
        ).digest() == said
        if arrival is None and not was_there:
            raise ThreadDiffers(thread_id)
        if arrival is not None and not was_there:
            arrival.end()
        if not was_there and _digest(transaction, database, thread_id).digest() != said:
            raise NotMoved(
                thread_id,
                "it would not be there as it was. Is a program writing to it in this moment? Then stop it and repeat "
                "this; else it is a defect of Holdfast.",
            )
    if not was_there:
        database.cache.forget(thread_id)
    return Moved(thread_id, said, digest.count, was_there)


def copy_thread(source: Database, target: Database, thread_id: str) -> Moved:
    """Copy a thread from one database into another. Repeated after it was cut off it comes to the same.

    Raises:
        ValueError: it is the same database.
        ThreadDiffers, NotMoved, DamagedThread, DatabaseUnavailable, NotOpen: as `export_thread` and `import_thread`.
    """
    if source.backend is target.backend:
        raise ValueError("The source and the target are the same database.")

    def copy() -> Moved:
        leaving = export_thread(source, thread_id)
        try:
            return import_thread(target, thread_id, leaving)
        finally:
            leaving.close()

    return persist(target.backend, copy)


def attempt(thread_id: str, move: Callable[[], Moved]) -> Transferred:
    """Move a thread; if that cannot be done for what the thread is, the outcome says why.

    Raises:
        DatabaseUnavailable, NotOpen: one of the databases is the reason, and others would fail as well.
        InvalidArchive: the file is.
    """
    try:
        return Transferred(thread_id, move())
    except (DatabaseUnavailable, NotOpen, InvalidArchive):
        raise
    except HoldfastError as error:
        return Transferred(thread_id, None, str(error))


def thread_digest(database: Database, thread_id: str) -> str:
    """The digest of a thread: the same wherever it lies, and of a thread that is not there that of nothing."""

    def read() -> str:
        with database.backend.reading() as transaction:
            return _digest(transaction, database, thread_id).digest()

    return persist(database.backend, read)


def _digest(transaction: Transaction, database: Database, thread_id: str) -> ThreadDigest:
    digest = ThreadDigest(thread_id)
    for record in records(transaction, database, thread_id):
        digest.add(record)
    return digest
