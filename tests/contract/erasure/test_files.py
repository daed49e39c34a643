"""After an erasure with a vacuum, the raw files of the database have no byte of what was erased."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from holdfast import open_store
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from tests.support.kit import say, texts
from tests.support.redaction_kit import SECRET, plant

BYTES = re.compile(SECRET.pattern.encode())


def in_files(files: Iterator[Path]) -> set[str]:
    """The secrets in the bytes of some files."""
    return {found.decode() for file in files for found in BYTES.findall(file.read_bytes())}


def in_sqlite(url: str) -> set[str]:
    path = Path(url.removeprefix("sqlite:///"))
    return in_files(path.parent.glob(f"{path.name}*"))


def in_postgres(url: str) -> set[str]:
    """The secrets in all files of a database, after the server has written what it has in its memory."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        folder = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        [(data, oid)] = connection.execute(folder).fetchall()
    return in_files(file for file in (Path(data) / "base" / str(oid)).iterdir())


def talking(saver: HoldfastSaver, end: Event) -> Thread:
    """Another process, as it were, which goes on with a conversation until it is to end."""

    def talk() -> None:
        said = 0
        while not end.is_set() or not said:
            said += 1
            say(saver, f"number {said}", thread_id="bob-1")

    talker = Thread(target=talk)
    talker.start()
    return talker


def test_sqlites_file_and_log_have_no_erased_byte_while_another_goes_on(sqlite_url: str) -> None:
    end = Event()
    with (
        open_checkpointer(sqlite_url) as saver,
        open_checkpointer(sqlite_url) as other,
        open_store(sqlite_url) as store,
    ):
        plant(saver)
        store.put(("ada", "facts"), "colour", {"is": "zqcolourqz"})
        saver.threads.delete("copy-1")  # its bytes are in free pages already
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # so they are in the file as well as in its log
        assert len(in_sqlite(sqlite_url)) > 30
        talker = talking(other, end)
        receipt = saver.erase(user_id="ada", vacuum=True)
        end.set()
        talker.join()
        assert (receipt.is_vacuumed, receipt.remains) == (True, [])
        assert in_sqlite(sqlite_url) == set()
        assert "number 1" in texts(other, "bob-1")


def test_a_receipt_says_that_bytes_may_be_left_while_another_reads_a_snapshot(sqlite_url_with_tables: str) -> None:
    with open_checkpointer(f"{sqlite_url_with_tables}?timeout=0.01") as saver:
        say(saver, "my zqsecretqz")
        with closing(sqlite3.connect(sqlite_url_with_tables.removeprefix("sqlite:///"))) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM checkpoints").fetchall()
            receipt = saver.erase("ada-1", vacuum=True)
            assert not receipt.is_vacuumed
            assert "reading a snapshot" in receipt.remains[0]
        again = saver.erase("ada-1", vacuum=True)
        assert (again.is_vacuumed, again.threads) == (True, ["ada-1"])
        assert in_sqlite(sqlite_url_with_tables) == set()


@pytest.mark.sweep
def test_postgresqls_tables_indexes_and_statistics_have_no_erased_byte(postgres_url: str) -> None:
    end = Event()
    with open_checkpointer(postgres_url) as saver, open_checkpointer(postgres_url) as other:
        with open_store(postgres_url) as store:
            plant(saver)
            store.put(("ada", "facts"), "colour", {"is": "zqcolourqz"})
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("ANALYZE")  # as the server does by itself
        planted = in_postgres(postgres_url)
        assert len(planted) > 30
        talker = talking(other, end)
        erased = saver.erase(user_id="ada")
        assert in_postgres(postgres_url) == planted
        assert not erased.is_vacuumed
        receipt = saver.erase(user_id="ada", vacuum=True)
        end.set()
        talker.join()
        assert (receipt.is_vacuumed, receipt.remains, receipt.threads) == (True, [], erased.threads)
        assert in_postgres(postgres_url) == set()


@pytest.mark.sweep
def test_a_receipt_says_that_an_older_transaction_of_postgresql_keeps_bytes(postgres_url: str) -> None:
    with open_checkpointer(f"{postgres_url}&timeout=0.5") as saver:
        say(saver, "my zqsecretqz")
        with psycopg.connect(postgres_url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT 1")
            receipt = saver.erase("ada-1", vacuum=True)
            assert not receipt.is_vacuumed
            assert "older than the deletion" in receipt.remains[0]
            assert in_postgres(postgres_url) == {"zqsecretqz"}
        assert saver.erase("ada-1", vacuum=True).is_vacuumed
        assert in_postgres(postgres_url) == set()
