"""Conversion of threads between the form of LangGraph's own savers, the stock savers, and that of Holdfast.

`compact_thread` replaces the messages in stock checkpoints by references to rows. `expand_thread` puts them back.
`encrypt_database` and `rotate_keys` are about encryption.

Each thread is converted in one transaction under its lock, which commits only if every checkpoint loads as before. So a
process may be killed at any time: the converted threads stay converted, and the next process continues.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.convert.base import Conversion
from holdfast.checkpoints.convert.compact import Compaction
from holdfast.checkpoints.convert.encrypt import (
    EncryptedThreads,
    RotatedKeys,
    count_plain,
    encrypt_database,
    keys_in_use,
    prepare_encryption,
    rotate_keys,
)
from holdfast.checkpoints.convert.expand import Expansion
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.masters import new_key
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    EncryptedDatabase,
    HoldfastError,
    NotConverted,
    NotOpen,
)
from holdfast.checkpoints.sql import Statement

__all__ = [
    "Converted",
    "EncryptedThreads",
    "Examined",
    "RotatedKeys",
    "compact_thread",
    "convertible_threads",
    "count_convertible",
    "count_plain",
    "drop_tables",
    "encrypt_database",
    "examine_thread",
    "expand_thread",
    "find_damage",
    "keys_in_use",
    "new_key",
    "prepare_encryption",
    "rotate_keys",
]

_NAME: Final = re.compile("holdfast_[a-z_0-9]+")


@dataclass(frozen=True, slots=True)
class Converted:
    """The outcome of the conversion of one thread."""

    thread_id: str
    rewritten: int = 0
    """The number of values that were rewritten."""
    left: int = 0
    """The number of values that could not be rewritten."""
    bytes_before: int = 0
    bytes_after: int = 0
    problem: str | None = None
    """Why the thread, or some of its values, could not be rewritten."""


def count_convertible(database: Database) -> int:
    """Count the threads that have checkpoints."""
    with database.backend.reading() as transaction:
        [[row]] = transaction.run([(database.backend.sql["count_threads"], {})])
    return int(row.number)


def convertible_threads(database: Database) -> Iterator[str]:
    """Return the ids of the threads that have checkpoints; see `Database.find_threads`."""
    return database.find_threads("threads_after")


def compact_thread(database: Database, thread_id: str) -> Converted:
    """Replace the messages in a thread's stock checkpoints and writes by references to rows. Idempotent.

    Messages of classes that may not be loaded stay in place. If a value cannot be loaded, or would load differently
    afterwards, the thread is not changed, and the outcome says why.

    Raises:
        DatabaseUnavailable, NotOpen: as for every write.
    """
    return _converted(database, thread_id, Compaction)


def expand_thread(database: Database, thread_id: str) -> Converted:
    """Put the messages of a thread back into its checkpoints and writes, for the stock savers. Idempotent.

    The rows stay. A value that the stock savers cannot hold is not changed, and the outcome says so.

    Raises:
        DatabaseUnavailable, NotOpen: as for every write.
    """
    return _converted(database, thread_id, Expansion)


def drop_tables(database: Database) -> None:
    """Remove Holdfast's own tables, with the transcripts, from a database whose threads are expanded.

    No process may use the database meanwhile.

    Raises:
        NotConverted: a thread is not expanded, or one of its tool calls is in doubt. Nothing was removed.
    """
    sql = database.backend.sql
    with database.backend.writing() as transaction:
        ours, doubtful, objects = transaction.run(
            [(sql["still_ours"], {}), (sql["open_effect"], {}), (sql["our_objects"], {})]
        )
        if doubtful:
            raise NotConverted(
                f"In thread {doubtful[0].thread_id!r} a tool that changes the world was started, and its outcome is "
                "unknown. Without Holdfast's tables it would run again without asking. Decide first: "
                "`holdfast approvals list`."
            )
        if ours:
            raise NotConverted(
                f"Thread {ours[0].thread_id!r} still refers to message rows, so Holdfast's tables were not removed. "
                "Run `holdfast db expand` again, and read what it reports for this thread."
            )
        names = [(kind, name) for kind, name in objects if _NAME.fullmatch(name)]
        # First the views on our tables and the indexes on LangGraph's; indexes on ours are removed with their tables.
        # Then the full-text index, which refers to messages. On SQLite, the tables that it consists of are removed with
        # it and cannot be removed by themselves.
        names.sort(key=lambda name: (name[0] == "table", name[1] != "holdfast_search", name))
        transaction.run([(Statement("drop", f"DROP {kind.upper()} IF EXISTS {name}"), {}) for kind, name in names])


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination of a thread has found."""

    damage: str | None
    """Why a part of the thread cannot be loaded; `None` if every part can."""
    not_rebuilt: Mapping[str, str]
    """The types, as `module:name`, whose values are loaded as what they consist of, and why. It is no damage."""


