"""The data keys are in another database: without it nothing can be read, and deletion takes older backups with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from holdfast.checkpoints import HoldfastSaver, convert, open_checkpointer, open_database
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.encryption.keyring import Keyring
from holdfast.checkpoints.errors import DamagedThread, InvalidKeys, KeyMissing
from tests.support.encryption_kit import KEY, NEWER_KEY
from tests.support.kit import rows, say, texts

SAID = "the eagle lands at noon"


def apart(url: str, keys_url: str, *keys: str) -> HoldfastSaver:
    return open_checkpointer(url, keys=keys or [KEY], keys_database=keys_url)


@pytest.mark.sweep(on="postgres")
def test_a_deleted_thread_is_not_readable_in_an_older_backup(url: str, tmp_path: Path) -> None:
    keys_url = f"sqlite:///{tmp_path / 'keys.db'}"
    with apart(url, keys_url) as saver:
        for thread_id in ("ada-1", "bob-1"):
            say(saver, SAID, thread_id=thread_id)
        assert rows(saver, "SELECT thread_id FROM holdfast_keys") == [("",)]
        body = rows(saver, "SELECT body FROM holdfast_messages WHERE thread_id = 'ada-1' AND seq = 1")
        saver.delete_thread("ada-1")
        assert texts(saver, "bob-1") == [SAID, f"You said: {SAID}"]
        assert body
    with sqlite3.connect(tmp_path / "keys.db") as keys:
        assert keys.execute("SELECT thread_id FROM holdfast_keys ORDER BY 1").fetchall() == [("",), ("bob-1",)]
    keys.close()
    with apart(url, keys_url) as saver:
        assert texts(saver, "bob-1") == [SAID, f"You said: {SAID}"]
        say(saver, "anew", thread_id="ada-1")
        saver.copy_thread("bob-1", "copy-1")
        assert (texts(saver, "ada-1")[0], texts(saver, "copy-1")[0]) == ("anew", SAID)


def test_a_key_is_not_among_the_new_ones_while_its_database_stores_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, seen = Keyring._write, list[bool]()

    def write_and_look(keyring: Keyring, call: Call) -> None:
        write(keyring, call)
        seen.append(keyring.is_new("ada-1"))  # another thread would store it beside the messages

    monkeypatch.setattr(Keyring, "_write", write_and_look)
    with apart(sqlite_url, f"sqlite:///{tmp_path / 'keys.db'}") as saver:
        say(saver, SAID)
    assert seen
    assert not any(seen)


def test_an_older_backup_holds_nothing_of_a_thread_that_was_deleted(sqlite_url: str, tmp_path: Path) -> None:
    keys_url = f"sqlite:///{tmp_path / 'keys.db'}"
    with apart(sqlite_url, keys_url) as saver:
        say(saver, SAID)
    backup = tmp_path / "backup.db"
    backup.write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
    with apart(sqlite_url, keys_url) as saver:
        saver.delete_thread("ada-1")
    with apart(f"sqlite:///{backup}", keys_url) as saver, pytest.raises(DamagedThread, match="does not have"):
        texts(saver)


def test_keys_are_looked_for_where_they_are(sqlite_url: str, tmp_path: Path) -> None:
    keys_url, other = (f"sqlite:///{tmp_path / name}.db" for name in ("keys", "other"))
    with apart(sqlite_url, keys_url) as saver:
        say(saver, SAID)
    with pytest.raises(KeyMissing, match="are in another database"):
        open_checkpointer(sqlite_url, keys=KEY).open()
    with pytest.raises(KeyMissing, match="are not in"):
        apart(sqlite_url, f"sqlite:///{tmp_path / 'empty.db'}").open()
    with pytest.raises(InvalidKeys, match="keys of another database"):
        apart(other, keys_url).open()
    with pytest.raises(InvalidKeys, match="Needed: another database"):
        apart(sqlite_url, sqlite_url)
    with pytest.raises(InvalidKeys, match="no master key"):
        open_checkpointer(sqlite_url, keys_database=keys_url)


def test_keys_apart_are_wrapped_anew(sqlite_url: str, tmp_path: Path) -> None:
    keys_url = f"sqlite:///{tmp_path / 'keys.db'}"
    with apart(sqlite_url, keys_url) as saver:
        say(saver, SAID)
    with open_database(sqlite_url, keys=[NEWER_KEY, KEY], keys_database=keys_url) as database:
        assert convert.rotate_keys(database.database).keys == 2
    with apart(sqlite_url, keys_url, NEWER_KEY) as saver:
        assert texts(saver) == [SAID, f"You said: {SAID}"]
        assert rows(saver, "SELECT master_id FROM holdfast_keys") == [("second",)]


def test_a_database_is_encrypted_with_its_keys_apart(sqlite_url: str, tmp_path: Path) -> None:
    keys_url = f"sqlite:///{tmp_path / 'keys.db'}"
    with open_checkpointer(sqlite_url) as saver:
        say(saver, SAID)
    with open_database(sqlite_url, keys=KEY, keys_database=keys_url, takes_plain=True) as database:
        assert convert.encrypt_database(database.database).threads == 1
    with apart(sqlite_url, keys_url) as saver:
        assert texts(saver) == [SAID, f"You said: {SAID}"]
