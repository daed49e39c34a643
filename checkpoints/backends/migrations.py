"""Creation and migration of our own tables: forward only, each migration in the transaction that records it.

The caller holds the write lock of the database, so that of eight processes that start at once one makes the tables and
the others find them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.errors import SchemaTooNew
from holdfast.checkpoints.sql import Statement, Statements, migrations

KNOWN_VERSION: Final = 11
"""The newest schema that this code knows."""

_COMMENT = re.compile(r"--.*$", re.MULTILINE)


def is_current(transaction: Transaction, sql: Statements) -> bool:
    """Return whether the tables exist and all migrations were applied.

    Raises:
        SchemaTooNew: newer code has changed the tables so that this code cannot read them.
    """
    [[schema]] = transaction.run([(sql["has_schema"], {})])
    if not schema.has_schema:
        return False
    [rows] = transaction.run([(sql["schema_versions"], {})])
    refuse_newer({row.version: row.min_reader for row in rows})
    return len(rows) >= KNOWN_VERSION


def refuse_newer(applied: Mapping[int, int]) -> None:
    """Refuse a database that this code is too old for.

    Args:
        applied: the versions of the migrations that were applied to the database, and for each the oldest code that
            can read the database since.

    Raises:
        SchemaTooNew: a newer code is needed.
    """
    if applied and (needed := max(applied.values())) > KNOWN_VERSION:
        newest = max(applied)
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
    [[schema]] = transaction.run([(sql["has_schema"], {})])
    applied = (
        {row.version for row in transaction.run([(sql["schema_versions"], {})])[0]} if schema.has_schema else set()
    )
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
