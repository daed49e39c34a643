"""A refused checkpoint is kept as a branch, and changes nothing in its thread until a run goes on from it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import HoldfastSaver, MessageEntry, open_checkpointer
from holdfast.checkpoints.core.conflicts import id_before
from holdfast.checkpoints.errors import ClockSkew, ThreadConflict, Unreachable
from holdfast.checkpoints.transfer import transfer_thread
from tests.support.kit import checkpoint, echo_graph, elsewhere, put, rows, texts, thread


def say(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def refused(saver: HoldfastSaver, other: HoldfastSaver, durability: Any = "exit") -> ThreadConflict:
    """Let a run that has answered "mine" be refused, because another one has said "theirs" meanwhile."""
    during: list[None] = []

    def reply(message: Any) -> str:
        if not during:
            during.append(None)
            elsewhere(lambda: echo_graph(other).invoke(say("theirs"), thread()))
        return f"You said: {message.text}"

    with pytest.raises(ThreadConflict) as conflict:
        echo_graph(saver, reply).invoke(say("mine"), thread(), durability=durability)
    return conflict.value


def branch_of(conflict: ThreadConflict) -> RunnableConfig:
    assert conflict.branch is not None
    return conflict.branch


def said(saver: HoldfastSaver) -> list[str]:
    return [entry.text for entry in saver.transcript("ada-1") if isinstance(entry, MessageEntry)]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("durability", ["sync", "exit"])
@pytest.mark.parametrize("thread_is", ["new", "old"])
def test_a_refused_checkpoint_is_kept_with_all_that_the_run_had(
    saver: HoldfastSaver, other: HoldfastSaver, durability: Any, thread_is: str
) -> None:
    if thread_is == "old":
        echo_graph(saver).invoke(say("before"), thread())
    branch = branch_of(conflict := refused(saver, other, durability))

    found = echo_graph(other).get_state(branch)

    assert [m.text for m in found.values["messages"]][-2:] == ["mine", "You said: mine"]
    assert str(branch["configurable"]["checkpoint_id"]) in str(conflict)
    assert found.metadata["holdfast_refused"] == conflict.head
    assert conflict.head == echo_graph(saver).get_state(thread()).config["configurable"]["checkpoint_id"]
    assert texts(saver)[-1] == "You said: theirs"
    echo_graph(other).invoke(None, branch)
    assert texts(saver)[-2:] == ["mine", "You said: mine"]


def test_a_branch_can_be_taken_up(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    branch = branch_of(refused(saver, other))

    echo_graph(other).invoke(say("on"), branch)

    assert texts(saver) == ["mine", "You said: mine", "on", "You said: on"]
    assert said(saver) == ["theirs", "You said: theirs", "mine", "You said: mine", "on", "You said: on"]


def test_a_branch_is_in_the_history_and_not_in_what_was_said(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    branch = branch_of(refused(saver, other))

    history = [found.config["configurable"]["checkpoint_id"] for found in saver.list(thread())]
    assert history.index(branch["configurable"]["checkpoint_id"]) == 1
    assert said(saver) == ["theirs", "You said: theirs"]
    indexed = saver.threads.get("ada-1")
    assert (indexed.title, indexed.messages, indexed.status) == ("theirs", 2, "idle")
    assert indexed.metadata == {}


def test_a_branch_goes_with_its_thread(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    branch = branch_of(refused(saver, other))
    saver.copy_thread("ada-1", "copy")
    copied = {"configurable": {**branch["configurable"], "thread_id": "copy"}}
    assert [m.text for m in echo_graph(saver).get_state(copied).values["messages"]] == ["mine", "You said: mine"]
    assert texts(saver, "copy") == ["theirs", "You said: theirs"]

    saver.prune(["ada-1"])
    assert saver.get_tuple(branch) is None
    assert texts(saver) == ["theirs", "You said: theirs"]

    saver.delete_thread("copy")
    assert saver.get_tuple(copied) is None
    assert rows(saver, "SELECT count(*) FROM checkpoints WHERE thread_id = 'copy'") == [(0,)]


def test_a_branch_is_transferred_with_its_thread(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    branch = branch_of(refused(saver, other))
    with open_checkpointer("memory://") as target:
        transfer_thread(saver.database, target.database, "ada-1")
        assert [m.text for m in echo_graph(target).get_state(branch).values["messages"]] == ["mine", "You said: mine"]
        assert texts(target) == ["theirs", "You said: theirs"]
        echo_graph(target).invoke(say("on"), branch)
        assert texts(target) == ["mine", "You said: mine", "on", "You said: on"]


def test_several_refused_runs_each_keep_their_own_branch(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one", id="1")]))
    late = [saver.get_tuple(thread()) for _ in range(3)]
    put(other, thread(), checkpoint([HumanMessage("two", id="2")]))

    kept = []
    for number, found in enumerate(late):
        assert found is not None
        with pytest.raises(ThreadConflict) as conflict:
            put(saver, found.config, checkpoint([AIMessage(f"late {number}", id=f"l{number}")]))
        kept.append(branch_of(conflict.value))

    for number, branch in enumerate(kept):
        loaded = other.get_tuple(branch)
        assert loaded is not None
        assert [m.text for m in loaded.checkpoint["channel_values"]["messages"]] == [f"late {number}"]
    assert texts(other) == ["two"]


def test_a_checkpoint_with_the_time_of_a_slow_clock_is_kept(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one", id="1")]))
    found = saver.get_tuple(thread())
    assert found is not None
    slow = id_before(found.config["configurable"]["checkpoint_id"])

    with pytest.raises(ClockSkew, match="NTP") as conflict:
        put(saver, found.config, checkpoint([HumanMessage("late", id="2")], id=slow))

    assert saver.get_tuple(branch_of(conflict.value)) is not None
    assert texts(saver) == ["one"]


def test_of_a_deleted_thread_nothing_is_kept(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one", id="1")]))
    found = saver.get_tuple(thread())
    assert found is not None
    other.delete_thread("ada-1")
    put(other, thread(), checkpoint([HumanMessage("new life", id="2")]))

    with pytest.raises(ThreadConflict, match="deleted") as conflict:
        put(saver, found.config, checkpoint([HumanMessage("late", id="3")]))

    assert conflict.value.branch is None
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(1,)]
    assert texts(other) == ["new life"]


def test_a_branch_that_cannot_be_kept_does_not_hide_the_conflict(
    saver: HoldfastSaver, other: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one", id="1")]))
    found = saver.get_tuple(thread())
    assert found is not None
    put(other, thread(), checkpoint([HumanMessage("two", id="2")]))
    writing, attempts = saver._backend.writing, []

    def away() -> Any:
        attempts.append(None)
        if len(attempts) > 1:
            raise Unreachable("The database is out of reach.", maybe_saved=False)
        return writing()

    monkeypatch.setattr(saver._backend, "writing", away)
    monkeypatch.setattr(saver._backend.patience, "limit", 0)
    with pytest.raises(ThreadConflict, match="not saved") as conflict:
        put(saver, found.config, checkpoint([HumanMessage("late", id="3")]))
    assert conflict.value.branch is None
