"""A worker carries out the answers that are on record, and closes requests that have expired."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from threading import Event

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import DatabaseUnavailable
from holdfast.graph import build_graph
from holdfast.worker import Worker
from tests.support.desk import APPROVE, Desk
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change


@pytest.fixture
def desk(saver: HoldfastSaver) -> Desk:
    return Desk(saver, 1)


async def test_a_pass_carries_out_what_is_on_record_once(desk: Desk) -> None:
    worker = Worker(desk.agent)
    assert (await worker.arun_once()).carried_out == []
    [asked] = desk.ids()
    desk.record(asked, APPROVE, by="Grace")
    assert worker.run_once().carried_out == ["ada-1"]
    assert (desk.refunded, desk.ada.history()[-1].text) == ([1], "done")
    assert worker.run_once().carried_out == []


@pytest.mark.sweep
async def test_a_pass_on_an_event_loop_does_the_same(desk: Desk) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    assert (await Worker(desk.agent).arun_once()).carried_out == ["ada-1"]
    assert desk.refunded == [1]


def test_a_request_that_has_expired_is_closed(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1, expires_in=timedelta(hours=1))
    desk.ids()
    change(saver, "UPDATE holdfast_interrupts SET expires_at = 1")
    assert Worker(desk.agent).run_once().carried_out == ["ada-1"]
    assert "no decision was made" in desk.answers[0].text
    assert desk.refunded == []


@pytest.mark.sweep
def test_a_thread_whose_lease_is_held_is_looked_at_again(desk: Desk) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    worker = Worker(desk.agent)
    with desk.saver.lease("ada-1"):
        assert worker.run_once().busy == ["ada-1"]
    assert worker.run_once().carried_out == ["ada-1"]


def test_the_threads_of_another_agent_are_left_alone(desk: Desk) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    other = build_graph(model=ScriptedModel(lines=[says("I?")]), tools=[len_of], checkpointer=desk.saver)
    worker = Worker(other)
    assert worker.run_once().left == {"ada-1": "this agent has no tool 'refund'"}
    assert worker.run_once().left == {}
    assert Worker(desk.agent).run_once().carried_out == ["ada-1"]


def len_of(text: str) -> int:
    """Return the length of a text."""
    return len(text)


def test_a_thread_that_fails_does_not_stop_the_others_and_is_tried_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    worker = Worker(desk.agent)
    monkeypatch.setattr(desk.saver.threads, "owner", lambda _: 1 / 0)
    assert worker.run_once().failed == {"ada-1": "division by zero"}
    assert worker.run_once().failed == {}
    assert "Thread ada-1: a recorded answer could not be carried out: ZeroDivisionError" in caplog.text
    assert "division by zero" not in caplog.text  # it could be a text of the conversation


def test_in_a_thread_it_works_until_it_is_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    passes, second = [], Event()
    expire = desk.saver.interrupts.expire

    def flaky() -> list[str]:
        passes.append(1)
        if len(passes) == 1:
            raise DatabaseUnavailable("the database is away")
        return expire()

    monkeypatch.setattr(desk.saver.interrupts, "expire", flaky)
    monkeypatch.setattr(desk.saver.threads, "owner", lambda _: second.set())
    with Worker(desk.agent, period=0.001):
        assert second.wait(60)
    assert desk.refunded == [1]


@pytest.mark.sweep
async def test_on_an_event_loop_it_works_until_it_is_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    [asked] = desk.ids()
    desk.record(asked, APPROVE)
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(desk.saver.threads, "owner", lambda _: loop.call_soon_threadsafe(looked.set) and None)
    async with Worker(desk.agent, period=3600):
        await looked.wait()
    assert desk.refunded == [1]


def test_it_needs_holdfasts_checkpointer_and_a_period(desk: Desk) -> None:
    with pytest.raises(TypeError, match="InMemorySaver"):
        Worker(build_graph(checkpointer=InMemorySaver()))
    with pytest.raises(ValueError, match="above 0"):
        Worker(desk.agent, period=0)
