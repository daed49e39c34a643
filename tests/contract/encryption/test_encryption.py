"""An encrypted database: nothing that was said is in the clear, and nothing can be moved, altered or put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import (
    EncryptedDatabase,
    InvalidKeys,
    KeyMissing,
    NotEncrypted,
    NotStorable,
    SealBroken,
    SearchUnavailable,
)
from tests.support.dialects import dialect_of
from tests.support.encryption_kit import KEY, NEWER_KEY, encrypted
from tests.support.kit import change, echo_graph, forget, rows, say, texts, thread
from tests.support.redaction_kit import graph_of, plant, raw_secrets, secrets_in
from tests.support.transfer_kit import move

SAID = "the eagle lands at noon"


def read(saver: HoldfastSaver) -> set[str]:
    """The secrets that the public readers return."""
    found: list[Any] = []
    for each in saver.threads.all():
        found += [each, *saver.transcript(each.thread_id), *graph_of(saver).get_state_history(thread(each.thread_id))]
    return set(secrets_in([*found, saver.interrupts.waiting(), saver.threads.prompt("ada-1")]))


@pytest.mark.sweep(on="postgres")
def test_no_column_of_any_table_has_a_word_in_the_clear_and_every_reader_has_all_of_them(url: str) -> None:
    with open_checkpointer("memory://") as plain:
        plant(plain)
        said = read(plain)
    with encrypted(url) as saver:
        plant(saver)
        saver.prune(["copy-1"])
        assert read(saver) == said
        assert raw_secrets(saver) == {}
        if dialect_of(url) == "sqlite":
            files = Path(url.removeprefix("sqlite:///")).parent.glob("*.db*")
            assert [list(secrets_in(file.read_bytes())) for file in files] == [[], [], []]
    with encrypted(url) as saver:  # the keys are read again
        assert read(saver) == said


def test_a_database_is_opened_with_its_own_keys_and_no_others(url: str) -> None:
    with encrypted(url) as saver:
        say(saver, SAID)
        masters = "SELECT DISTINCT master_id FROM holdfast_keys"
        assert rows(saver, masters) == [("first",)]
    with pytest.raises(KeyMissing, match="is encrypted with the master keys first, and no keys were given"):
        open_checkpointer(url).open()
    with pytest.raises(KeyMissing, match="master key 'first' is needed, and the keys that were given are second"):
        encrypted(url, NEWER_KEY).open()
    with pytest.raises(KeyMissing, match="'first' is not the one") as refused:
        encrypted(url, NEWER_KEY.replace("second", "first")).open()
    assert NEWER_KEY.partition(":")[2] not in repr(refused.value)
    with encrypted(url, [NEWER_KEY, KEY]) as saver:
        assert texts(saver) == [SAID, f"You said: {SAID}"]
        say(saver, "new", thread_id="new")
        assert rows(saver, "SELECT master_id FROM holdfast_keys WHERE thread_id = 'new'") == [("second",)]
        assert KEY.partition(":")[2] not in repr([saver, vars(saver._database.sealer.keyring.service)])


def test_a_thread_keeps_its_key_if_another_writer_looked_before_it_was_stored() -> None:
    with encrypted("memory://") as saver:
        keyring = saver._database.sealer.keyring
        assert keyring.find("ada-1") is None  # the other writer looks
        say(saver, SAID)
        assert keyring.make("ada-1") is keyring.find("ada-1")
        assert texts(saver) == [SAID, f"You said: {SAID}"]


def test_a_database_that_is_not_encrypted_is_not_opened_with_keys_unless_it_is_empty(url: str) -> None:
    with open_checkpointer(url) as saver:
        with encrypted(url):  # it is empty: it becomes an encrypted one
            pass
        with pytest.raises(KeyMissing):
            say(saver, SAID)
    change_state = "DELETE FROM holdfast_encryption"
    with encrypted(url) as saver:
        change(saver, change_state)
        change(saver, "DELETE FROM holdfast_keys")
    with open_checkpointer(url) as saver:
        say(saver, SAID)
    with pytest.raises(NotEncrypted, match="`holdfast db encrypt` encrypts it"):
        encrypted(url).open()


@pytest.mark.parametrize("keys", ["", "first", "first:AAAA", f"{KEY},{KEY}", "a b:AAAA", [""]])
def test_keys_that_cannot_be_used_are_refused_without_being_told(keys: Any) -> None:
    with pytest.raises(InvalidKeys, match="Needed: ") as refused:
        open_checkpointer("memory://", keys=keys)
    assert not any(secret in str(refused.value) for secret in ("AAAA", KEY))


def test_what_is_encrypted_is_no_filter_and_no_search(url: str) -> None:
    with encrypted(url) as saver:
        say(saver, SAID)
        with pytest.raises(EncryptedDatabase, match="by 'topic': these metadata are encrypted"):
            list(saver.list(thread(), filter={"source": "loop", "topic": "x"}))
        assert list(saver.list(thread(), filter={"source": "input"}))
        with pytest.raises(EncryptedDatabase, match="by their titles and metadata"):
            saver.threads.list(text="eagle", metadata={"topic": "x"})
        for search in (lambda: saver.search.find("eagle"), saver.search.refresh):
            with pytest.raises(SearchUnavailable, match="full-text search is off"):
                search()
        assert rows(saver, "SELECT role, content FROM holdfast_transcript") == [("human", None), ("ai", None)]


def tamperings(dialect: str) -> dict[str, str]:
    """Statements of an attacker who can write to the database."""
    swap = "UPDATE holdfast_messages SET seq = 9 WHERE seq = 1 AND thread_id = 'ada-1'"
    values = "checkpoints" if dialect == "sqlite" else "checkpoint_blobs"
    value = "checkpoint" if dialect == "sqlite" else "blob"
    flipped = {
        "sqlite": "CAST(substr({0}, 1, 40) || x'ff' || substr({0}, 42) AS BLOB)",
        "postgres": "set_byte({0}, 40, 255 - get_byte({0}, 40))",
    }[dialect]
    other = "(SELECT {0} FROM holdfast_messages AS o WHERE o.thread_id = 'bob-1' AND o.seq = holdfast_messages.seq)"
    metadata = {
        "sqlite": 'CAST(\'{"source": "loop"}\' AS BLOB)',
        "postgres": 'CAST(\'{"source": "loop"}\' AS JSONB)',
    }[dialect]
    return {
        "a bit of a row": f"UPDATE holdfast_messages SET body = {flipped.format('body')}",
        "a bit of a value": f"UPDATE {values} SET {value} = {flipped.format(value)}",
        "the role of a row": "UPDATE holdfast_messages SET role = 'system' WHERE role = 'human'",
        "a row of another thread": f"UPDATE holdfast_messages SET key_no = {other.format('key_no')}, "
        f"body = {other.format('body')} WHERE thread_id = 'ada-1'",
        "the order of rows": swap,
        "a row in the clear": "UPDATE holdfast_messages SET key_no = NULL, content = 'pay', body = :body",
        "a value in the clear": f"UPDATE {values} SET type = 'msgpack', {value} = :body",
        "metadata in the clear": f"UPDATE checkpoints SET metadata = {metadata}",
    }


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("what", tamperings("sqlite"))
def test_what_was_altered_moved_or_put_in_is_refused_with_its_place(url: str, what: str) -> None:
    with encrypted(url) as saver:
        for thread_id in ("ada-1", "bob-1"):
            say(saver, SAID, thread_id=thread_id)
        statement = tamperings(dialect_of(url))[what]
        change(saver, statement, **({"body": b"\x92\xa0\x80"} if ":body" in statement else {}))
        if what == "the order of rows":
            change(saver, "UPDATE holdfast_messages SET seq = 1 WHERE seq = 2 AND thread_id = 'ada-1'")
            change(saver, "UPDATE holdfast_messages SET seq = 2 WHERE seq = 9 AND thread_id = 'ada-1'")
        forget(saver)
        with pytest.raises(SealBroken, match=r"'ada-1' is damaged: .*(row|checkpoint)"):
            texts(saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("column", ["title", "metadata"])
def test_titles_and_metadata_cannot_be_exchanged_or_put_in(sqlite_url: str, column: str) -> None:
    with encrypted(sqlite_url) as saver:
        for thread_id in ("ada-1", "bob-1"):
            echo_graph(saver).invoke(
                {"messages": [HumanMessage(SAID)]}, {**thread(thread_id), "metadata": {"topic": thread_id}}
            )
        other = f"(SELECT {column} FROM holdfast_threads WHERE thread_id = 'bob-1')"
        for new in (other, "'{}'"):
            change(saver, f"UPDATE holdfast_threads SET {column} = {new} WHERE thread_id = 'ada-1'")
            with pytest.raises(SealBroken, match=f"threads {column}"):
                saver.threads.get("ada-1")


def test_a_key_that_was_deleted_or_exchanged_opens_nothing(sqlite_url: str) -> None:
    with encrypted(sqlite_url) as saver:
        for thread_id in ("ada-1", "bob-1"):
            say(saver, SAID, thread_id=thread_id)
        other = "SELECT key_no, wrapped FROM holdfast_keys WHERE thread_id = 'bob-1'"
        change(saver, f"UPDATE holdfast_keys SET (key_no, wrapped) = ({other}) WHERE thread_id = 'ada-1'")
    with pytest.raises(KeyMissing, match="or the data key was altered"), encrypted(sqlite_url) as saver:
        texts(saver)


@pytest.mark.sweep
def test_copies_forks_and_transfers_are_encrypted_for_their_own_threads(url: str) -> None:
    with encrypted(url) as saver, open_checkpointer("memory://") as plain:
        plant(saver)
        saver.threads.fork("ada-1", "fork-1")
        threads = ("ada-1", "copy-1", "shop-1", "two-1")
        sealed = rows(saver, "SELECT thread_id, key_no, body FROM holdfast_messages")
        assert len({body for *_, body in sealed}) == len(sealed)
        assert len({key_no for _, key_no, _ in sealed}) == len({thread_id for thread_id, *_ in sealed}) == 4
        said = read(saver)
        move(saver, plain, *threads)
        assert read(plain) == said
        for thread_id in (*threads, "fork-1"):
            saver.delete_thread(thread_id)
        assert rows(saver, "SELECT thread_id FROM holdfast_keys") == [("",)]
        move(plain, saver, *threads)
        assert (read(saver), raw_secrets(saver)) == (said, {})


def test_an_id_that_is_used_again_has_another_key_in_every_process(url: str) -> None:
    with encrypted(url) as saver, encrypted(url) as other:
        say(saver, SAID)
        assert texts(other) == texts(saver)
        [(before,)] = rows(saver, "SELECT key_no FROM holdfast_threads")
        saver.delete_thread("ada-1")
        say(saver, "anew")
        assert rows(saver, "SELECT key_no FROM holdfast_threads") != [(before,)]
        say(other, "and on")  # with the key that it has cached, it would write what nobody can read
        assert texts(saver) == ["anew", "You said: anew", "and on", "You said: and on"]


@pytest.mark.sweep
def test_two_processes_that_begin_a_thread_at_once_have_one_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with encrypted(url) as saver, encrypted(url) as other:
        assert other._database.sealer.key_no("ada-1") != saver._database.sealer.key_no("ada-1")
        say(saver, "one")
        say(other, "two")
        assert texts(saver) == texts(other) == ["one", "You said: one", "two", "You said: two"]


def test_without_keys_what_was_encrypted_meanwhile_is_refused(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as before:
        with encrypted(sqlite_url) as saver:
            say(saver, SAID)
        with pytest.raises(NotStorable, match="is encrypted"):
            texts(before)
