"""A turn of `send` whose process has died is gone on with by a worker, and one that has ended in another way is not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, NewRun, open_checkpointer
from holdfast.graph import Conversation, build_graph
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.plans import BLOCKING, run
from holdfast.worker import DeadTurns, Pass, Worker
from tests.support import children
from tests.support.desk import APPROVE, Desk
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, rows
from tests.support.runs_kit import (
    begin_and_die,
    booking,
    leave_lease,
    let_claims_expire,
    let_leases_expire,
    send_or_die,
)

NAME = "holdfast"
PURPOSE = f"a turn of {NAME}"


def ada(saver: HoldfastSaver, *said: str, thread_id: str = "ada-1") -> Conversation:
    """A conversation with an agent that says these."""
    agent = build_graph(model=ScriptedModel(lines=[*map(says, said)]), checkpointer=saver)
    return Conversation(agent, thread_id, "ada")


def said(talk: Conversation) -> list[str]:
    return [message.text for message in talk.history()]


def test_a_worker_goes_on_once_with_a_turn_whose_process_has_died(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    talk = ada(saver, "Hi", "again")
    assert saver.threads.get("ada-1").status == "unfinished"
    assert Worker(talk._agent, dead_turns=False).run_once().carried_out == []
    assert Worker(talk._agent).run_once().carried_out == ["ada-1"]
    [retry] = saver.runs.list("ada-1")
    assert (retry.kind, retry.state, retry.user_id, said(talk)) == ("retry", "done", "ada", ["Hello", "Hi"])
    assert saver.runs.dead_turns(PURPOSE) == []
    assert rows(saver, "SELECT count(*) FROM holdfast_leases") == [(0,)]


@pytest.mark.sweep
async def test_a_worker_on_an_event_loop_does_the_same(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    talk = ada(saver, "Hi")
    assert (await Worker(talk._agent).arun_once()).carried_out == ["ada-1"]
    assert [message.text for message in await talk.ahistory()] == ["Hello", "Hi"]


@pytest.mark.sweep
def test_a_turn_is_taken_up_once_and_only_while_nothing_has_gone_on_with_it(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    [dead] = saver.runs.dead_turns(PURPOSE)
    with saver.lease("ada-1"):
        assert saver.runs.dead_turns(PURPOSE) == []
        assert saver.runs.take_up(dead, NewRun("ada-1", NAME, "retry", {})) is None
    leave_lease(saver, "ada-1", PURPOSE)
    [dead] = saver.runs.dead_turns(PURPOSE)
    with ThreadPoolExecutor(8) as replicas:
        taken = [*replicas.map(lambda _: saver.runs.take_up(dead, NewRun("ada-1", NAME, "retry", {})), range(8))]
    assert sum(one is not None for one in taken) == 1


def test_a_turn_whose_process_lives_and_renews_its_lease_late_is_left_to_it(saver: HoldfastSaver) -> None:
    talk, accepted = ada(saver, "Hi"), []
    begin_and_die(talk, "Hello")
    dead_turns = DeadTurns(AgentProfile(talk._agent), lambda: accepted.append(1))
    run(dead_turns._pass(BLOCKING))  # the database was away, and its lease has ended
    change(saver, "UPDATE holdfast_leases SET expires_at = expires_at + 60")
    run(dead_turns._pass(BLOCKING))
    change(saver, "UPDATE holdfast_leases SET expires_at = expires_at - 60")
    run(dead_turns._pass(BLOCKING))
    assert accepted == []
    run(dead_turns._pass(BLOCKING))
    assert accepted == [1]


def failed(saver: HoldfastSaver) -> None:
    with pytest.raises(IndexError):
        ada(saver).send("Hello")
    leave_lease(saver, "ada-1", PURPOSE)


def ended(saver: HoldfastSaver) -> None:
    ada(saver, "Hi").send("Hello")
    leave_lease(saver, "ada-1", PURPOSE)


def waits(saver: HoldfastSaver) -> None:
    Desk(saver, 1).ids()
    leave_lease(saver, "ada-1", PURPOSE)


def was_cancelled(saver: HoldfastSaver) -> None:
    turn = ada(saver).submit("Hello")
    saver.runs.claim(NAME, "a process that dies")
    begin_and_die(ada(saver, "Hi"), "Hello")
    saver.runs.cancel(turn.run_id)
    change(saver, "UPDATE holdfast_runs SET alive_until = 0")
    assert Worker(ada(saver)._agent).run_once().carried_out == ["ada-1"]  # it has ended


def was_cancelled_by_closing_its_stream(saver: HoldfastSaver) -> None:
    for _ in ada(saver, "Hi").stream("Hello"):
        break


def is_of_another_agent(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    change(saver, "UPDATE holdfast_leases SET purpose = 'a turn of another'")


def died_long_ago(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    change(saver, "UPDATE holdfast_leases SET expires_at = expires_at - 86400")


@pytest.mark.sweep(every=7)
@pytest.mark.parametrize(
    "left",
    [failed, ended, waits, was_cancelled, was_cancelled_by_closing_its_stream, is_of_another_agent, died_long_ago],
    ids=lambda left: left.__name__,
)
def test_a_turn_that_did_not_end_by_the_death_of_its_process_is_left_alone(
    saver: HoldfastSaver, left: Callable[[HoldfastSaver], None]
) -> None:
    left(saver)
    before = saver.runs.list("ada-1")
    worker = Worker(ada(saver, "No")._agent)
    for _ in range(2):
        assert worker.run_once().carried_out == []
    assert saver.runs.list("ada-1") == before


@pytest.mark.sweep
def test_a_call_of_a_tool_that_the_agent_lacks_is_left_to_another_agent(saver: HoldfastSaver, tmp_path: Path) -> None:
    talk = booking(saver, tmp_path / "bookings")
    for event in talk.stream("room 7"):
        if type(event).__name__ == "ToolCalled":
            break
    leave_lease(saver, "ada-1", PURPOSE)
    assert Worker(ada(saver, "No")._agent).run_once().carried_out == []
    assert Worker(talk._agent).run_once().carried_out == ["ada-1"]


def test_a_turn_that_ends_each_of_its_processes_has_failed_until_a_person_retries_it(saver: HoldfastSaver) -> None:
    begin_and_die(ada(saver, "Hi"), "Hello")
    talk = ada(saver, "Hi")
    [dead] = saver.runs.dead_turns(PURPOSE)
    saver.runs.take_up(dead, NewRun("ada-1", NAME, "retry", {}))
    for _ in range(5):
        assert saver.runs.claim(NAME, "a process that dies")
        leave_lease(saver, "ada-1", PURPOSE)
        change(saver, "UPDATE holdfast_runs SET alive_until = 0")
    Worker(talk._agent).run_once()
    [retry] = saver.runs.list("ada-1")
    assert (retry.state, retry.error_type, said(talk)) == ("failed", "ProcessDied", ["Hello"])
    assert "died 5 times" in str(retry.error)
    assert saver.threads.get("ada-1").status == "failed"
    assert [thread.thread_id for thread in saver.threads.list(status="failed").threads] == ["ada-1"]
    assert Worker(talk._agent).run_once().carried_out == []
    assert talk.retry().text == "Hi"
    assert saver.threads.get("ada-1").status == "idle"


@pytest.mark.sweep
def test_an_answer_that_ends_each_of_its_processes_is_carried_out_no_more(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [asked] = desk.ids()
    desk.ada.submit_answer(APPROVE, asked)
    for _ in range(5):
        assert saver.runs.claim(NAME, "a process that dies")
        assert answers(desk).busy == ["ada-1"]
        change(saver, "UPDATE holdfast_runs SET alive_until = 0")
    Worker(desk.agent).run_once()
    assert "died 5 times" in answers(desk).left["ada-1"]
    assert desk.refunded == []


def answers(desk: Desk) -> Pass:
    """What a new worker does about the answers that are on record."""
    return run(Worker(desk.agent)._look(BLOCKING))


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_a_process_that_is_killed_at_any_commit_of_a_turn_is_followed_by_a_worker(url: str, tmp_path: Path) -> None:
    with open_checkpointer(url) as saver:
        for commit in range(200):
            effects, thread_id = tmp_path / f"{commit}", f"t{commit}"
            came_to = children.run(send_or_die, url, str(effects), thread_id, commit)
            let_leases_expire(saver)
            talk = booking(saver, effects, thread_id)
            Worker(talk._agent).run_once()
            let_claims_expire(saver)
            for doubt in talk.pending():  # recorded as started, and not as done
                assert doubt.kind == "doubt"
                talk.settle("happened" if effects.exists() else "run_again", result="done")
            history = talk.history()
            if history:  # it was saved
                assert [m.text for m in history if isinstance(m, HumanMessage)] == ["room 7"], commit
                assert (effects.read_text(), history[-1].text) == ("room 7\n", "booked"), commit
                assert saver.threads.get(thread_id).status == "idle"
            if came_to != -9:
                break
        else:
            pytest.fail("it never came to its end")
    assert commit > 8
