"""A database whose large tables are partitioned, as the guide to PostgreSQL says."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import psycopg
import pytest

from holdfast.checkpoints import maintenance, open_checkpointer, urls
from holdfast.checkpoints.backends import migrations
from holdfast.checkpoints.convert import drop_tables, expand_thread
from tests.support.children import approval_graph
from tests.support.forked import HOUSE
from tests.support.kit import change, rows, say, texts, thread
from tests.support.migration_kit import open_as_version
from tests.support.partitioned import partition

pytestmark = pytest.mark.sweep

LARGE = {"checkpoints", "checkpoint_blobs", "checkpoint_writes", "holdfast_messages"}
"""The tables that the script partitions."""


def test_a_database_in_use_is_partitioned_and_migrated(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_as_version(postgres_url, migrations.KNOWN_VERSION - 1, monkeypatch)) as saver:
        say(saver, "apples", "pears")
        approval_graph(saver).invoke({"messages": [("user", "May I?")]}, thread("asks"))
        change(saver, "CREATE ROLE reader")
        change(saver, "GRANT SELECT ON checkpoints, holdfast_transcript TO reader")
    try:
        assert partition(postgres_url, 3) == ""
        assert "is partitioned already; nothing was changed" in partition(postgres_url, 3)
        with open_checkpointer(postgres_url) as saver:
            assert texts(saver) == ["apples", "You said: apples", "pears", "You said: pears"]
            parted = "SELECT DISTINCT pg_partition_root(oid)::regclass::text FROM pg_class WHERE relispartition"
            assert {name for (name,) in rows(saver, parted)} >= LARGE
            may = "has_table_privilege('reader', '%s', 'SELECT')"
            views = ", ".join(may % name for name in ("checkpoints", "checkpoints_002", "holdfast_transcript"))
            assert rows(saver, f"SELECT {views}") == [(True, True, True)]
            assert rows(saver, "SELECT DISTINCT content FROM holdfast_transcript WHERE role = 'human' ORDER BY 1") == [
                ("May I?",),
                ("apples",),
                ("pears",),
            ]
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY reader")
            connection.execute("DROP ROLE reader")


def test_what_is_done_with_threads_is_done_in_their_parts(postgres_url: str) -> None:
    open_checkpointer(postgres_url).open().close()
    partition(postgres_url, 3)
    with open_checkpointer(postgres_url) as saver:
        for number in range(6):
            say(saver, f"apples {number}", "pears", thread_id=f"thread-{number}")
        saver.copy_thread("thread-0", "copy")
        saver.prune(["thread-1"])
        assert texts(saver, "thread-1") == ["apples 1", "You said: apples 1", "pears", "You said: pears"]
        assert len(saver.search.find("apples", limit=50)) == 14  # what was said and answered in six threads and a copy
        receipt = saver.erase("thread-2", vacuum=True)
        assert receipt.rows["holdfast_messages"] == 4
        assert receipt.rows.keys() >= {"checkpoints", "checkpoint_writes"}
        stats = maintenance.collect_stats(saver.database)
        assert stats.messages == 24
        assert {part.name for part in stats.parts if part.kind == "table"} >= LARGE
        assert not any(part.name.endswith("_000") for part in stats.parts)
    maintenance.vacuum(urls.parse(postgres_url))


def test_a_partitioned_database_is_given_back_to_the_stock_savers(postgres_url: str) -> None:
    open_checkpointer(postgres_url).open().close()
    partition(postgres_url, 3)
    with open_checkpointer(postgres_url) as saver:
        say(saver, "apples")
        expand_thread(saver.database, "ada-1")
        drop_tables(saver.database)
        assert rows(saver, "SELECT relname FROM pg_class WHERE relname LIKE 'holdfast%'") == []


def test_the_checkpointers_contract_holds_in_a_partitioned_database() -> None:
    sample = ["tests/contract/saver/test_conformance.py", "tests/contract/core/test_at_once.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--parts", "3", "-k", "postgres", *sample]
    done = subprocess.run(command, check=False, cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
