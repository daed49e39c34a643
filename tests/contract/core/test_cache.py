"""The cache of a process is never used for a database that was emptied, restored or opened anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread, ThreadConflict
from holdfast.checkpoints.sql import Statement
from tests.support.kit import checkpoint, echo_graph, put, rows, texts, thread
from tests.support.outages import Wire, wired

OF_THREADS = ("checkpoints", "holdfast_messages", "holdfast_threads")


@pytest.fixture
def line(postgres_url_with_tables: str) -> Iterator[tuple[Wire, str]]:
    with wired(postgres_url_with_tables) as found:
        yield found


def turn(saver: HoldfastSaver, text: str) -> list[str]:
    with saver.lease("ada-1"):
        pass  # makes the thread's row before anything is loaded
    said = echo_graph(saver).invoke({"messages": [HumanMessage(text)]}, thread())
    return [message.text for message in said["messages"]]


def behind(saver: HoldfastSaver, *statements: str) -> None:
    """Change the database, and let the checkpointer remember what it remembers."""
    with saver._backend.writing() as transaction:
        transaction.run([(Statement("test", statement), {}) for statement in statements])


def cut_at_commit(wire: Wire, saver: HoldfastSaver) -> list[str]:
    """Cut the wire once, before the next save is committed. Gives where."""
    cuts: list[str] = []

    def cut(name: str) -> None:
        if name == "commit" and not cuts:
            cuts.append(name)
            wire.cut()

    saver._backend.on_statement = cut
    return cuts


def test_memory_that_is_opened_again_is_empty() -> None:
    saver = open_checkpointer("memory://")
    for said in ("one", "two"):
        with saver:
            assert texts(saver) == []
            assert turn(saver, said) == [said, f"You said: {said}"]
            assert texts(saver) == [said, f"You said: {said}"]
        assert saver._database.cache._threads == {}


def test_a_thread_that_is_begun_anew_in_emptied_tables_is_another_one(url: str) -> None:
    with open_checkpointer(url) as saver, open_checkpointer(url) as other:
        turn(saver, "old")
        assert texts(saver) == ["old", "You said: old"]
        behind(saver, *(f"DELETE FROM {table}" for table in OF_THREADS))
        turn(other, "new")
        new = ["new", "You said: new"]
        assert texts(saver) == new
        assert turn(saver, "more") == [*new, "more", "You said: more"]
        assert texts(other) == [*new, "more", "You said: more"]


def test_who_began_in_a_thread_without_a_row_may_not_write_after_it_was_deleted(saver: HoldfastSaver) -> None:
    config = thread(checkpoint_ns="")
    assert saver.get_tuple(config) is None
    put(saver, thread(), checkpoint([HumanMessage("of another run")]))
    saver.delete_thread("ada-1")
    with pytest.raises(ThreadConflict):
        put(saver, config, checkpoint([HumanMessage("late")]))


def test_all_is_read_again_when_the_server_has_closed_a_connection(line: tuple[Wire, str]) -> None:
    """The standby that answers from now on says something else, of the same generation."""
    wire, url = line
    with open_checkpointer(url) as saver:
        turn(saver, "old")
        assert texts(saver) == ["old", "You said: old"]
        behind(saver, "DELETE FROM holdfast_messages WHERE seq = 2")
        assert texts(saver) == ["old", "You said: old"], "as the process knows it"
        wire.cut()
        with pytest.raises(DamagedThread, match="message row 2 is missing"):
            texts(saver)


def test_a_save_refers_to_no_row_that_a_failover_has_lost(line: tuple[Wire, str]) -> None:
    wire, url = line
    with open_checkpointer(url) as saver:
        config = put(saver, thread(), checkpoint([HumanMessage("well?", id="h1")]))
        answer = AIMessage("yes", id="a1")
        saver.put_writes(config, [("messages", answer)], "task")
        lost = "DELETE FROM holdfast_messages WHERE message_id = 'a1'"
        behind(saver, lost)
        wire.cut()
        saver.put_writes(config, [("messages", answer)], "task-2")
        said = "SELECT message_id FROM holdfast_messages ORDER BY seq"
        assert rows(saver, said) == [("h1",), ("a1",)], "found out before anything was sent: encoded anew"

        behind(saver, lost)
        cuts = cut_at_commit(wire, saver)
        with pytest.raises(ThreadConflict, match="does not have all"):
            saver.put_writes(config, [("messages", answer)], "task-3")
        assert cuts
        assert rows(saver, said) == [("h1",)]


def test_a_save_that_was_cut_off_is_repeated_on_a_server_that_has_all_rows(line: tuple[Wire, str]) -> None:
    wire, url = line
    with open_checkpointer(url) as saver:
        answer = AIMessage("yes", id="a1")
        config = put(saver, thread(), checkpoint([HumanMessage("well?", id="h1"), answer]))
        cuts = cut_at_commit(wire, saver)
        saver.put_writes(config, [("messages", answer)], "task")
        assert cuts
        assert rows(saver, "SELECT message_id FROM holdfast_messages ORDER BY seq") == [("h1",), ("a1",)]
