"""Making and migrating our own tables: forward only, each migration in the transaction that records it.

Who calls this holds the database's write lock, so of eight processes that start at once one makes the tables and seven
find them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from holdfast.checkpoints.backends.base import Row, Transaction
from holdfast.checkpoints.errors import SchemaTooNew
from holdfast.checkpoints.sql import Statement, Statements, migrations

KNOWN_VERSION: Final = 6
"""The newest schema that this code knows."""

_COMMENT = re.compile(r"--.*$", re.MULTILINE)


def is_current(transaction: Transaction, sql: Statements) -> bool:
    """Whether the tables are there, and none is missing.

    Raises:
        SchemaTooNew: newer code has changed the tables so that this code cannot read them.
    """
    [[(has_schema,)]] = transaction.run([(sql["has_schema"], {})])
    if not has_schema:
        return False
    [rows] = transaction.run([(sql["schema_versions"], {})])
    refuse_newer(rows)
    return len(rows) >= KNOWN_VERSION


def refuse_newer(rows: Sequence[Row]) -> None:
    """
    Args:
        rows: the migrations that a database has seen: version, name, and the oldest code that can read it since.

    Raises:
        SchemaTooNew: that is newer than this code.
    """
    if rows and (needed := max(min_reader for _, _, min_reader in rows)) > KNOWN_VERSION:
        newest = max(version for version, _, _ in rows)
        raise SchemaTooNew(
            f"This database has schema version {newest}, which only code that knows version {needed} or newer can "
            f"read; this code knows version {KNOWN_VERSION}. Upgrade Holdfast. Nothing was changed."
        )


def upgrade(transaction: Transaction, sql: Statements, dialect: str) -> None:
    """Apply each migration that the database has not seen yet.

    Raises:
        SchemaTooNew: as `is_current`.
    """
    if is_current(transaction, sql):
        return
    [[(has_schema,)]] = transaction.run([(sql["has_schema"], {})])
    applied = {row[0] for row in transaction.run([(sql["schema_versions"], {})])[0]} if has_schema else set()
    for migration in migrations(dialect):
        if migration.version in applied:
            continue
        script = [text.strip() for text in _COMMENT.sub("", migration.script).split(";") if text.strip()]
        record = {"version": migration.version, "name": migration.name, "min_reader": migration.min_reader}
        transaction.send(
            [
                *((Statement(f"migration_{migration.version}", text), {}) for text in script),
                (sql["record_migration"], record),
            ]
        )
