"""A process that knows a thread saves without reading first; whoever changes the thread meanwhile is found out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base.id import uuid6

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.core.cache import thread_state
from holdfast.checkpoints.errors import ThreadConflict
from tests.support.kit import checkpoint, put, rows, say, texts, thread
from tests.support.outages import Wire, wired
from tests.support.stock_kit import stock_saver


@pytest.fixture
def other(url: str) -> Iterator[HoldfastSaver]:
    """Another process on the same database, as far as the first one can tell."""
    with open_checkpointer(url) as other:
        yield other


class Names:
    """The statements of a checkpointer."""

    def __init__(self, saver: HoldfastSaver) -> None:
        self.seen: list[str] = []
        saver._backend.on_statement = self.seen.append

    def take(self) -> list[str]:
        taken, self.seen[:] = list(self.seen), []
        return taken


LOCKS = {"lock_thread", "add_thread", "rows_with_digest", "rows_with_digests", "rows_of_thread", "head", "rows_said"}


def test_a_process_that_began_a_thread_never_reads_before_it_saves(saver: HoldfastSaver) -> None:
    names = Names(saver)
    say(saver, "one", "two", "three")
    seen = names.take()
    assert LOCKS.isdisjoint(seen)
    assert "begin_thread" in seen
    assert texts(saver) == ["one", "You said: one", "two", "You said: two", "three", "You said: three"]


def test_a_process_that_meets_a_thread_reads_it_once(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    names = Names(other)
    say(other, "two")
    assert names.take().count("lock_thread") == 1
    say(other, "three")
    assert LOCKS.isdisjoint(names.take())
    assert texts(saver)[::2] == ["one", "two", "three"]


def test_a_thread_that_another_process_has_moved_is_read_again(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    say(other, "two")
    names = Names(saver)
    say(saver, "three")
    assert names.take().count("lock_thread") == 1
    assert texts(other) == texts(saver)
    assert texts(saver)[::2] == ["one", "two", "three"]
    assert rows(saver, "SELECT messages FROM holdfast_threads") == [(6,)]


def test_a_run_whose_thread_another_process_has_moved_is_refused(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    mine, theirs = saver.get_tuple(thread()), other.get_tuple(thread())
    assert mine is not None
    assert theirs is not None
    put(other, theirs.config, checkpoint([HumanMessage("theirs")]))
    with pytest.raises(ThreadConflict):
        put(saver, mine.config, checkpoint([HumanMessage("mine")]))
    assert texts(saver) == ["theirs"]


def test_a_head_that_a_stock_saver_has_written_is_seen(saver: HoldfastSaver, url: str, other: HoldfastSaver) -> None:
    say(saver, "one")
    mine = saver.get_tuple(thread())
    assert mine is not None
    with stock_saver(url) as stock:
        newer = checkpoint(["of the stock saver"], id=str(uuid6()))
        stock.put(thread(checkpoint_ns=""), newer, {"source": "loop", "step": 9}, newer["channel_versions"])
    with pytest.raises(ThreadConflict):
        put(saver, mine.config, checkpoint([HumanMessage("mine")]))


def test_a_thread_that_another_process_has_deleted_is_not_written(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    mine = saver.get_tuple(thread())
    assert mine is not None
    other.delete_thread("ada-1")
    with pytest.raises(ThreadConflict):
        put(saver, mine.config, checkpoint([HumanMessage("late")]))
    with pytest.raises(ThreadConflict):
        saver.put_writes(mine.config, [("messages", HumanMessage("late"))], "task")
    assert rows(saver, "SELECT count(*) FROM holdfast_messages") == [(0,)]
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(0,)]


def test_two_processes_that_begin_a_thread_at_once_begin_it_once(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    first, second = thread(checkpoint_ns=""), thread(checkpoint_ns="")
    assert saver.get_tuple(first) is None
    assert other.get_tuple(second) is None
    put(saver, first, checkpoint([HumanMessage("first")]))
    with pytest.raises(ThreadConflict):
        put(other, second, checkpoint([HumanMessage("second")]))
    assert texts(other) == ["first"]


def test_a_row_that_got_an_id_meanwhile_keeps_it(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    """What a task wrote has no trace in the thread's own row if it adds none."""
    say(saver, "one")
    mine, theirs = saver.get_tuple(thread()), other.get_tuple(thread())
    assert mine is not None
    assert theirs is not None
    saver.put_writes(mine.config, [("messages", HumanMessage("yes"))], "task-1")
    other.put_writes(theirs.config, [("messages", HumanMessage("yes", id="theirs"))], "task-2")
    put(saver, mine.config, checkpoint([HumanMessage("yes", id="mine")]))
    ids = sorted(str(id_) for (id_,) in rows(saver, "SELECT message_id FROM holdfast_messages WHERE content = 'yes'"))
    assert ids == ["mine", "theirs"]
    found = other.get_tuple(thread())
    assert found is not None
    assert [m.id for m in found.checkpoint["channel_values"]["messages"]] == ["mine"]


def test_what_is_known_of_threads_has_a_limit(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_state, "MOST_ROWS", 5)
    monkeypatch.setattr(thread_state, "MOST_ROWS_OF_THREAD", 4)
    states = saver._database.states
    say(saver, "one", thread_id="first")
    say(saver, "one", thread_id="second")
    assert states.get("first") is not None
    say(saver, "one", thread_id="third")
    assert states.get("first") is None, "the thread that was used longest ago"
    assert states.get("third") is not None
    say(saver, "two", "three", thread_id="third")
    assert states.get("third") is None, "it is too long"
    assert texts(saver, "third")[-1] == "You said: three"


def test_a_run_moves_its_thread_in_the_list_when_it_ends(saver: HoldfastSaver) -> None:
    for thread_id in ("first", "second", "first"):
        say(saver, "one", thread_id=thread_id)
    assert [found.thread_id for found in saver.threads.list().threads] == ["first", "second"]


@pytest.mark.parametrize("kind", ["put", "put_writes"])
def test_a_save_whose_answer_is_lost_is_found_again(postgres_url_with_tables: str, kind: str) -> None:
    with wired(postgres_url_with_tables) as (wire, url), open_checkpointer(url) as saver:
        say(saver, "one")
        found = saver.get_tuple(thread())
        assert found is not None
        count = "SELECT (SELECT count(*) FROM holdfast_messages), (SELECT count(*) FROM checkpoints)"
        [(messages, checkpoints)] = rows(saver, count)
        lost = _lose_one(wire)
        if kind == "put":
            put(saver, found.config, checkpoint([HumanMessage("two", id="two")]))
            assert texts(saver) == ["two"]
        else:
            saver.put_writes(found.config, [("messages", AIMessage("two", id="two"))], "task")
            assert [m.text for m in _written(saver)] == ["two"]
        assert lost() == 1
        assert rows(saver, count) == [(messages + 1, checkpoints + (kind == "put"))]


def _lose_one(wire: Wire) -> Any:
    wire.lose_commits = 1
    return lambda: 1 - wire.lose_commits


def _written(saver: HoldfastSaver) -> list[Any]:
    found = saver.get_tuple(thread())
    assert found is not None
    return [value for _, channel, value in found.pending_writes or [] if channel == "messages"]
