"""The erasure of one thread, in one transaction, with its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.erasure.journal import Journal, Part
from holdfast.checkpoints.redaction.places import IDS
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.threads.prune import bury_threads


def tables_of_threads(database: Database) -> list[str]:
    """Return the tables of a database that have rows of threads, of those that Holdfast knows."""
    [rows] = database.read((database.backend.sql["tables_of_threads"], {}))
    return sorted({row.name for row in rows} & IDS.keys())


def erase_thread(
    database: Database, thread_id: str, tables: Sequence[str], journal: Journal, begun: Mapping[str, Any]
) -> bool:
    """Erase a thread, and record it. Idempotent.

    Args:
        database: the open database.
        thread_id: the thread.
        tables: the tables that have rows of threads.
        journal: the record of the erasure.
        begun: how the erasure began.

    Returns:
        Whether there was anything to erase.
    """
    # First, so that no kill can leave the key of an erased thread, if keys are in another database. Without its key, a
    # thread can still be erased.
    database.sealer.erase(thread_id)
    is_there = persist(database.backend, partial(_erase, database, thread_id, tables, journal, begun))
    database.forget(thread_id)
    database.prompts.pop(thread_id, None)
    return is_there


def _erase(
    database: Database, thread_id: str, tables: Sequence[str], journal: Journal, begun: Mapping[str, Any]
) -> bool:
    sql, params = database.backend.sql, {"thread_id": thread_id}
    with database.backend.writing() as transaction:
        # A thread of a stock saver has no row of its own yet. It gets one, which becomes the tombstone.
        names = ("adopt_thread", "lock_thread", "family")
        _, locked, family = transaction.run([(sql[name], params) for name in names])
        before = _count(transaction, tables, thread_id)
        if not before or (before.keys() == {"holdfast_threads"} and locked[0].deleted):
            return False
        bury_threads(transaction, database, [thread_id])
        transaction.send([(sql["delete_leases"], params)])
        kept = _count(transaction, tables, thread_id)
        copies = [row.thread_id for row in family if row.thread_id != thread_id]
        journal.note(transaction, Part([thread_id], before - kept, kept, copies=copies), begun)
    return True


def _count(transaction: Transaction, tables: Sequence[str], thread_id: str) -> Counter[str]:
    """Return the number of rows of a thread, by table, without tables that have none."""
    counts = " UNION ALL ".join(
        f"SELECT '{table}' AS place, count(*) AS number FROM {table} WHERE thread_id = :thread_id"  # noqa: S608 - ours
        for table in tables
    )
    call: Call = (Statement("count_rows_of_thread", counts), {"thread_id": thread_id})
    [rows] = transaction.run([call])
    return Counter({row.place: row.number for row in rows if row.number})
