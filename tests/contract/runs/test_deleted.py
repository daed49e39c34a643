"""A thread that is deleted before an accepted turn of it has saved anything is not begun anew by that turn."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import UnknownRun
from holdfast.graph import Conversation, build_graph
from holdfast.worker import TurnWorker, Worker
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, once_before, rows
from tests.support.runs_kit import Ending


def ada(saver: HoldfastSaver, *said: str) -> Conversation:
    """A conversation with an agent that says these."""
    agent = build_graph(model=ScriptedModel(lines=[*map(says, said)]), checkpointer=saver)
    return Conversation(agent, "ada-1")


def assert_nothing_is_left(saver: HoldfastSaver, outcome: str) -> None:
    assert outcome == "cancelled"
    for table in ("checkpoints", "holdfast_messages", "holdfast_runs", "holdfast_leases"):
        assert rows(saver, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert saver.is_deleted("ada-1")


@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("before", ["get_tuple", "put"])
async def test_a_turn_that_was_claimed_when_it_was_accepted_begins_no_deleted_thread(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    listener = Ending()
    async with TurnWorker((talk := ada(saver, "Hi"))._agent, period=3600, listener=listener) as turns:
        once_before(monkeypatch, saver, before, lambda: saver.delete_thread("ada-1"))
        assert (await talk.asubmit("Hello")).state == "running"
        turns.begin_accepted()
        await listener.has_ended.wait()
    assert_nothing_is_left(saver, listener.outcome)


@pytest.mark.sweep
@pytest.mark.parametrize("before", ["get_tuple", "put"])
async def test_a_turn_that_a_worker_has_found_begins_no_deleted_thread(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    talk, listener = ada(saver, "Hi"), Ending()
    talk.submit("Hello")
    once_before(monkeypatch, saver, before, lambda: saver.delete_thread("ada-1"))
    async with TurnWorker(talk._agent, period=3600, listener=listener):
        await listener.has_ended.wait()
    assert_nothing_is_left(saver, listener.outcome)


@pytest.mark.sweep
def test_a_turn_says_nothing_in_a_thread_that_was_begun_anew_since(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = ada(saver, "Hi")
    talk.send("Hello")
    run = talk.submit("And again")

    def begin_anew() -> None:
        saver.delete_thread("ada-1")
        saver.put({"configurable": {"thread_id": "ada-1", "checkpoint_ns": ""}}, empty_checkpoint(), {}, {})

    once_before(monkeypatch, saver, "get_tuple", begin_anew)
    Worker(talk._agent).run_once()
    assert talk.history() == []
    with pytest.raises(UnknownRun):
        saver.runs.get(run.run_id)


@pytest.mark.sweep
def test_a_turn_goes_on_if_its_thread_is_there_and_a_message_of_it_was_redacted(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = ada(saver, "Hi")
    run = talk.submit("Hello")
    redacted = "UPDATE holdfast_threads SET generation = generation + 1"
    once_before(monkeypatch, saver, "get_tuple", lambda: change(saver, redacted))
    Worker(talk._agent).run_once()
    assert saver.runs.get(run.run_id).state == "done"
    assert [message.text for message in talk.history()] == ["Hello", "Hi"]
