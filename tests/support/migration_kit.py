"""Databases of earlier versions of our own schema."""

from __future__ import annotations

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends import migrations as migrate
from holdfast.checkpoints.encryption import opening
from holdfast.checkpoints.sql import migrations
from tests.support.dialects import dialect_of
from tests.support.kit import change, rows

EARLIER = range(1, migrate.KNOWN_VERSION)


def empty(saver: HoldfastSaver) -> None:
    """As if nothing had been made yet."""
    if dialect_of(saver) == "postgres":
        change(saver, "DROP SCHEMA public CASCADE")
        change(saver, "CREATE SCHEMA public")
        return
    made = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    for kind, name in sorted(rows(saver, made), reverse=True):
        change(saver, f"DROP {kind} {name}")


def open_as_version(url: str, version: int, monkeypatch: pytest.MonkeyPatch) -> HoldfastSaver:
    """Open a database with no migration above `version`."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "KNOWN_VERSION", version)
        patch.setattr(opening, "open_keys", lambda *_: None)  # there is no table that says whether it is encrypted
        patch.setattr(migrate, "migrations", lambda dialect: migrations(dialect)[:version])
        return open_checkpointer(url).open()
