"""Threads that were saved without the index come into it: those of the stock savers, and of earlier versions."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, convert, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread
from tests.support.children import approval_graph
from tests.support.dialects import VALUES, dialect_of
from tests.support.index_kit import assert_counted, of_run
from tests.support.kit import change, echo_graph, rows, texts, thread
from tests.support.stock_kit import in_stock

FROM_BEFORE = ("user_id", "title", "metadata", "head", "unfinished", "messages", "bytes", "prompt", "live_from",
               "origin_thread_id", "origin_checkpoint_id")  # fmt: skip


def talk(saver: Any) -> None:
    """An idle thread and one that waits."""
    for text in (" Refund\norder 1001", "And 1002"):
        echo_graph(saver).invoke({"messages": [("user", text)]}, of_run("idle", user_id="ada", topic="orders"))
    approval_graph(saver).invoke({"messages": [("user", "May I?")]}, thread("paused"))


def as_of_version_4(saver: HoldfastSaver) -> None:
    """Take away what the migrations to version 5 and later have made."""
    change(saver, "DROP TABLE IF EXISTS holdfast_search")
    for table in ("members", "keys", "encryption", "runs"):
        change(saver, f"DROP TABLE holdfast_{table}")
    change(saver, "ALTER TABLE holdfast_threads DROP COLUMN key_no")
    change(saver, "DROP VIEW holdfast_transcript")
    for index in ("user", "newest"):
        change(saver, f"DROP INDEX holdfast_threads_{index}")
    for column in ("searched", "searched_as", *FROM_BEFORE):
        change(saver, f"ALTER TABLE holdfast_threads DROP COLUMN {column}")
    change(saver, "ALTER TABLE holdfast_messages DROP COLUMN user_id")
    change(saver, "DROP TABLE holdfast_events")
    change(saver, "DELETE FROM holdfast_schema WHERE version > 4")


def prepare(url: str, made_by: str) -> None:
    if made_by == "stock":
        in_stock(url, talk)
        return
    with open_checkpointer(url) as saver:
        talk(saver)
        as_of_version_4(saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("made_by", ["stock", "version 4"])
def test_threads_that_were_saved_without_the_index_are_found_and_indexed(bare_url: str, made_by: str) -> None:
    prepare(bare_url, made_by)
    with open_checkpointer(bare_url) as saver:
        assert saver.threads.list().threads == []
        found = list(saver.threads.unindexed())
        assert found == ["idle", "paused"]
        for thread_id in found * 2:
            saver.threads.index(thread_id)
        saver.threads.index("unknown")
        assert list(saver.threads.unindexed()) == []

        paused, idle = saver.threads.list().threads
        assert (idle.user_id, idle.title, idle.metadata) == ("ada", "Refund order 1001", {"topic": "orders"})
        assert (idle.status, idle.messages) == ("idle", 4 if made_by != "stock" else 0)
        assert (paused.user_id, paused.title, paused.messages) == (None, "May I?", 1 if made_by != "stock" else 0)
        assert idle.created_at < idle.updated_at < paused.updated_at, "as old as their checkpoints"
        saver.interrupts.waiting()  # finds what the stock saver has asked
        assert (saver.threads.get("paused").status, saver.threads.get("paused").pending) == ("paused", 1)
        assert_counted(saver)

        approval_graph(saver).invoke(Command(resume="yes"), thread("paused"))
        echo_graph(saver).invoke({"messages": [("user", "more")]}, thread("idle"))
        assert [(t.messages, t.status) for t in saver.threads.list().threads] == [(6, "idle"), (2, "idle")]
        assert saver.threads.get("idle").created_at == idle.created_at
        saver.threads.undo("idle")
        assert len(texts(saver, "idle")) == 4
        assert_counted(saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("made_by", ["stock", "version 4"])
def test_the_next_save_of_a_thread_brings_it_into_the_index(bare_url: str, made_by: str) -> None:
    prepare(bare_url, made_by)
    with open_checkpointer(bare_url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "more")]}, of_run("idle", user_id="grace"))
        more = rows(saver, "SELECT DISTINCT user_id FROM holdfast_transcript WHERE content = 'more'")
        assert more == [("grace",)]
        first = saver.heads(thread_id="paused")[0].first_id  # its copy follows nothing either
        approval_graph(saver).update_state(thread("paused", checkpoint_id=first), None, as_node="__copy__")
        approval_graph(saver).invoke(None, thread("paused"))
        assert list(saver.threads.unindexed()) == []
        idle, paused = saver.threads.get("idle"), saver.threads.get("paused")
        assert (idle.user_id, idle.title, idle.messages) == ("ada", "Refund order 1001", 6)
        assert paused.title == "May I?"
        assert_counted(saver)


def test_compacting_a_stock_thread_counts_its_messages(bare_url: str) -> None:
    in_stock(bare_url, talk)
    with open_checkpointer(bare_url) as saver:
        for thread_id in ("idle", "paused"):
            convert.compact_thread(saver.database, thread_id)
        idle = saver.threads.get("idle")
        assert (idle.title, idle.user_id, idle.messages, idle.status) == ("Refund order 1001", "ada", 4, "idle")
        saver.threads.restart("idle")
        convert.compact_thread(saver.database, "idle")
        assert saver.threads.get("idle").updated_at > idle.updated_at, "it keeps its place in the list"
        assert_counted(saver)


def test_a_thread_that_cannot_be_read_is_named_and_the_others_are_indexed(bare_url: str) -> None:
    prepare(bare_url, "version 4")
    with open_checkpointer(bare_url) as saver:
        table, column = VALUES[dialect_of(saver)]
        change(saver, f"UPDATE {table} SET {column} = :cut WHERE thread_id = 'idle'", cut=b"\x81")
        outcomes = {}
        for thread_id in saver.threads.unindexed():
            try:
                saver.threads.index(thread_id)
            except DamagedThread as error:
                outcomes[thread_id] = error.thread_id
        assert outcomes in ({"idle": "idle"}, {})
        listed = [found.thread_id for found in saver.threads.list().threads]
        assert sorted([*listed, *outcomes]) == ["idle", "paused"]
        assert list(saver.threads.unindexed()) == list(outcomes)


def test_taking_back_all_runs_takes_a_thread_out_of_the_index(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [("user", "first words")]}, of_run(run_id="r-1", user_id="ada", topic="x"))
    saver.delete_for_runs(["r-1"])
    assert saver.threads.list().threads == []
    assert rows(saver, "SELECT title, metadata, head, messages, bytes FROM holdfast_threads") == [
        (None, None, None, 0, 0)
    ]
    graph.invoke({"messages": [("user", "other words")]}, of_run(run_id="r-2", user_id="ada"))
    graph.invoke({"messages": [("user", "more")]}, of_run(run_id="r-3"))
    before = saver.threads.get("ada-1")
    assert (before.title, before.metadata, before.messages) == ("other words", {}, 4)
    saver.prune(["ada-1"])
    saver.delete_for_runs(["r-3"])
    assert saver.threads.list().threads == []
    graph.invoke({"messages": [("user", "again")]}, of_run())
    assert saver.threads.get("ada-1").created_at == before.created_at
    assert_counted(saver)
