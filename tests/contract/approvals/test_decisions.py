"""Answers that callers of LangGraph alone pass to a run. They too are on record before anything is done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import AlreadyAnswered, RequestClosed
from holdfast.graph import BadAnswer, build_graph, needs_approval
from holdfast.graph.state import State
from tests.support.desk import APPROVE, REJECT, Desk
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread


@pytest.fixture
def desk(saver: HoldfastSaver) -> Desk:
    return Desk(saver)


@pytest.mark.sweep(on="postgres")
async def test_an_answer_that_comes_with_a_run_is_on_record_before_the_tool_runs(saver: HoldfastSaver) -> None:
    found: list[Any] = []

    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund an order."""
        found.append(saver.interrupts.recorded("ada-1", which))
        return "done"

    lines = [calls(("refund", {"order_id": 1})), says("done")]
    for invoke in ("invoke", "ainvoke"):
        agent = build_graph(model=ScriptedModel(lines=list(lines)), tools=[refund], checkpointer=saver)
        which = agent.invoke({"messages": [("user", "go")]}, thread())["__interrupt__"][0].id
        resume = Command(resume={which: {**APPROVE, "by": "Grace"}})
        if invoke == "invoke":
            agent.invoke(resume, thread())
        else:
            await agent.ainvoke(resume, thread())
        assert (found[-1].by, found[-1].answer["type"]) == ("Grace", "approve")


@pytest.mark.sweep(on="postgres")
async def test_another_answer_than_the_one_on_record_runs_nothing_and_saves_nothing(desk: Desk) -> None:
    first, second = desk.ids()
    desk.record(first, REJECT, by="Grace")
    before = desk.saver.get_tuple(thread())
    for _ in range(2):
        with pytest.raises(AlreadyAnswered, match="Grace has answered this already with 'reject'"):
            desk.agent.invoke(Command(resume={first: APPROVE}), thread())
    with pytest.raises(AlreadyAnswered):
        await desk.agent.ainvoke(Command(resume={first: APPROVE}), thread())
    assert desk.saver.get_tuple(thread()) == before
    assert desk.refunded == []
    desk.agent.invoke(Command(resume={first: REJECT}), thread())  # the same one goes on
    desk.agent.invoke(Command(resume={second: APPROVE}), thread())
    assert desk.refunded == [2]


@pytest.mark.sweep(on="postgres")
def test_an_answer_without_an_id_that_came_too_late_does_not_wedge_the_thread(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    desk.record(which, REJECT, by="Grace")
    with pytest.raises(AlreadyAnswered):
        desk.agent.invoke(Command(resume=APPROVE), thread())
    desk.agent.invoke(None, thread())
    assert desk.refunded == []
    [answer] = desk.answers
    assert answer.additional_kwargs["approval"]["by"] == "Grace"


def test_a_bad_answer_without_an_id_does_not_stand_in_the_way_of_a_good_one(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    desk.ids()
    with pytest.raises(BadAnswer):
        desk.agent.invoke(Command(resume={"type": "ok"}), thread())
    assert desk.ada.approve().text == "done"
    assert desk.refunded == [1]


def test_a_run_from_an_older_checkpoint_can_answer_the_request_there(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    old = desk.agent.get_state(thread()).config
    desk.agent.update_state(thread(), {"messages": [HumanMessage("Never mind.")]}, as_node="tool")
    with pytest.raises(RequestClosed):
        saver.interrupts.answer("ada-1", which, APPROVE)
    desk.agent.invoke(Command(resume={which: APPROVE}), old)
    assert desk.refunded == [1]


async def test_an_agent_inside_of_another_graph_is_answered_the_same_way(saver: HoldfastSaver) -> None:
    desk = Desk(saver)
    outer: Any = StateGraph(State)
    outer.add_node("desk", desk.agent)
    outer.add_edge(START, "desk")
    graph = outer.compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "go")]}, thread("t2"))
    first, second = saver.interrupts.waiting(thread_id="t2")
    saver.interrupts.answer("t2", first.interrupt_id, APPROVE)
    await graph.ainvoke(None, thread("t2"))
    assert [w.interrupt_id for w in saver.interrupts.waiting(thread_id="t2")] == [second.interrupt_id]
    assert saver.interrupts.todo() == []
    result = graph.invoke(Command(resume={second.interrupt_id: APPROVE}), thread("t2"))
    assert result["messages"][-1].text == "done"
    assert sorted(desk.refunded) == [1, 2]


def test_of_many_decisions_at_once_one_is_carried_out_and_the_others_are_refused(url: str) -> None:
    with open_checkpointer(url) as saver:
        desk = Desk(saver, 1)
        [which] = desk.ids()
        gate = threading.Barrier(6, timeout=20)

        def decide(number: int) -> str:
            gate.wait()
            try:
                if number % 2:
                    desk.agent.invoke(Command(resume={which: {**APPROVE, "by": f"p{number}"}}), thread())
                else:
                    desk.ada.reject(f"no {number}", which, by=f"p{number}")
            except Exception as told:  # noqa: BLE001
                return type(told).__name__  # two equal answers without a lease may conflict
            return "done"

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(decide, range(6)))
        assert len(desk.answers) == 1
        assert saver.interrupts.todo() == saver.interrupts.waiting() == []


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("answer", [{"type": "reject"}, {"type": "respond", "message": "By hand."}, APPROVE])
def test_a_call_that_waits_needs_its_answer_although_its_tool_needs_no_approval_any_more(
    saver: HoldfastSaver, answer: dict[str, Any]
) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    ran: list[int] = []

    @tool
    def refund(order_id: int) -> str:
        """Refund an order."""
        ran.append(order_id)
        return "refunded"

    agent = build_graph(model=ScriptedModel(lines=[says("I see")]), tools=[refund], checkpointer=saver)
    agent.invoke(None, thread())
    assert ran == [], "the call still waits"
    agent.invoke(Command(resume={which: answer}), thread())
    assert ran == ([1] if answer is APPROVE else [])
    assert len(desk.answers) == 1
