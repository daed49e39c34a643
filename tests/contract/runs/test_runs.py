"""A turn is accepted when it is in the database, and then it is carried out once, by any process."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, Run
from holdfast.errors import KeyReused, NothingWaits, UnknownRun, UnknownThread
from holdfast.graph import Conversation, build_graph
from holdfast.worker import TurnListener, TurnWorker, Worker
from tests.support.desk import APPROVE, Desk
from tests.support.encryption_kit import encrypted
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, rows
from tests.support.runs_kit import Ending, Thinking


def ada(saver: HoldfastSaver, *said: str, user_id: str | None = None) -> Conversation:
    """A conversation with an agent that says these."""
    agent = build_graph(model=ScriptedModel(lines=[*map(says, said)]), checkpointer=saver)
    return Conversation(agent, "ada-1", user_id)


def worker_of(talk: Conversation) -> Worker:
    return Worker(talk._agent)


def said(talk: Conversation) -> list[str]:
    return [message.text for message in talk.history()]


@pytest.mark.sweep(on="postgres")
def test_accepted_messages_are_answered_in_their_order(saver: HoldfastSaver) -> None:
    talk = ada(saver, "one", "two")
    first, second = talk.submit("Hello"), talk.submit("And again")
    assert (first.state, said(talk)) == ("accepted", [])
    assert worker_of(talk).run_once().carried_out == ["ada-1", "ada-1"]
    assert said(talk) == ["Hello", "one", "And again", "two"]
    ended = saver.runs.get(first.run_id)
    assert (ended.state, ended.attempts, ended.error, ended.until_seq) == ("done", 1, None, 2)
    assert [run.run_id for run in saver.runs.list("ada-1")] == [second.run_id, first.run_id]
    assert talk.history()[0].id == first.run_id
    assert rows(saver, "SELECT count(input) FROM holdfast_runs") == [(0,)]


def test_a_thread_runs_as_long_as_a_turn_that_was_accepted(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    talk.send("Hello")
    run = talk.submit("And again")
    assert saver.threads.get("ada-1").status == "running"
    assert [thread.thread_id for thread in saver.threads.list(status="running").threads] == ["ada-1"]
    saver.runs.cancel(run.run_id)
    assert saver.threads.get("ada-1").status == "idle"
    assert saver.threads.list(status="running").threads == []


def test_a_turn_whose_process_died_goes_on_and_says_its_message_once(saver: HoldfastSaver) -> None:
    talk = ada(saver)
    run = talk.submit("Hello")
    [claimed] = saver.runs.claim(run.agent, "a process that dies")
    assert saver.runs.claim(run.agent, "another") == []
    assert saver.runs.renew("a process that dies", [run.run_id]) == {run.run_id: False}
    assert saver.runs.renew("another", [run.run_id]) == {}
    with pytest.raises(IndexError):  # it dies in its model
        talk.send(HumanMessage("Hello", id=run.run_id))
    change(saver, "UPDATE holdfast_runs SET alive_until = 0")
    talk = ada(saver, "Hi")
    assert worker_of(talk).run_once().carried_out == ["ada-1"]
    assert said(talk) == ["Hello", "Hi"]
    assert saver.runs.get(run.run_id).attempts == 2
    assert not saver.runs.finish(claimed, "done")


@pytest.mark.sweep
def test_a_turn_whose_process_dies_again_and_again_has_failed(saver: HoldfastSaver) -> None:
    talk = ada(saver)
    run = talk.submit("Hello")
    for _ in range(2):
        saver.runs.claim(run.agent, "a process that dies")
        change(saver, "UPDATE holdfast_runs SET alive_until = 0")
    Worker(talk._agent, turns=TurnWorker(talk._agent, attempts=2)).run_once()
    failed = saver.runs.get(run.run_id)
    assert (failed.state, failed.error_type) == ("failed", "ProcessDied")
    assert "died 2 times" in str(failed.error)


@pytest.mark.sweep
def test_runs_that_ended_long_ago_are_forgotten_with_the_next_one(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    old = talk.submit("Hello")
    worker_of(talk).run_once()
    change(saver, "UPDATE holdfast_runs SET ended_at = 1")
    new = talk.submit("And again")
    assert [run.run_id for run in saver.runs.list("ada-1")] == [new.run_id]
    for unknown in (old.run_id, "\0"):
        with pytest.raises(UnknownRun):
            saver.runs.get(unknown)


@pytest.mark.sweep
def test_what_an_erased_user_has_waiting_in_threads_of_others_does_not_run(saver: HoldfastSaver) -> None:
    agent = build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)
    Conversation(agent, "ada-1", "ada", members=["bob"]).send("Hello")
    run = Conversation(agent, "ada-1", "bob").submit("I am Bob")
    saver.erase(user_id="bob", others="redact")
    assert (saver.runs.get(run.run_id).state, saver.runs.get(run.run_id).user_id) == ("cancelled", "[erased]")
    assert rows(saver, "SELECT count(input) FROM holdfast_runs") == [(0,)]
    assert Worker(agent).run_once().carried_out == []


def test_the_metadata_of_a_conversation_go_with_its_turns(saver: HoldfastSaver) -> None:
    agent = build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)
    talk = Conversation(agent, "ada-1", metadata={"team": "red"})
    talk.submit("Hello")
    worker_of(talk).run_once()
    assert saver.threads.get("ada-1").metadata == {"team": "red"}


def test_a_request_that_comes_twice_under_its_key_is_one(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi", user_id="ada")
    first = talk.submit("Hello", key="k1")
    assert talk.submit("Hello", key="k1") == first
    with pytest.raises(KeyReused, match="'k1' was given for another request"):
        talk.submit("Good bye", key="k1")
    worker_of(talk).run_once()
    assert talk.submit("Hello", key="k1").state == "done"
    with pytest.raises(UnknownThread):
        Conversation(talk._agent, "ada-1", "bob").submit("Hello", key="k1")


def test_an_answer_and_its_run_are_accepted_together_and_once(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [asked] = desk.ids()
    run = desk.ada.submit_answer(APPROVE, asked, key="k1")
    assert desk.ada.submit_answer(APPROVE, asked, key="k1") == run
    with pytest.raises(NothingWaits, match="has answered this already"):
        desk.ada.submit_answer(APPROVE, asked)
    assert (desk.refunded, len(saver.runs.list("ada-1"))) == ([], 1)
    assert Worker(desk.agent).run_once().carried_out == ["ada-1"]
    assert (desk.refunded, saver.runs.get(run.run_id).state) == ([1], "done")


@pytest.mark.sweep
def test_a_turn_that_fails_says_why_and_is_gone_on_with(saver: HoldfastSaver) -> None:
    talk = ada(saver)
    run = talk.submit("Hello")
    worker_of(talk).run_once()
    failed = saver.runs.get(run.run_id)
    assert (failed.state, failed.error_type) == ("failed", "IndexError")
    assert "log" in str(failed.error)
    talk = ada(saver, "Hi")
    talk.submit_retry()
    worker_of(talk).run_once()
    assert said(talk) == ["Hello", "Hi"]


@pytest.mark.sweep
def test_a_run_that_waits_is_cancelled_at_once_and_deleted_with_its_thread(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    run = talk.submit("Hello")
    assert saver.runs.cancel(run.run_id).state == "cancelled"
    assert worker_of(talk).run_once().carried_out == []
    saver.delete_thread("ada-1")
    with pytest.raises(UnknownRun):
        saver.runs.get(run.run_id)


async def test_a_worker_beside_an_application_begins_at_once_what_it_is_woken_for(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    listener = Ending()
    turns = TurnWorker(talk._agent, period=3600, listener=listener)
    async with turns:
        run = await talk.asubmit("Hello")
        turns.wake()
        await listener.has_ended.wait()
    assert saver.runs.get(run.run_id).state == "done"
    assert said(talk) == ["Hello", "Hi"]


@pytest.mark.sweep(on="postgres")
async def test_a_turn_is_begun_by_the_worker_of_the_process_that_accepts_it(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi", "And Hi")
    listener = Ending()
    async with TurnWorker(talk._agent, period=3600, listener=listener):
        run = await talk.asubmit("Hello")
        assert (run.state, run.attempts) == ("running", 1)
        assert rows(saver, "SELECT nonce FROM holdfast_leases") == [(run.run_id,)]
        assert (await talk.asubmit("And again")).state == "accepted"
        await listener.has_ended.wait()
    assert rows(saver, "SELECT count(*) FROM holdfast_leases") == [(0,)]
    assert (await talk.asubmit("A third time")).state == "accepted"  # the worker has stopped


@pytest.mark.sweep(on="postgres")
async def test_a_turn_that_is_begun_at_once_has_no_more_transactions_than_one_without_a_run(
    saver: HoldfastSaver,
) -> None:
    talk, listener = ada(saver, *"abcd"), Ending()
    seen: list[str] = []
    async with TurnWorker(talk._agent, period=3600, listener=listener) as turns:
        for _ in range(2):  # the first turn of a thread has others
            saver._backend.on_statement = seen.append if turns._looks_at else None  # it looks once when it begins
            await talk.asubmit("Hello")
            await listener.has_ended.wait()
            listener.has_ended.clear()
    accepted, seen[:] = seen.count("commit"), []
    await talk.asend("Hello")
    assert 0 < accepted <= seen.count("commit")


@pytest.mark.sweep(on="postgres")
async def test_a_full_worker_and_a_held_lease_leave_a_turn_accepted(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    async with TurnWorker(talk._agent, period=3600, at_once=1) as turns:
        with turns._claims.reserving() as owner:
            assert owner is not None
            assert (await talk.asubmit("Hello")).state == "accepted"
    turns = TurnWorker(talk._agent)
    turns._open()
    async with saver.alease("bob-1"):
        run = await Conversation(talk._agent, "bob-1").asubmit("Hello")
    [claimed] = turns._claims.taken()
    assert (claimed.run, claimed.lease) == (run, None)  # the turn takes it when it is free
    await turns._on_loop.call(turns._claims.close)


@pytest.mark.sweep
@pytest.mark.parametrize("told_by", ["look", "heartbeat"])
async def test_a_turn_that_another_process_cancels_while_the_model_thinks_stops(
    saver: HoldfastSaver, told_by: str
) -> None:
    model = Thinking(lines=[])
    talk = Conversation(build_graph(model=model, checkpointer=saver), "ada-1")
    listener = Ending()
    turns = TurnWorker(talk._agent, period=3600, at_once=1, listener=listener)
    async with turns:
        run = await talk.asubmit("Hello")
        turns.wake()
        await model._thinks.wait()
        assert (await saver.runs.acancel(run.run_id)).is_cancelled
        if told_by == "look":
            turns.wake()
        else:
            turns._claims._beat()
        await listener.has_ended.wait()
    assert saver.runs.get(run.run_id).state == "cancelled"


def test_a_turn_whose_thread_was_deleted_by_older_code_does_not_begin_it_anew(saver: HoldfastSaver) -> None:
    talk = ada(saver, "Hi")
    talk.send("Hello")
    run = talk.submit("And again")
    change(saver, "UPDATE holdfast_threads SET deleted_at = created_at + 60, head = NULL")  # it leaves the run
    worker = worker_of(talk)
    assert worker.run_once().carried_out == []
    with pytest.raises(UnknownRun):
        saver.runs.get(run.run_id)


def test_a_turn_whose_thread_is_deleted_when_it_is_about_to_begin_does_not_begin_it_anew(saver: HoldfastSaver) -> None:
    class Deleting(TurnListener):
        def began(self, run: Run) -> None:
            saver.delete_thread(run.thread_id)

    talk = ada(saver, "Hi")
    talk.submit("Hello")
    Worker(talk._agent, turns=TurnWorker(talk._agent, listener=Deleting())).run_once()
    assert (said(talk), saver.runs.list("ada-1")) == ([], [])


def test_an_accepted_turn_of_an_encrypted_database_is_sealed_and_begins_its_thread(url: str) -> None:
    with encrypted(url) as saver:
        ada(saver).submit("the eagle lands", key="k1")
        [(stored, sealed)] = rows(saver, "SELECT input_type, input FROM holdfast_runs")
        assert (stored, b"eagle" in bytes(sealed)) == ("sealed.msgpack", False)
    with encrypted(url) as saver:  # another process, which reads the keys
        talk = ada(saver, "Hi")
        assert talk.submit("the eagle lands", key="k1").state == "accepted"
        worker_of(talk).run_once()
        assert said(talk) == ["the eagle lands", "Hi"]


@pytest.mark.sweep
async def test_a_worker_that_stops_gives_back_what_it_cannot_end(saver: HoldfastSaver) -> None:
    model = Thinking(lines=[])
    talk = Conversation(build_graph(model=model, checkpointer=saver), "ada-1")
    turns = TurnWorker(talk._agent, period=3600, grace=0)
    async with turns:
        run = await talk.asubmit("Hello")
        turns.wake()
        await model._thinks.wait()
    given_back = saver.runs.get(run.run_id)
    assert (given_back.state, given_back.attempts) == ("accepted", 0)
    talk = ada(saver, "Hi")
    worker_of(talk).run_once()
    assert said(talk) == ["Hello", "Hi"]
