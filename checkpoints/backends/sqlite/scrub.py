"""Removal of deleted bytes from a SQLite file: from its free pages, its index of full text, and its write-ahead log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from holdfast.checkpoints.sql import Statements

UNREACHABLE: Final = (
    "Copies and backups of the file, snapshots of its disk, and blocks that the file has given back.",
)
"""Where deleted rows may be that are out of reach."""


def scrub_file(connection: sqlite3.Connection, sql: Statements, timeout: float) -> Iterator[str]:
    """Rewrite a file without what was deleted, and empty its log. Yield what may remain, and why.

    Deleted rows stay in free pages, in the unused parts of other pages, and in the log. Only VACUUM writes a file that
    has none of them; the log keeps the former pages until a checkpoint has moved all of it and cut it off.

    Args:
        connection: a connection that no other thread uses, outside of a transaction.
        sql: the statements of the database.
        timeout: the seconds for which the connection waits for other processes.
    """
    try:
        _merge_search(connection, sql)
        connection.execute("VACUUM")
    except sqlite3.Error as error:
        yield (
            f"The file and its log still have the deleted bytes: {error}. Another process may have been writing for "
            f"longer than {timeout:g} s, or the disk may lack the space for a second copy."
        )
        return
    [(is_busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if is_busy:
        yield (
            "The file or its log may still have deleted bytes: another process has been reading a snapshot for longer "
            f"than {timeout:g} s."
        )


def _merge_search(connection: sqlite3.Connection, sql: Statements) -> None:
    """Rewrite the index of full text: words of deleted rows are only marked as deleted until then."""
    [(_, is_made)] = connection.execute(sql["search_state"].text).fetchall()
    if is_made:
        connection.execute(sql["merge_search"].text)
