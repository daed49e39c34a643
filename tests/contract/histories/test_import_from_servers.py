"""Conversations in tables on a server are imported as from a file: PostgreSQL, and MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import UnreadableHistory
from holdfast.histories import Columns, import_histories, read_sql
from tests.support import mariadb

COLUMNS = Columns(thread="session_id", user="user_id", role="role", content="content", time="created_at", id="id")
NOON = datetime(2021, 3, 1, 12, tzinfo=UTC)


def fill(url: str) -> None:
    """Make a table whose rows are in no order, of two conversations whose ids differ only in case."""
    import sqlalchemy as sa

    table = sa.Table(
        "chat_messages",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.String(100)) for name in ("session_id", "user_id", "role")),
        sa.Column("content", sa.Text),
        sa.Column("created_at", sa.DateTime),
    )
    engine = sa.create_engine(url)
    table.metadata.create_all(engine)
    rows = [
        (one, "Ada" if one % 2 else "ada", "ada", "user", f"message {one} €😀", NOON.replace(tzinfo=None, second=one))
        for one in (4, 1, 3, 2, 6, 5)
    ]
    with engine.begin() as connection:
        names = [column.name for column in table.columns]
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
    engine.dispose()


def check(target: str, url: str) -> None:
    with open_checkpointer(target) as saver:
        found = list(import_histories(saver, read_sql(url, table="chat_messages", columns=COLUMNS)))
        entries = [entry for entry in saver.transcript("ada") if entry.kind == "message"]
    outcomes = sorted((one.thread_id, one.outcome, one.messages) for one in found)
    assert outcomes == [("Ada", "added", 3), ("ada", "added", 3)]
    assert [(entry.text, entry.at) for entry in entries] == [
        (f"message {number} €😀", NOON.replace(second=number)) for number in (2, 4, 6)
    ]
    with pytest.raises(UnreadableHistory, match="other cannot be read") as caught:
        list(read_sql(url, table="other", columns=COLUMNS))
    assert "geheim" not in str(caught.value)


@pytest.fixture(scope="module")
def old_mariadb() -> Iterator[str]:
    with mariadb.mariadb() as url:
        yield url


def test_a_table_on_postgresql_is_imported(sqlite_url: str, postgres_url: str) -> None:
    fill(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    check(sqlite_url, postgres_url)


@pytest.mark.sweep
@pytest.mark.skipif(mariadb.missing() is not None, reason=str(mariadb.missing()))
def test_a_table_on_mariadb_is_imported(sqlite_url: str, old_mariadb: str) -> None:
    fill(old_mariadb.replace("mysql://", "mysql+pymysql://"))
    check(sqlite_url, old_mariadb)
