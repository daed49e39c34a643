"""A database is encrypted while it is in use, and its master key changed."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, convert, maintenance, open_checkpointer, open_database
from holdfast.checkpoints.errors import EncryptedDatabase, KeyMissing, NotEncrypted, NotStorable
from holdfast.checkpoints.runs import NewRun
from tests.support.encryption_kit import KEY, NEWER_KEY, encrypted
from tests.support.kit import change, rows, say, texts, thread
from tests.support.redaction_kit import graph_of, plant, raw_secrets
from tests.support.stock_kit import in_stock

SAID = "the eagle lands at noon"


def converter(url: str, keys: Any = KEY) -> Any:
    return open_database(url, keys=keys, takes_plain=True)


def state(saver: HoldfastSaver) -> list[Any]:
    """All that a graph finds in the history of each thread."""
    found = list(saver.threads.all())
    return [found, *([repr(s.values), s.metadata, s.next] for t in found for s in history(saver, t.thread_id))]


def history(saver: HoldfastSaver, thread_id: str) -> list[Any]:
    return list(graph_of(saver).get_state_history(thread(thread_id)))


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep
def test_everything_that_is_there_is_encrypted_and_loads_as_before(url: str) -> None:
    with open_checkpointer(url) as saver:
        plant(saver)
        before = state(saver)
        assert raw_secrets(saver)
    with converter(url) as database:
        done = convert.encrypt_database(database.database)
        assert (done.threads, done.failed) == (len(before[0]), {})
        assert convert.encrypt_database(database.database).threads == 0
    with encrypted(url) as saver:
        assert raw_secrets(saver) == {}
        # What is counted is the same, but for the numbers of rows.
        assert state(saver)[1:] == before[1:]
        stats = maintenance.collect_stats(saver.database)
        assert (stats.encryption, stats.keys) == ("on", {"first": done.threads + 1})


@pytest.mark.sweep
def test_conversations_go_on_while_their_database_is_encrypted(url: str) -> None:
    with open_checkpointer(url) as before, converter(url) as database:
        for thread_id in ("ada-1", "bob-1", "eve-1"):
            say(before, SAID, thread_id=thread_id)
        convert.prepare_encryption(database.database)
        with encrypted(url) as saver:
            say(saver, "and on", thread_id="ada-1")  # a process with keys encrypts what it writes to
            assert raw_texts(saver) == [None] * 4 + [SAID, f"You said: {SAID}"] * 2
            assert texts(saver, "bob-1") == [SAID, f"You said: {SAID}"]
            say(before, "still here", thread_id="bob-1")  # one without keys goes on where nothing is encrypted
            assert convert.encrypt_database(database.database).threads == 2
            say(saver, "and on", thread_id="bob-1")
            assert texts(saver, "bob-1")[-2:] == ["and on", "You said: and on"]
            with pytest.raises(NotStorable, match="is encrypted"):
                say(before, "no more", thread_id="bob-1")
            with pytest.raises(KeyMissing, match="no keys were given"):
                say(before, "nor here", thread_id="new")
            assert None not in raw_keys(saver)


def raw_texts(saver: HoldfastSaver) -> list[Any]:
    return [text for (text,) in rows(saver, "SELECT content FROM holdfast_messages ORDER BY thread_id, seq")]


def raw_keys(saver: HoldfastSaver) -> list[Any]:
    return [key_no for (key_no,) in rows(saver, "SELECT key_no FROM holdfast_messages")]


def test_an_encryption_that_was_cut_off_goes_on_and_damage_is_named(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        for thread_id in ("ada-1", "bob-1"):
            say(saver, SAID, thread_id=thread_id)
        change(saver, "UPDATE checkpoints SET metadata = CAST('{' AS BLOB) WHERE thread_id = 'bob-1'")
    with converter(sqlite_url) as database:
        done = convert.encrypt_database(database.database)
        assert (done.threads, list(done.failed)) == (1, ["bob-1"])
        assert maintenance.collect_stats(database.database).encryption == "converting"
    with encrypted(sqlite_url) as saver:
        assert len(saver.threads.list().threads) == 2
        saver.delete_thread("bob-1")
    with converter(sqlite_url) as database:
        assert convert.encrypt_database(database.database).failed == {}
        assert maintenance.collect_stats(database.database).encryption == "on"


def test_the_threads_of_a_stock_saver_are_encrypted_too(sqlite_url: str) -> None:
    in_stock(sqlite_url, lambda stock: graph_of(stock).invoke({"messages": [HumanMessage("zqtitleqz")]}, thread()))
    with pytest.raises(NotEncrypted):
        encrypted(sqlite_url).open()
    with converter(sqlite_url) as database:
        assert convert.encrypt_database(database.database).threads == 1
        with pytest.raises(EncryptedDatabase, match="holdfast db copy --plain"):
            convert.compact_thread(database.database, "ada-1")
    with encrypted(sqlite_url) as saver:
        assert raw_secrets(saver) == {}
        assert texts(saver)[0] == "zqtitleqz"


@pytest.mark.sweep
def test_the_master_key_is_changed_while_conversations_go_on(url: str) -> None:
    with encrypted(url) as saver:
        for number in range(3):
            say(saver, SAID, thread_id=f"ada-{number}")
        with encrypted(url, [NEWER_KEY, KEY]) as new:
            assert convert.keys_in_use(new.database) == {"first": 4}
            done = convert.rotate_keys(new.database)
            assert (done.keys, done.master_id) == (4, "second")
            assert convert.rotate_keys(new.database).keys == 0
            say(saver, "and on", thread_id="ada-1")  # the data keys that a process knows stay as they are
            assert texts(new, "ada-1")[-2:] == ["and on", "You said: and on"]
    with encrypted(url, NEWER_KEY) as saver:
        assert [texts(saver, f"ada-{number}")[0] for number in range(3)] == [SAID] * 3
    with pytest.raises(KeyMissing, match="'second' is needed"):
        encrypted(url).open()
    with open_checkpointer("memory://") as plain, pytest.raises(KeyMissing, match="No keys were given"):
        convert.rotate_keys(plain.database)


def test_a_turn_that_was_accepted_is_encrypted_and_carried_out_afterwards(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        say(saver, SAID)
        run = saver.runs.accept(NewRun("ada-1", "agent", "message", {"text": "zqinputqz"}, key="once"))
    with converter(sqlite_url) as database:
        convert.encrypt_database(database.database)
    with encrypted(sqlite_url) as saver:
        assert raw_secrets(saver) == {}
        again = saver.runs.accept(NewRun("ada-1", "agent", "message", {"text": "zqinputqz"}, key="once"))
        assert again.run_id == run.run_id
