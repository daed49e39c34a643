"""Damage is an error that names the damaged part, never a shorter conversation. Other threads are not affected."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread, NotStorable, SchemaTooNew
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, echo_graph, put, rows, texts, thread

Read = Callable[[HoldfastSaver], object]

READS = {
    "get_tuple": lambda saver: saver.get_tuple(thread()),
    "list of one": lambda saver: list(saver.list(thread(), limit=1)),
}

LISTS = {
    "list": lambda saver: list(saver.list(thread())),
    "list of all threads": lambda saver: list(saver.list(None)),
    "history": lambda saver: list(echo_graph(saver).get_state_history(thread())),
}

SAID = ["one", "You said: one", "two", "You said: two"]


@pytest.fixture
def talked(saver: HoldfastSaver) -> HoldfastSaver:
    """A checkpointer with two conversations of two turns."""
    for thread_id in ("ada-1", "bob-1"):
        for text in ("one", "two"):
            echo_graph(saver).invoke({"messages": [("user", text)]}, thread(thread_id), durability="sync")
    return saver


def newest_blob(saver: HoldfastSaver) -> tuple[str, str, str]:
    """Where the messages of thread `ada-1` are listed: table, column, and the condition for the newest list."""
    if dialect_of(saver) == "postgres":
        of = "thread_id = 'ada-1' AND channel = 'messages'"
        return "checkpoint_blobs", "blob", f"{of} AND version = (SELECT max(version) FROM checkpoint_blobs WHERE {of})"
    of = "thread_id = 'ada-1'"
    return (
        "checkpoints",
        "checkpoint",
        f"{of} AND checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints WHERE {of})",
    )


def assert_lists_name(saver: HoldfastSaver, caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """A list goes on past what cannot be read, and says in the log what that was."""
    for read in LISTS.values():
        caplog.clear()
        assert read(saver)
        assert all(word in caplog.text for word in ("'ada-1'", *words))


def assert_others_work(saver: HoldfastSaver) -> None:
    assert texts(saver, "bob-1") == SAID
    echo_graph(saver).invoke({"messages": [("user", "three")]}, thread("bob-1"))
    assert texts(saver, "bob-1") == [*SAID, "three", "You said: three"]


DAMAGES = [
    "content = substr(content, 1, 4)",
    "content = 'You said: nothing'",
    "content = NULL",
    "role = 'human'",
    "body = substr(body, 1, 1)",
    "body = digest",
    "digest = body",
    "key_no = 1",
]


@pytest.mark.sweep(on="postgres")
def test_a_damaged_row_is_an_error_that_names_thread_and_row(
    talked: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    row = "thread_id = 'ada-1' AND seq = 2"
    columns = ("content", "role", "body", "digest", "key_no")
    [before] = rows(talked, f"SELECT {', '.join(columns)} FROM holdfast_messages WHERE {row}")
    restore = f"UPDATE holdfast_messages SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE {row}"

    for damage in DAMAGES:
        change(talked, f"UPDATE holdfast_messages SET {damage} WHERE {row}")
        for name, read in READS.items():
            with pytest.raises((DamagedThread, NotStorable), match=r"(?i)row 2\b") as error:
                pytest.fail(f"{name} with {damage} gave {read(talked)}")
            assert "'ada-1'" in str(error.value)
        assert_lists_name(talked, caplog, "ow 2 ")
        assert texts(talked, "bob-1") == SAID
        change(talked, restore, **dict(zip(columns, before, strict=True)))
        assert texts(talked) == SAID
    assert_others_work(talked)


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("seq", [1, 2, 4])
def test_a_missing_row_is_an_error_that_names_thread_and_row(
    talked: HoldfastSaver, seq: int, caplog: pytest.LogCaptureFixture
) -> None:
    change(talked, "DELETE FROM holdfast_messages WHERE thread_id = 'ada-1' AND seq = :seq", seq=seq)

    for name, read in READS.items():
        with pytest.raises(DamagedThread, match=rf"'ada-1' .*row {seq} is missing"):
            pytest.fail(f"{name} gave {read(talked)}")
    if seq > 1:  # every checkpoint needs the first: `test_list` has a thread of which nothing can be read
        assert_lists_name(talked, caplog, f"row {seq} is missing")
    assert_others_work(talked)


@pytest.mark.parametrize("digest_is", ["that of the damage", "what it was"])
def test_a_row_whose_body_cannot_be_decoded_is_an_error(talked: HoldfastSaver, digest_is: str) -> None:
    from holdfast.checkpoints.serde.messages import digest

    body = b"\x92\xa0\x81\xa1"
    row = "thread_id = 'ada-1' AND seq = 2"
    change(talked, f"UPDATE holdfast_messages SET body = :body WHERE {row}", body=body)
    if digest_is == "that of the damage":
        new = digest("ai", "You said: one", body)
        change(talked, f"UPDATE holdfast_messages SET digest = :digest WHERE {row}", digest=new)

    with pytest.raises(DamagedThread, match=r"'ada-1' .*row 2 "):
        talked.get_tuple(thread())
    assert_others_work(talked)


def test_a_damaged_row_of_a_pending_write_is_an_error(saver: HoldfastSaver) -> None:
    config = put(saver, thread(), checkpoint([HumanMessage("one")]))
    saver.put_writes(config, [("messages", [AIMessage("pending")])], "task-1")
    change(saver, "UPDATE holdfast_messages SET content = 'other' WHERE content = 'pending'")

    with pytest.raises(DamagedThread, match=r"'ada-1' .*row 2 "):
        saver.get_tuple(thread())


def test_a_redacted_row_loads_although_its_digest_differs(talked: HoldfastSaver) -> None:
    change(
        talked,
        "UPDATE holdfast_messages SET content = '[redacted]', redacted_at = 1.5 WHERE thread_id = 'ada-1' AND seq = 1",
    )

    for read in (READS | LISTS).values():
        assert read(talked)
    assert texts(talked) == ["[redacted]", *SAID[1:]]
    echo_graph(talked).invoke({"messages": [("user", "three")]}, thread())
    assert texts(talked) == ["[redacted]", *SAID[1:], "three", "You said: three"]


def test_a_truncated_checkpoint_is_an_error_wherever_it_is_cut(
    talked: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    table, column, where = newest_blob(talked)
    found = talked.get_tuple(thread())
    assert found is not None
    [(blob,)] = rows(talked, f"SELECT {column} FROM {table} WHERE {where}")

    for length in reversed(range(len(blob))):
        change(talked, f"UPDATE {table} SET {column} = substr({column}, 1, :length) WHERE {where}", length=length)
        with pytest.raises(DamagedThread, match="'ada-1'"):
            pytest.fail(f"cut to {length} of {len(blob)} bytes it reads {texts(talked)}")
    for read in READS.values():
        with pytest.raises(DamagedThread, match=rf"checkpoint {found.config['configurable']['checkpoint_id']}"):
            read(talked)
    assert_lists_name(talked, caplog, found.config["configurable"]["checkpoint_id"])
    assert_others_work(talked)


def test_a_newer_schema_is_refused_and_nothing_is_changed(bare_url: str) -> None:
    everything = "SELECT version, name, min_reader FROM holdfast_schema ORDER BY version"
    with open_checkpointer(bare_url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "one")]}, thread())
        known = rows(saver, "SELECT max(version) FROM holdfast_schema")[0][0]
        change(
            saver,
            "INSERT INTO holdfast_schema (version, name, min_reader, applied_at) VALUES (:v, 'later', :reader, 1.5)",
            v=known + 2,
            reader=known + 1,
        )
        before = rows(saver, everything), rows(saver, "SELECT * FROM holdfast_messages ORDER BY seq")

        with pytest.raises(SchemaTooNew) as refused:
            open_checkpointer(bare_url).open()

        assert (rows(saver, everything), rows(saver, "SELECT * FROM holdfast_messages ORDER BY seq")) == before
        assert re.search(
            rf"version {known + 2}\b.*version {known + 1} or newer.*knows version {known}\b.*Nothing was changed",
            str(refused.value),
        )


def test_a_newer_schema_that_this_code_can_read_is_opened(bare_url: str) -> None:
    with open_checkpointer(bare_url) as saver:
        known = rows(saver, "SELECT max(version) FROM holdfast_schema")[0][0]
        change(
            saver,
            "INSERT INTO holdfast_schema (version, name, min_reader, applied_at) VALUES (:v, 'later', :reader, 1.5)",
            v=known + 1,
            reader=known,
        )
    with open_checkpointer(bare_url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "one")]}, thread())
        assert texts(saver) == ["one", "You said: one"]


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("bit", [0x01, 0x10, 0x80])
def test_an_altered_checkpoint_is_never_another_conversation(talked: HoldfastSaver, bit: int) -> None:
    table, column, where = newest_blob(talked)
    [(old,)] = rows(talked, f"SELECT {column} FROM {table} WHERE {where}")
    for place in range(len(old)):
        new = bytearray(old)
        new[place] ^= bit
        change(talked, f"UPDATE {table} SET {column} = :new WHERE {where}", new=bytes(new))
        with pytest.raises(DamagedThread, match="'ada-1'"):
            texts(talked)
    assert_others_work(talked)


def test_an_unknown_form_of_a_value_is_an_error_that_names_thread_and_checkpoint(
    talked: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    table, _, where = newest_blob(talked)
    found = talked.get_tuple(thread())
    assert found is not None
    change(talked, f"UPDATE {table} SET type = 'holdfast-99' WHERE {where}")
    for read in READS.values():
        with pytest.raises(NotStorable, match="'holdfast-99'") as error:
            read(talked)
        assert "'ada-1'" in str(error.value)
        assert found.config["configurable"]["checkpoint_id"] in str(error.value)
    assert_lists_name(talked, caplog, "'holdfast-99'", found.config["configurable"]["checkpoint_id"])
    assert_others_work(talked)


def test_a_value_that_is_missing_is_an_error(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "one")]}, thread())
        change(saver, "DELETE FROM checkpoint_blobs WHERE thread_id = 'ada-1' AND channel = 'messages'")
        with pytest.raises(DamagedThread, match=r"'ada-1' .*messages"):
            saver.get_tuple(thread())
