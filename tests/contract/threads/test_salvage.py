"""What is damaged costs the value that it is in: the rest of a checkpoint can be loaded, and the damage has a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, transfer
from holdfast.checkpoints.errors import DamagedThread, UnknownCheckpoint, UnknownThread
from holdfast.checkpoints.serde.packed.sections import sections, value_at
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, echo_graph, put, rows, texts, thread


@dataclass
class Note:
    text: str
    about: list[Any] = field(default_factory=list)


SAID = [HumanMessage("one", id="m1"), AIMessage("two", id="m2"), HumanMessage("three", id="m3")]
VALUES = {"alpha": Note("first"), "beta": {"long": "b" * 400}, "gamma": [1, 2, Note("last")]}
WRITES = [("messages", [AIMessage("pending", id="m4")]), ("beta", {"new": "w" * 300})]


@pytest.fixture
def saved(saver: HoldfastSaver) -> HoldfastSaver:
    put(saver, thread(), checkpoint([HumanMessage("zero", id="m0")]))
    config = put(saver, thread(), checkpoint(SAID, **VALUES), user_id="ada")
    saver.put_writes(config, WRITES, "task-1")
    put(saver, thread("bob-1"), checkpoint([HumanMessage("other")]))
    return saver


def alter(saver: HoldfastSaver, table: str, column: str, old: bytes, new: bytes, where: str = "1 = 1") -> None:
    """Change bytes of all values of thread `ada-1` that hold them."""
    found = rows(saver, f"SELECT DISTINCT {column} FROM {table} WHERE thread_id = 'ada-1' AND {where}")
    held = [value for (value,) in found if value is not None and old in bytes(value)]
    assert held, "the bytes are there"
    for value in held:
        change(
            saver,
            f"UPDATE {table} SET {column} = :new WHERE thread_id = 'ada-1' AND {column} = :old",
            old=value,
            new=bytes(value).replace(old, new),
        )


def alter_channel(saver: HoldfastSaver, old: bytes, new: bytes) -> None:
    of = {"postgres": ("checkpoint_blobs", "blob")}.get(dialect_of(saver), ("checkpoints", "checkpoint"))
    alter(saver, *of, old, new)


def values(saver: HoldfastSaver, **place: Any) -> dict[str, Any]:
    return dict(saver.threads.salvage("ada-1", **place).values)


def places(saver: HoldfastSaver) -> list[str]:
    return [damage.where for damage in saver.threads.salvage("ada-1").damaged]


def test_a_sound_checkpoint_is_what_a_load_gives(saved: HoldfastSaver) -> None:
    loaded, found = saved.get_tuple(thread()), saved.threads.salvage("ada-1")
    assert found.damaged == []
    assert loaded is not None
    assert (found.config, found.checkpoint, found.metadata) == (loaded.config, loaded.checkpoint, loaded.metadata)
    assert (found.parent_config, found.pending_writes) == (loaded.parent_config, loaded.pending_writes)
    assert found.values["gamma"] == [1, 2, Note("last")]


def test_a_damaged_channel_costs_this_channel(saved: HoldfastSaver) -> None:
    alter_channel(saved, b"Note", b"No\xffe")
    with pytest.raises(DamagedThread, match=r"threads\.salvage"):
        saved.get_tuple(thread())
    found = values(saved)
    assert found["messages"] == SAID
    assert found["beta"] == VALUES["beta"]
    assert {"channel 'alpha'", "channel 'gamma'"} <= set(places(saved))
    assert not {"alpha", "gamma"} & found.keys()
    [*_, (_, _, write)] = saved.threads.salvage("ada-1").pending_writes
    assert write == {"new": "w" * 300}


def test_bytes_that_are_cut_off_cost_what_was_behind_them(saved: HoldfastSaver) -> None:
    alter_channel(saved, b"b" * 200, b"")
    found = values(saved)
    assert found["messages"] == SAID
    assert found["alpha"] == VALUES["alpha"]
    assert "beta" not in found
    assert any("beta" in where or "alpha" in where for where in places(saved))


def test_a_damaged_message_costs_this_message(saved: HoldfastSaver) -> None:
    change(saved, "UPDATE holdfast_messages SET body = :bad WHERE message_id = 'm2'", bad=b"\x92\xa0\x81\xa1")
    assert [message.text for message in values(saved)["messages"]] == ["one", "three"]
    assert len(values(saved)) == 4
    assert places(saved) == ["message row 3"]
    assert [entry.text for entry in saved.transcript("ada-1") if hasattr(entry, "text")][-1:] == ["three"]


def test_a_damaged_write_costs_this_write(saved: HoldfastSaver) -> None:
    table = {"postgres": ("checkpoint_writes", "blob")}.get(dialect_of(saved), ("writes", "value"))
    alter(saved, *table, b"w" * 200, b"")
    found = saved.threads.salvage("ada-1")
    assert [(task, channel) for task, channel, _ in found.pending_writes] == [("task-1", "messages")]
    assert [damage.where for damage in found.damaged] == ["a pending write of task task-1 to channel 'beta'"]
    assert values(saved).keys() == {"messages", *VALUES}


def test_damaged_metadata_cost_the_metadata(saved: HoldfastSaver) -> None:
    bad = "'[1]'" if dialect_of(saved) == "postgres" else "CAST('{\"source' AS BLOB)"
    change(saved, f"UPDATE checkpoints SET metadata = {bad} WHERE thread_id = 'ada-1'")
    found = saved.threads.salvage("ada-1")
    assert (found.metadata, [damage.where for damage in found.damaged]) == ({}, ["metadata"])
    assert values(saved) == {"messages": SAID, **VALUES}


def test_a_damaged_document_costs_what_only_it_has(postgres_url_with_tables: str) -> None:
    with open_checkpointer(postgres_url_with_tables) as saver:
        put(saver, thread(), checkpoint(SAID, **VALUES, small=7))
        packed = """jsonb_set(checkpoint, '{packed}', '"AAAA"')"""
        change(saver, f"UPDATE checkpoints SET checkpoint = {packed} WHERE thread_id = 'ada-1'")
        assert places(saver) == ["the document of the checkpoint"]
        assert values(saver) == {"messages": SAID, **VALUES, "small": 7}


def test_whatever_byte_is_altered_something_is_named_or_nothing_is_lost(saved: HoldfastSaver) -> None:
    of = {"postgres": ("checkpoint_blobs", "blob")}.get(dialect_of(saved), ("checkpoints", "checkpoint"))
    table, column = of
    head = f"thread_id = 'ada-1' AND {column} = :old"
    sound = values(saved)
    [*_, (old,)] = sorted(
        (found for found in rows(saved, f"SELECT DISTINCT {column} FROM {table} WHERE thread_id = 'ada-1'")),
        key=lambda row: len(row[0] or b""),
    )
    for place in range(0, len(old), 7):
        new = bytearray(old)
        new[place] ^= 0x41
        change(saved, f"UPDATE {table} SET {column} = :new WHERE {head}", old=old, new=bytes(new))
        found = saved.threads.salvage("ada-1")
        if not found.damaged:  # plain msgpack has no checksum
            assert found.values.keys() == sound.keys()
        change(saved, f"UPDATE {table} SET {column} = :new WHERE {head}", old=bytes(new), new=old)
    assert values(saved) == sound


def test_what_is_left_goes_on_in_a_new_thread(saved: HoldfastSaver) -> None:
    alter_channel(saved, b"Note", b"No\xffe")
    graph = echo_graph(saved)
    left = values(saved)
    graph.update_state(thread("new"), {"messages": left["messages"]})
    graph.invoke({"messages": [("user", "four")]}, thread("new"))
    assert texts(saved, "new") == ["one", "two", "three", "four", "You said: four"]


def test_what_is_not_there_is_told(saved: HoldfastSaver) -> None:
    with pytest.raises(UnknownThread):
        saved.threads.salvage("nowhere")
    with pytest.raises(UnknownThread):
        saved.threads.salvage("ada-1", user_id="bob")
    with pytest.raises(UnknownCheckpoint):
        saved.threads.salvage("ada-1", checkpoint_id="1f0")


# --- what needs none of the damaged values


@pytest.fixture
def broken(saver: HoldfastSaver) -> HoldfastSaver:
    """A conversation of two turns whose newest checkpoint cannot be read."""
    for text in ("one", "two"):
        echo_graph(saver).invoke({"messages": [("user", text)]}, thread(), durability="sync")
    if dialect_of(saver) == "postgres":
        newest = "SELECT max(version) FROM checkpoint_blobs WHERE thread_id = 'ada-1' AND channel = 'messages'"
        change(saver, f"UPDATE checkpoint_blobs SET blob = '\\x00' WHERE thread_id = 'ada-1' AND version = ({newest})")
    else:
        newest = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = 'ada-1'"
        change(saver, f"UPDATE checkpoints SET checkpoint = X'00' WHERE checkpoint_id = ({newest})")
    with pytest.raises(DamagedThread):
        saver.get_tuple(thread())
    return saver


def test_a_damaged_turn_is_undone(broken: HoldfastSaver) -> None:
    broken.threads.undo("ada-1")
    assert texts(broken) == ["one", "You said: one"]
    echo_graph(broken).invoke({"messages": [("user", "again")]}, thread())
    assert texts(broken)[2:] == ["again", "You said: again"]


def test_a_damaged_thread_is_begun_anew(broken: HoldfastSaver) -> None:
    broken.threads.restart("ada-1")
    assert texts(broken) == []
    assert len(list(broken.transcript("ada-1"))) == 5


def test_a_thread_is_forked_from_before_its_damage(broken: HoldfastSaver) -> None:
    sound = [item.config["configurable"]["checkpoint_id"] for item in broken.list(thread())]
    broken.threads.fork("ada-1", "other", checkpoint_id=sound[-3])
    assert texts(broken, "other")[:2] == ["one", "You said: one"]


def test_a_thread_is_forked_after_its_damage(saver: HoldfastSaver) -> None:
    for text in ("one", "two"):
        echo_graph(saver).invoke({"messages": [("user", text)]}, thread(), durability="sync")
    if dialect_of(saver) == "postgres":
        oldest = "SELECT min(version) FROM checkpoint_blobs WHERE thread_id = 'ada-1' AND channel = 'messages'"
        change(saver, f"UPDATE checkpoint_blobs SET blob = '\\x00' WHERE channel = 'messages' AND version = ({oldest})")
    else:
        oldest = "SELECT min(checkpoint_id) FROM checkpoints WHERE thread_id = 'ada-1'"
        change(saver, f"UPDATE checkpoints SET checkpoint = X'00' WHERE checkpoint_id = ({oldest})")
    assert len(list(saver.list(thread()))) < 6, "it is damaged"
    saver.threads.fork("ada-1", "other")
    assert texts(saver, "other") == ["one", "You said: one", "two", "You said: two"]


def test_a_damaged_thread_is_copied_with_its_damage(broken: HoldfastSaver) -> None:
    broken.threads.copy("ada-1", "other")
    with pytest.raises(DamagedThread):
        broken.get_tuple(thread("other"))
    assert len(list(broken.list(thread("other")))) == len(list(broken.list(thread())))


def test_a_damaged_thread_is_deleted(broken: HoldfastSaver) -> None:
    broken.threads.delete("ada-1")
    assert rows(broken, "SELECT count(*) FROM holdfast_messages") == [(0,)]


def test_a_damaged_thread_is_not_moved_in_part(broken: HoldfastSaver, tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'other.db'}") as other:
        with pytest.raises(DamagedThread):
            transfer.transfer_thread(broken.database, other.database, "ada-1")
        assert list(other.list(None)) == []


# --- the entries of a packed map


def test_entries_are_found_whatever_they_hold() -> None:
    values = {
        "": None, "a": [1, -1, 2**7, 2**15, 2**31, 2**62, -(2**7), -(2**15), -(2**31), -(2**62)], "b": [True, 1.5],
        "c": "x" * 20, "d": "x" * 200, "e": "x" * 2**16, "f": b"x", "g": b"x" * 300, "h": b"x" * 2**16,
        "i": list(range(20)), "j": list(range(2**16)), "k": {str(n): n for n in range(20)}, "l": {"m": {"n": []}},
        **{f"o{n}": ormsgpack.Ext(5, b"x" * n) for n in (1, 2, 3, 4, 8, 16, 17, 300, 2**16)},
    }  # fmt: skip
    packed = {key: ormsgpack.packb(value) for key, value in values.items()}
    whole = ormsgpack.packb(values)
    assert {key: value_at(whole, at) for key, at in sections(whole)} == packed
    for damaged in (b"", b"\x01", b"\x81", b"\x81\xa1", b"\x81\xa1a", b"\x81\xa1a\xc1", b"\x81\xa1a\xd9\x05abc"):
        with pytest.raises(ValueError, match=r"early|begin|no map"):
            list(sections(damaged))