def examine_thread(database: Database, thread_id: str) -> Examined:
    """Load every part of a thread, and return what cannot be loaded or not be rebuilt. Changes nothing."""
    types = database.types.quiet_copy()
    work = Conversion(database, thread_id, types)
    damage = None
    try:
        with database.backend.reading() as transaction:
            work.fingerprints(transaction, work.outline(transaction))
    except (DatabaseUnavailable, NotOpen):
        raise
    except HoldfastError as error:
        damage = str(error)
    return Examined(damage, {":".join(name): reason for name, reason in types.not_rebuilt.items()})


def find_damage(database: Database, thread_id: str) -> str | None:
    """Return why a part of a thread cannot be loaded; `None` if every part can."""
    return examine_thread(database, thread_id).damage


def _converted(database: Database, thread_id: str, kind: Callable[[Database, str], Conversion]) -> Converted:
    if database.sealer.encrypts:
        raise EncryptedDatabase(
            "The database is encrypted, and the savers of LangGraph cannot read or write it. To give its conversations "
            "back to them, copy them into a new database without encryption: holdfast db copy --plain"
        )
    work = kind(database, thread_id)
    try:
        with database.backend.writing() as transaction:
            outcome = _convert(transaction, work)
    except (DatabaseUnavailable, NotOpen):
        raise
    except HoldfastError as error:
        return Converted(thread_id, problem=str(error))
    if outcome.rewritten:
        database.forget(thread_id)
    return outcome


def _convert(transaction: Transaction, work: Conversion) -> Converted:
    checkpoints = work.outline(transaction)
    if not checkpoints:
        return Converted(work.thread_id)
    work.begin(transaction, work.lock(transaction))
    if not work.has_work(transaction, checkpoints):
        return Converted(work.thread_id)
    checkpoints = work.outline(transaction)  # again, now under the lock
    size = work.size(transaction)
    before = work.fingerprints(transaction, checkpoints)
    if work.prepare(transaction):
        prepared = work.fingerprints(transaction, checkpoints)
        saved = {key: prints.saved for key, prints in prepared.items()}
        _check(work, [key for key, prints in before.items() if saved.get(key) != prints.saved])
        before = prepared
    for checkpoint in checkpoints:
        work.rewrite(transaction, checkpoint)
    work.end(transaction)
    after = work.fingerprints(transaction, checkpoints)
    _check(work, [key for key, prints in before.items() if after.get(key) != prints])
    problem = None
    if work.problems:
        problem = (
            f"Thread {work.thread_id!r}: the stock savers have no form for {len(work.problems)} of its values, which "
            f"were left as they are; the first is in {work.problems[0]}."
        )
    return Converted(work.thread_id, work.rewritten, len(work.problems), size, work.size(transaction), problem)


def _check(work: Conversion, differing: Sequence[tuple[str, str]]) -> None:
    """Refuse a conversion after which checkpoints would load differently.

    Args:
        work: the conversion.
        differing: namespaces and ids of these checkpoints.

    Raises:
        NotConverted: there are such checkpoints.
    """
    if differing:
        first = min(checkpoint_id for _, checkpoint_id in differing)
        raise NotConverted(
            f"Thread {work.thread_id!r} was left as it is: checkpoint {first} would not be loaded as it was. "
            "If a stock saver is writing to it at this moment, run this again; otherwise this is a defect of Holdfast."
        )
