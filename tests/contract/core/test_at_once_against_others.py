"""What a process knows of a thread may be wrong: others leave no trace in the thread's row, or a save is undone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Send

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable, ThreadConflict
from tests.support.index_kit import assert_counted
from tests.support.kit import checkpoint, put, rows, say, texts, thread
from tests.support.outages import wired
from tests.support.stock_kit import stock_saver

SUB = {"checkpoint_ns": "sub:1"}


@pytest.fixture
def other(url: str) -> Iterator[HoldfastSaver]:
    """Another process on the same database, as far as the first one can tell."""
    with open_checkpointer(url) as other:
        yield other


def loaded(saver: HoldfastSaver) -> Any:
    found = saver.get_tuple(thread())
    assert found is not None
    return found.config


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("begun", [True, False])
def test_a_message_that_a_save_holds_in_two_channels_is_said_once(saver: HoldfastSaver, begun: bool) -> None:
    if begun:
        say(saver, "one")
        config = loaded(saver)
    else:
        config = thread(checkpoint_ns="")
        assert saver.get_tuple(config) is None
    sent = Send("model", {"messages": [HumanMessage("new", id="new")]})
    saved = checkpoint([HumanMessage("new", id="new")], __pregel_tasks=[sent])
    saved["channel_values"] = dict(reversed(saved["channel_values"].items()))
    put(saver, config, saved)
    assert texts(saver) == ["new"]
    assert rows(saver, "SELECT channel FROM holdfast_messages WHERE content = 'new'") == [("messages",)]
    assert_counted(saver)


def test_a_thread_that_a_stock_saver_has_deleted_is_not_written(saver: HoldfastSaver, url: str) -> None:
    say(saver, "one")
    config = loaded(saver)
    with stock_saver(url) as stock:
        stock.delete_thread("ada-1")
    with pytest.raises(ThreadConflict):
        put(saver, config, checkpoint([HumanMessage("late")]))
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(0,)]


def test_a_row_that_a_subgraph_has_meanwhile_is_not_said(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    mine, theirs = loaded(saver), loaded(other)
    at_head = thread(**SUB, checkpoint_id=mine["configurable"]["checkpoint_id"])
    saver.put_writes(at_head, [("messages", HumanMessage("yes", id="yes"))], "task-1")
    other.put_writes(theirs, [("other", 1)], "task-2")  # reads the rows
    put(saver, thread(**SUB), checkpoint([HumanMessage("yes", id="yes")]))
    other.put_writes(theirs, [("messages", HumanMessage("yes", id="yes"))], "task-3")
    found = rows(saver, "SELECT ns, channel FROM holdfast_messages WHERE message_id = 'yes'")
    assert found == [("sub:1", "messages")]
    assert_counted(saver)


def test_a_row_that_a_branch_has_said_meanwhile_is_counted_once(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    say(saver, "one")
    [(first,)] = rows(saver, "SELECT min(checkpoint_id) FROM checkpoints")
    mine = loaded(saver)
    saver.put_writes(mine, [("messages", HumanMessage("yes", id="yes"))], "task-1")
    # A run from an older checkpoint, whose clock is behind: its checkpoint is no head.
    branch = checkpoint([HumanMessage("yes", id="yes")], id=f"{first[:-2]}00")
    put(other, thread(checkpoint_id=first), branch)
    put(saver, mine, checkpoint([HumanMessage("yes", id="yes")]))
    assert texts(other) == ["yes"]
    assert_counted(saver)


@pytest.mark.sweep
def test_a_save_of_more_messages_than_one_statement_takes_is_one_save(saver: HoldfastSaver) -> None:
    say(saver, "one")
    put(saver, loaded(saver), checkpoint([HumanMessage(str(number), id=str(number)) for number in range(5000)]))
    assert len(texts(saver)) == 5000
    assert_counted(saver)


def test_a_save_that_follows_one_that_is_not_committed_does_not_build_on_it(sqlite_url: str) -> None:
    """The next save of a thread is prepared while the one before is being committed."""
    with open_checkpointer(sqlite_url) as saver, ThreadPoolExecutor(1) as pool:
        say(saver, "one")
        config = put(saver, loaded(saver), checkpoint([HumanMessage("yes")]))
        writers, later = saver._backend._writers, list[Future[Any]]()  # type: ignore[attr-defined]

        def fail(name: str) -> None:
            if name != "commit" or later:
                return
            later.append(pool.submit(put, saver, config, checkpoint([HumanMessage("yes", id="mine")])))
            while not writers._waiting and not later[0].done():
                Event().wait(0.001)  # nothing tells that a writer waits
            raise sqlite3.OperationalError("disk I/O error")

        saver._backend.on_statement = fail
        # It gives the row an id, and changes nothing else.
        with pytest.raises(DatabaseUnavailable):
            saver.put_writes(config, [("messages", HumanMessage("yes", id="mine"))], "task")
        later[0].result()
    with open_checkpointer(sqlite_url) as reader:
        found = reader.get_tuple(thread())
        assert found is not None
        assert [m.id for m in found.checkpoint["channel_values"]["messages"]] == ["mine"]
        assert_counted(reader)


def test_a_save_whose_answer_is_lost_is_not_repeated_in_a_thread_begun_anew(postgres_url_with_tables: str) -> None:
    """A run that was sent to a checkpoint names no generation: only the first attempt tells in which one it was."""
    with wired(postgres_url_with_tables) as (wire, url), open_checkpointer(url) as saver:
        new = thread(checkpoint_ns="")
        assert saver.get_tuple(new) is None
        put(saver, new, checkpoint([]))
        [(first,)] = rows(saver, "SELECT checkpoint_id FROM checkpoints")
        at_head = thread(checkpoint_ns="", checkpoint_id=first)
        backend = saver._backend
        with open_checkpointer(postgres_url_with_tables) as other:

            def anew(name: str) -> None:
                if name != "lock_thread":  # of the second attempt
                    return
                backend.on_statement = None
                other.delete_thread("ada-1")
                say(other, "another")

            backend.on_statement = anew
            wire.lose_commits = 1
            with pytest.raises(ThreadConflict):
                saver.put_writes(at_head, [("other", "late")], "task")
            assert rows(other, "SELECT count(*) FROM checkpoint_writes WHERE task_id = 'task'") == [(0,)]


def test_a_subgraph_does_not_follow_a_checkpoint_that_is_pruned_while_it_waits(postgres_url_with_tables: str) -> None:
    with open_checkpointer(postgres_url_with_tables) as saver, ThreadPoolExecutor(1) as pool:
        say(saver, "one")
        first = put(saver, thread(**SUB), checkpoint([HumanMessage("of sub", id="sub")], note={"of": ["sub"]}))
        later = checkpoint([HumanMessage("of sub", id="sub")], note={"of": ["sub"]})
        versions = {"messages": later["channel_versions"]["messages"]}
        with open_checkpointer(postgres_url_with_tables) as other:
            with other._backend.writing() as transaction:
                transaction.run([(other._backend.sql["lock_thread"], {"thread_id": "ada-1"})])
                waiting = pool.submit(saver.put, first, later, {"source": "loop", "step": 1}, versions)
                while not rows(saver, "SELECT 1 FROM pg_locks WHERE NOT granted") and not waiting.done():
                    Event().wait(0.001)  # nothing tells that a session waits
                gone = [first["configurable"]["checkpoint_id"]]
                transaction.run(other._backend.delete_checkpoints("ada-1", "sub:1", gone))
            with pytest.raises(ThreadConflict):
                waiting.result()


def test_a_save_that_fails_before_it_is_sent_leaves_no_row_that_is_known(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(saver, "one")
    config = loaded(saver)

    def fail(*_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(saver._backend, "save_checkpoint", fail)
        with pytest.raises(MemoryError):
            put(saver, config, checkpoint([HumanMessage("two", id="two")]))
    put(saver, config, checkpoint([HumanMessage("two", id="two")]))
    assert texts(saver) == ["two"]
    assert_counted(saver)


def test_nothing_is_known_of_a_save_after_which_the_database_may_be_another(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(saver, "one")
    config, database, send = loaded(saver), saver._database, saver._backend.save_at_once

    def lost(*calls: Any, written: Any, **kwargs: Any) -> bool:
        def lost_before(generation: int) -> None:
            database.forget_all()
            written(generation)

        return send(*calls, written=lost_before, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(saver._backend, "save_at_once", lost)
        put(saver, config, checkpoint([HumanMessage("two", id="two")]))
    assert database.states.get("ada-1") is None
    assert not database.cache.has("ada-1")
    assert texts(saver) == ["two"]


def test_saves_of_many_messages_are_not_prepared(postgres_url_with_tables: str) -> None:
    """The server keeps the plan of each as long as the session lasts."""
    with open_checkpointer(postgres_url_with_tables) as saver:
        say(saver, "one", "two", "three", "four", "five")
        for turn in range(6):
            put(saver, loaded(saver), checkpoint([HumanMessage(f"{turn}, {number}") for number in range(40)]))
        with saver._backend._pool.connection(1.0) as connection:  # type: ignore[attr-defined]
            prepared = connection.execute("SELECT length(statement) FROM pg_prepared_statements").fetchall()
        assert 0 < max(length for (length,) in prepared) < 5000
