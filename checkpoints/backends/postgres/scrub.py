"""Removal of deleted bytes from the files of PostgreSQL's tables, and from the samples that its statistics keep.

VACUUM leaves the bytes of deleted rows in their pages until something is written over them. VACUUM FULL writes new
files without them, unless a transaction is open that began before the rows were deleted: to that one they still exist.
And ANALYZE, which the server runs by itself, copies values of columns into `pg_statistic`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from psycopg.errors import Diagnostic, LockNotAvailable

from holdfast.checkpoints.backends.postgres.pool import Connection
from holdfast.checkpoints.backends.postgres.session import is_direct

UNREACHABLE: Final = (
    "The server's write-ahead log until its segments are reused, and archives of it.",
    "Backups and dumps of the server, standbys that are behind, and blocks that files have given back.",
)
"""Where deleted rows may be that are out of reach."""

_TABLES: Final = """
SELECT format('%%I.%%I', namespaces.nspname, tables.relname), namespaces.nspname, tables.relname, tables.relkind = 'p'
FROM pg_class AS tables
JOIN pg_namespace AS namespaces ON namespaces.oid = tables.relnamespace
WHERE tables.relkind IN ('r', 'p') AND namespaces.nspname = coalesce(CAST(%s AS TEXT), current_schema())
  AND (starts_with(tables.relname, 'holdfast_') OR starts_with(tables.relname, 'checkpoint')
       OR tables.relname IN ('store', 'store_vectors'))
ORDER BY tables.relname
"""

# Transactions, standbys and prepared transactions to which rows that were deleted before `%s` may still exist.
_OLDER: Final = """
SELECT count(*)
FROM (
  SELECT backend_xmin AS xid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  UNION ALL
  SELECT backend_xid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  UNION ALL
  SELECT xmin FROM pg_replication_slots
  UNION ALL
  SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()
) AS others
WHERE xid IS NOT NULL AND age(xid) > age(CAST(CAST(%s AS TEXT) AS xid))
"""

_HIDDEN: Final = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND query = '<insufficient privilege>'
"""

_NEW_ID: Final = "SELECT CAST(CAST(pg_current_xact_id() AS xid) AS TEXT)"

# ANALYZE leaves what it knew of a table that has no rows any more.
_CLEAR: Final = """
SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited)
FROM pg_stats
WHERE schemaname = %s AND tablename = %s
"""
_HAS_SAMPLES: Final = "SELECT count(*) FROM pg_stats WHERE schemaname = %s AND tablename = %s"
_CAN_CLEAR: Final = 180_000


def scrub_tables(connection: Connection, schema: str | None, timeout: float) -> Iterator[str]:
    """Write the files of all tables anew without what was deleted. Yield what may remain, and why.

    Each table is locked while it is written, one after the other.

    Args:
        connection: a connection outside of a transaction.
        schema: the schema that the URL names.
        timeout: the seconds to wait for transactions that are older than the deletion.
    """
    older = (
        "have the deleted bytes: a transaction, a prepared transaction or a replication slot is older than the "
        f"deletion, and did not end within {timeout:g} s."
    )
    if not _wait_for_older(connection, timeout):
        yield f"The tables still {older} They were not rewritten."
        return
    with _notices(connection) as notices, _lock_timeout(connection, timeout):
        tables = connection.execute(_TABLES, [schema]).fetchall()
        for table, namespace, name, has_parts in tables:
            yield from _samples(connection, namespace, name)
            # The parts are tables of their own, and the whole has statistics only.
            work = "ANALYZE" if has_parts else "VACUUM (FULL, ANALYZE, VERBOSE)"
            yield from _rewrite(connection, f"{work} {table}", name)
        if not _wait_for_older(connection, timeout):
            yield f"The statistics of the server may still {older}"
        yield from _rewrite(connection, "VACUUM (FULL) pg_catalog.pg_statistic", "pg_statistic")
        [(hidden,)] = connection.execute(_HIDDEN).fetchall()
    if hidden and any(map(_kept_rows, notices)):
        yield (
            "The tables may still have deleted bytes: there are sessions of other roles, of which this role cannot see "
            "how old their transactions are. GRANT pg_read_all_stats lets it."
        )
    for notice in notices:
        if notice.severity_nonlocalized == "WARNING":
            yield f"PostgreSQL left a table as it was: {notice.message_primary}."


def _rewrite(connection: Connection, statement: str, table: str) -> Iterator[str]:
    """Run a statement that rewrites a table, and yield what is to be said if it could not be locked."""
    try:
        connection.execute(statement.encode())
    except LockNotAvailable:
        yield f"Table {table} may still have deleted bytes: other transactions have used it all the time."


@contextmanager
def _lock_timeout(connection: Connection, timeout: float) -> Iterator[None]:
    """Limit the wait for each lock: what comes after it in the queue for a table waits as well.

    Behind a pooler there is no limit but the role's own, since it would stay with the session for other clients.
    """
    if not is_direct(connection):
        yield
        return
    connection.execute(f"SET lock_timeout = {max(1, int(timeout * 1000))}".encode())
    try:
        yield
    finally:
        connection.execute("RESET lock_timeout")


def _samples(connection: Connection, namespace: str, name: str) -> Iterator[str]:
    """Delete what the statistics of an empty table still know. Of any other, ANALYZE takes new samples."""
    [(has_rows,)] = connection.execute(
        f'SELECT EXISTS (SELECT 1 FROM "{namespace}"."{name}")'.encode()  # noqa: S608 - our own names
    ).fetchall()
    if has_rows:
        return
    if connection.info.server_version >= _CAN_CLEAR:
        connection.execute(_CLEAR, [namespace, name])
        return
    [(samples,)] = connection.execute(_HAS_SAMPLES, [namespace, name]).fetchall()
    if samples:
        yield (
            f"The statistics of the empty table {name} may still have samples of what it held. The next ANALYZE with "
            "rows in it replaces them."
        )


def _wait_for_older(connection: Connection, timeout: float) -> bool:
    """Wait until every transaction that is open now has ended. Return whether all have."""
    deadline = time.monotonic() + timeout
    [(newest,)] = connection.execute(_NEW_ID).fetchall()
    while True:
        [(older,)] = connection.execute(_OLDER, [newest]).fetchall()
        if not older:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # nothing tells when a transaction of another session has ended


@contextmanager
def _notices(connection: Connection) -> Iterator[list[Diagnostic]]:
    """Collect what the server says during the block."""
    found: list[Diagnostic] = []
    connection.add_notice_handler(found.append)
    try:
        yield found
    finally:
        connection.remove_notice_handler(found.append)


def _kept_rows(notice: Diagnostic) -> bool:
    """Return whether VACUUM says, in any language, that it has kept deleted rows: their number is in its first line."""
    first_line = (notice.message_detail or "").partition("\n")[0]
    return any(digit in first_line for digit in "123456789")
