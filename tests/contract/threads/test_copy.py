"""Copying a thread: the copy has everything, and goes its own way."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import ThreadConflict, ThreadNotEmpty
from holdfast.checkpoints.threads import rollback
from tests.support.asking import state_of, team, waiting
from tests.support.dialects import WRITES, dialect_of
from tests.support.kit import checkpoint, echo_graph, put, rows, texts, thread
from tests.support.records import listed


@pytest.mark.sweep(on="postgres")
def test_a_copy_has_everything_and_goes_its_own_way(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, thread())
    graph.invoke(Command(resume={waiting(graph, thread())["b"]: "yes"}), thread())
    original = listed(saver, "ada-1")

    saver.copy_thread("ada-1", "copy")

    assert listed(saver, "copy") == original
    assert state_of(graph, thread("copy")) == state_of(graph, thread())
    assert waiting(graph, thread("copy")) == waiting(graph, thread())
    assert rows(saver, "SELECT DISTINCT origin_thread_id FROM holdfast_messages WHERE thread_id = 'copy'") == [
        ("ada-1",)
    ]
    assert (
        rows(saver, "SELECT seq, content FROM holdfast_messages WHERE thread_id = 'copy' AND seq <> origin_seq") == []
    )
    for name in "ac":
        graph.invoke(Command(resume={waiting(graph, thread("copy"))[name]: "no"}), thread("copy"))
    assert listed(saver, "ada-1") == original
    saver.delete_thread("ada-1")
    graph.invoke({"messages": [HumanMessage("alone", id="h-2")]}, thread("copy"))
    assert sorted(waiting(graph, thread("copy"))) == ["a", "b", "c"]


def test_a_copy_into_a_thread_that_is_not_empty_is_refused(saver: HoldfastSaver) -> None:
    for thread_id in ("ada-1", "bob-1"):
        echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))
    before = listed(saver, "bob-1")
    for target in ("bob-1", "ada-1"):
        with pytest.raises(ThreadNotEmpty, match=f"'{target}' is not empty.*not in use"):
            saver.copy_thread("ada-1", target)
    assert listed(saver, "bob-1") == before
    saver.copy_thread("unknown", "bob-1")
    saver.copy_thread("unknown", "new")
    assert listed(saver, "bob-1") == before
    assert rows(saver, "SELECT 1 FROM holdfast_threads WHERE thread_id IN ('new', 'unknown')") == []


def test_leftovers_of_deleted_runs_do_not_prevent_a_copy(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, {**thread(), "metadata": {"run_id": "r-1"}})
    for _ in range(2):
        saver.threads.fork("ada-1", "target", by="Grace")
        assert waiting(graph, thread("target")) == waiting(graph, thread())
        interrupt_id = waiting(graph, thread("target"))["a"]
        saver.interrupts.answer("target", interrupt_id, "yes", by="Grace")
        rollback.delete_runs(saver.database, "target", ["r-1"])
        saver.put_writes(thread("target", checkpoint_ns="", checkpoint_id="gone"), [("notes", ["late"])], "task")
        assert rows(saver, "SELECT 1 FROM holdfast_events WHERE thread_id = 'target'") != []
    saver.threads.copy("ada-1", "target")
    assert listed(saver, "target") == listed(saver, "ada-1")
    assert rows(saver, "SELECT 1 FROM holdfast_events WHERE thread_id = 'target'") == []
    table, _ = WRITES[dialect_of(saver)]
    assert rows(saver, f"SELECT 1 FROM {table} WHERE thread_id = 'target' AND checkpoint_id = 'gone'") == []


def test_a_deleted_id_can_be_copied_into_and_those_who_knew_it_are_refused(saver: HoldfastSaver) -> None:
    for thread_id in ("ada-1", "bob-1"):
        echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))
    late = saver.get_tuple(thread("bob-1"))
    empty = thread("new", checkpoint_ns="")
    saver.get_tuple(empty)
    assert late is not None
    saver.delete_thread("bob-1")
    for target in ("bob-1", "new"):
        saver.copy_thread("ada-1", target)
    for config in (late.config, empty):
        with pytest.raises(ThreadConflict):
            put(saver, config, checkpoint([HumanMessage("late")]))
    for target in ("bob-1", "new"):
        echo_graph(saver).invoke({"messages": [("user", "on")]}, thread(target))
        assert texts(saver, target) == ["ada-1", "You said: ada-1", "on", "You said: on"]
