"""Threads that do not simply go on: begun anew, a turn taken back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NothingToUndo, ThreadBusy, ThreadConflict
from holdfast.checkpoints.save import save_checkpoint
from holdfast.checkpoints.threads import reset
from tests.support.asking import team, waiting
from tests.support.delta_kit import delta_agent
from tests.support.foreign import DeltaState, Scripted, talker, weather
from tests.support.index_kit import assert_counted, digest, of_run
from tests.support.kit import checkpoint, echo_graph, put, texts, thread
from tests.support.reset_kit import events, history, meet, remembering, transcript
from tests.support.shapes import exact

# --- begin anew


@pytest.mark.sweep(on="postgres")
async def test_a_thread_that_is_begun_anew_is_empty_and_keeps_its_transcript(saver: HoldfastSaver) -> None:
    graph = remembering(saver)
    for text in ("hello", "more"):
        await graph.ainvoke({"messages": [("user", text)]}, of_run(user_id="ada", topic="x"))
    before = saver.threads.get("ada-1")
    said = ["hello", "call 1", "more", "call 2"]
    assert texts(saver) == said

    after = saver.threads.restart("ada-1", by="Grace")

    assert (after.messages, after.title, after.user_id, after.metadata) == (4, "hello", "ada", {"topic": "x"})
    assert (after.status, after.bytes) == ("idle", before.bytes)
    assert after.updated_at >= before.updated_at
    assert (graph.get_state(thread()).values, graph.get_state(thread()).next) == ({"messages": []}, ())
    assert events(saver) == [("restart", "Grace", 4)]
    result = await graph.ainvoke({"messages": [("user", "hello")]}, thread())
    assert [m.text for m in result["messages"]] == ["hello", "call 1"], "nothing is remembered"
    assert transcript(saver) == [*said, "hello", "call 1"], "said again, they are new"
    assert len(history(saver)) == 10, "the old history is there"
    assert [m.text for m in graph.get_state(thread(checkpoint_id=before.checkpoint_id)).values["messages"]] == said
    assert_counted(saver)
    assert saver.threads.restart("ada-1").messages == 6
    assert saver.threads.restart("ada-1").messages == 6, "again and again"


def test_a_restart_closes_waiting_requests_and_refuses_other_writers(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, thread())
    [pause, *_] = waiting(graph, thread()).values()
    assert saver.threads.get("ada-1").pending == 3
    late = saver.get_tuple(thread())
    assert late is not None

    assert saver.threads.restart("ada-1").pending == 0

    assert saver.interrupts.waiting(thread_id="ada-1") == []
    assert graph.get_state(thread()).interrupts == ()
    assert texts(saver) == []
    graph.invoke(Command(resume={pause: "yes"}), thread())  # no task waits for this answer
    assert texts(saver) == []
    with pytest.raises(ThreadConflict):
        put(saver, late.config, checkpoint([HumanMessage("late")]))
    monkeypatch.setattr(HoldfastSaver, "lease", partialmethod(HoldfastSaver.lease, wait=0))
    with saver.lease("ada-1", purpose="test"):
        for method in (saver.threads.restart, saver.threads.undo):
            with pytest.raises(ThreadBusy):
                method("ada-1")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("what", ["restart", "undo"])
def test_a_message_that_another_writer_saves_meanwhile_is_not_lost(
    saver: HoldfastSaver, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without a lease saves between what these read and what they write."""
    graph = remembering(saver)
    meet(graph, "one", "two")
    newest = reset._newest
    before: list[Any] = []

    def and_write(*args: Any) -> Any:
        found = newest(*args)
        if not before:
            monkeypatch.undo()
            graph.update_state(thread(), {"messages": [HumanMessage("meanwhile", id="m")]}, as_node="child")
            before.append(digest(saver, "ada-1"))
        return found

    monkeypatch.setattr(reset, "_newest", and_write)
    with pytest.raises(ThreadConflict):
        getattr(saver.threads, what)("ada-1")
    assert digest(saver, "ada-1") == before[0], "nothing was changed, not in a subgraph either"
    assert texts(saver)[-1] == "meanwhile"


