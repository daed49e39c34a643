"""A thread that is deleted before its accepted turn has saved anything stays deleted."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import UnknownRun, UnknownThread
from holdfast.graph import Conversation, build_graph
from holdfast.worker import TurnWorker, Worker
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, once_before, rows
from tests.support.runs_kit import Ending


def ada(saver: HoldfastSaver, *said: str, user_id: str | None = None) -> Conversation:
    """A conversation with an agent that says these."""
    agent = build_graph(model=ScriptedModel(lines=[*map(says, said)]), checkpointer=saver)
    return Conversation(agent, "ada-1", user_id)


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


@pytest.mark.sweep(on="postgres")
def test_a_thread_that_waits_for_its_first_turn_is_deleted_with_that_turn(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi", user_id="ada")
    run = talk.submit("Hello")
    bob = ada(saver, user_id="bob")
    for taken in (lambda: bob.submit("I was second"), bob.delete):
        with pytest.raises(UnknownThread):
            taken()
    talk.delete()
    with pytest.raises(UnknownRun):
        saver.runs.get(run.run_id)
    with pytest.raises(UnknownThread):
        talk.delete()
    assert (Worker(talk._agent).run_once().carried_out, talk.history()) == ([], [])


@pytest.mark.sweep
@pytest.mark.parametrize("user_id", [None, "ada"])
def test_a_thread_that_was_created_only_is_deleted(saver: HoldfastSaver, user_id: str | None) -> None:
    saver.threads.begin("ada-1", {"team": "red"}, owner="ada")
    saver.threads.delete("ada-1", user_id=user_id)
    assert saver.threads.begun("ada-1") is None
    with pytest.raises(UnknownThread):
        saver.threads.delete("ada-1", user_id=user_id)


@pytest.mark.sweep
def test_a_thread_of_others_is_not_deleted_by_a_turn_that_it_will_refuse(saver: HoldfastSaver) -> None:
    run = ada(saver, user_id="bob").submit("I was first")
    ada(saver, "Hi").send("Hello")
    with pytest.raises(UnknownThread):
        saver.threads.delete("ada-1", user_id="bob")
    assert saver.runs.get(run.run_id).is_open


@pytest.mark.sweep
def test_a_thread_that_waits_for_its_first_turn_is_erased_by_its_user_alone(saver: HoldfastSaver) -> None:
    ada(saver, user_id="ada").submit("Hello")
    with pytest.raises(UnknownThread):
        saver.erase("ada-1", user_id="bob")
    receipt = saver.erase("ada-1", user_id="ada")
    assert (receipt.rows, receipt.kept) == ({"holdfast_runs": 1}, {"holdfast_threads": 1})
    assert saver.erase("ada-1", user_id="ada").digest == receipt.digest


@pytest.mark.sweep
def test_with_a_user_the_threads_are_erased_that_wait_for_their_first_turn(saver: HoldfastSaver) -> None:
    ada(saver, user_id="ada").submit("Hello")
    ada(saver, user_id="bob").submit("I was second")
    saver.erase(user_id="bob")
    assert [run.user_id for run in saver.runs.list("ada-1")] == ["bob", "ada"]
    assert saver.erase(user_id="ada").threads == ["ada-1"]
    assert rows(saver, "SELECT count(*) FROM holdfast_runs") == [(0,)]