# --- take back a turn


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("graph_of", [echo_graph, remembering, lambda saver: talker(saver, DeltaState)])
def test_turns_are_taken_back_one_after_the_other(saver: HoldfastSaver, graph_of: Callable[[Any], Any]) -> None:
    graph = graph_of(saver)
    states = []
    for text in ("one", "two", "three"):
        states.append(exact(graph.get_state(thread()).values.get("messages", [])))
        meet(graph, text)
    said, checkpoints = transcript(saver), set(history(saver))
    for state in reversed(states):
        undone = saver.threads.undo("ada-1", by="Ada")
        assert exact(graph.get_state(thread()).values.get("messages", [])) == state
        assert (undone.status, undone.messages) == ("idle", len(said))
        assert_counted(saver)
    with pytest.raises(NothingToUndo, match="no turn that can be undone"):
        saver.threads.undo("ada-1")
    assert [kind for kind, *_ in events(saver)] == ["undo"] * 3
    assert checkpoints < set(history(saver))

    meet(graph, "four")
    assert len(graph.get_state(thread()).values["messages"]) == 2
    saver.threads.undo("ada-1")
    meet(graph, "five", "six")
    saver.threads.undo("ada-1")
    last = [m.text for m in graph.get_state(thread()).values["messages"]]
    assert (len(last), last[0]) == (2, "five")
    if "call 1" in said:
        assert last == ["five", "call 1"], "the subgraph does not remember what was taken back"
    saver.threads.restart("ada-1")
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")
    meet(graph, "seven")
    assert saver.threads.undo("ada-1").messages == len(said) + 8
    assert graph.get_state(thread()).values.get("messages", []) == []
    assert_counted(saver)


def test_a_turn_that_waits_is_taken_back(saver: HoldfastSaver) -> None:
    graph = team(saver)
    meet(graph, "go")
    assert saver.threads.undo("ada-1").status == "idle"
    assert saver.interrupts.waiting(thread_id="ada-1") == []
    meet(graph, "go")
    meet(graph, "something else")  # in place of an answer
    undone = saver.threads.undo("ada-1")
    assert (undone.status, undone.pending) == ("unfinished", 0)
    graph.invoke(None, thread())
    assert sorted(waiting(graph, thread())) == ["a", "b", "c"], "it is asked again"
    assert saver.threads.get("ada-1").status == "paused"


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_a_turn_with_tools_is_taken_back(saver: HoldfastSaver) -> None:
    graph = create_react_agent(Scripted(), [weather], checkpointer=saver)
    meet(graph, "Rain?")
    before = exact(graph.get_state(thread()).values)
    meet(graph, "And now?")
    saver.threads.undo("ada-1")
    assert exact(graph.get_state(thread()).values) == before
    meet(graph, "Sure?")
    assert len(texts(saver)) == 10
    assert_counted(saver)


def test_of_a_pruned_thread_only_later_turns_are_taken_back(saver: HoldfastSaver) -> None:
    for graph, thread_id in ((echo_graph(saver), "plain"), (delta_agent(saver, 1000), "delta")):
        meet(graph, "one", "two", thread_id=thread_id)
        saver.prune([thread_id])
        before = digest(saver, thread_id)
        with pytest.raises(NothingToUndo):
            saver.threads.undo(thread_id)
        assert digest(saver, thread_id) == before
        state = exact(graph.get_state(thread(thread_id)).values)
        for _ in range(2):
            meet(graph, "three", thread_id=thread_id)
            saver.threads.undo(thread_id)
            assert exact(graph.get_state(thread(thread_id)).values) == state
            saver.prune([thread_id])
            assert exact(graph.get_state(thread(thread_id)).values) == state
        meet(graph, "four", thread_id=thread_id)
        assert len(graph.get_state(thread(thread_id)).values["messages"]) > len(state) > 0


def test_a_turn_is_undone_while_another_caller_prunes(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that stands alone is there; one that is made of what came before is not saved without that."""

    def prune_and_save(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        saver.prune(["plain", "delta"])
        return save_checkpoint(*args, **kwargs)

    for graph, thread_id in ((echo_graph(saver), "plain"), (delta_agent(saver, 1000), "delta")):
        meet(graph, "one", "two", thread_id=thread_id)
        before = exact(graph.get_state(thread(thread_id)).values)
        meet(graph, "three", thread_id=thread_id)
        monkeypatch.setattr(saver.threads, "_save_checkpoint", prune_and_save)
        if thread_id == "plain":
            saver.threads.undo(thread_id)
            assert exact(graph.get_state(thread(thread_id)).values) == before
        else:
            with pytest.raises(ThreadConflict):
                saver.threads.undo(thread_id)
            assert "three" in [m.text for m in graph.get_state(thread(thread_id)).values["messages"]]
