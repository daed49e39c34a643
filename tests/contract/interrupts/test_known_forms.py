"""Requests of LangChain's HumanInTheLoopMiddleware and of Agent Inbox: shown, checked, healed after a bad answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import ValidationError

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import AlreadyAnswered, InvalidAnswer, NotAnswered
from tests.support.graph_kit import calls, says
from tests.support.kit import one_node, thread
from tests.support.middleware_kit import Shop

APPROVE = {"type": "approve"}
MODES: list[Any] = ["batched", "per_call"]
BAD: list[Any] = [{"type": "nonsense"}, {"type": "edit"}, "yes", None, {"decisions": []}, {"decisions": [APPROVE] * 2}]


def shop_with(saver: HoldfastSaver, mode: Any, *orders: int) -> Shop:
    wanted = calls(*(("refund", {"order": order}) for order in orders or (1,)))
    review = HumanInTheLoopMiddleware(interrupt_on={"refund": True}, interrupt_mode=mode)
    shop = Shop(saver, wanted, says("done"), middleware=[review])
    shop.say()
    return shop


def wrap(mode: str, *decisions: Any) -> Any:
    return {"decisions": [*decisions]} if mode == "batched" else decisions[0]


def carry_out(shop: Shop) -> None:
    resume = {done.interrupt_id: done.answer for done in shop.saver.interrupts.todo()}
    shop.agent.invoke(Command(resume=resume), thread())


@pytest.mark.parametrize("mode", MODES)
def test_a_request_is_shown_as_its_actions_with_the_decisions_allowed(saver: HoldfastSaver, mode: Any) -> None:
    shop = shop_with(saver, mode)
    [action] = shop.asked().actions
    assert (action.name, action.args) == ("refund", {"order": 1})
    assert action.allowed == ("approve", "edit", "reject", "respond")
    assert action.description is not None


@pytest.mark.sweep(every=10)
@pytest.mark.parametrize("answer", BAD, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_does_not_fit_is_refused_before_it_is_saved(
    saver: HoldfastSaver, mode: Any, answer: Any
) -> None:
    shop = shop_with(saver, mode)
    request = shop.asked()
    with pytest.raises(InvalidAnswer, match="does not fit the request") as refused:
        saver.interrupts.answer("ada-1", request.interrupt_id, answer, by="Ada")
    assert isinstance(refused.value, NotAnswered)
    saver.interrupts.answer("ada-1", request.interrupt_id, wrap(mode, APPROVE), by="Grace")
    carry_out(shop)
    assert (shop.refunded, shop.ended) == ([1], True)


def test_each_call_of_a_batch_has_its_decision(saver: HoldfastSaver) -> None:
    shop = shop_with(saver, "batched", 1, 2)
    assert [action.args["order"] for action in shop.asked().actions] == [1, 2]
    with pytest.raises(InvalidAnswer, match="needed is 2 decisions"):
        shop.record(decisions=[APPROVE])
    shop.record(decisions=[{"type": "reject"}, APPROVE])
    with pytest.raises(AlreadyAnswered, match="'reject, approve'"):
        saver.interrupts.answer("ada-1", saver.interrupts.todo()[0].interrupt_id, {"decisions": [APPROVE, APPROVE]})
    carry_out(shop)
    assert (shop.refunded, shop.ended) == ([2], True)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("mode", MODES)
def test_edited_arguments_are_checked_as_far_as_the_request_has_a_schema(saver: HoldfastSaver, mode: Any) -> None:
    shop = shop_with(saver, mode)
    for args in ("2", {}) if mode == "per_call" else ("2",):
        bad = wrap(mode, {"type": "edit", "edited_action": {"name": "refund", "args": args}})
        with pytest.raises(InvalidAnswer, match="args"):
            saver.interrupts.answer("ada-1", shop.asked().interrupt_id, bad)
    edit = wrap(mode, {"type": "edit", "edited_action": {"name": "refund", "args": {"order": 2}}})
    saver.interrupts.answer("ada-1", shop.asked().interrupt_id, edit)
    carry_out(shop)
    assert shop.refunded == [2]


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_resume_that_contradicts_the_recorded_answer_is_refused(saver: HoldfastSaver, mode: Any, named: bool) -> None:
    shop = shop_with(saver, mode)
    id_ = shop.asked().interrupt_id
    saver.interrupts.answer("ada-1", id_, wrap(mode, {"type": "reject"}), by="Grace")
    other = wrap(mode, APPROVE)
    with pytest.raises(AlreadyAnswered, match="Grace"):
        shop.agent.invoke(Command(resume={id_: other} if named else other), thread())
    carry_out(shop)
    assert (shop.refunded, shop.ended) == ([], True)
    with pytest.raises(AlreadyAnswered):  # a late click
        shop.agent.invoke(Command(resume={id_: other}), thread())


async def test_it_is_refused_on_an_event_loop_too(saver: HoldfastSaver) -> None:
    shop = shop_with(saver, "batched")
    shop.record(decisions=[{"type": "reject"}])
    with pytest.raises(AlreadyAnswered):
        await shop.agent.ainvoke(Command(resume=wrap("batched", APPROVE)), thread())
    await shop.agent.ainvoke(Command(resume=wrap("batched", {"type": "reject"})), thread())
    assert (shop.refunded, shop.ended) == ([], True)


def test_another_branch_may_be_answered_otherwise(saver: HoldfastSaver) -> None:
    shop = shop_with(saver, "batched")
    asked = shop.agent.get_state(thread()).config
    shop.record(decisions=[{"type": "reject"}])
    shop.agent.invoke(Command(resume=wrap("batched", APPROVE)), asked)  # type: ignore[call-overload]
    assert shop.refunded == [1]


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("named", [True, False])
def test_a_thread_that_a_bad_answer_has_wedged_is_healed_by_reopening(saver: HoldfastSaver, named: bool) -> None:
    shop = shop_with(saver, "batched")
    request = shop.asked()
    bad = {"type": "nonsense"}
    with pytest.raises(KeyError):
        shop.agent.invoke(Command(resume={request.interrupt_id: bad} if named else bad), thread())
    for resume in (None, Command(resume={request.interrupt_id: wrap("batched", APPROVE)})):
        with pytest.raises(KeyError):
            shop.agent.invoke(resume, thread())  # type: ignore[call-overload]
    assert saver.interrupts.reopen(request)
    assert not saver.interrupts.reopen(request)
    assert saver.threads.get("ada-1").status == "paused"
    shop.go_on()
    shop.go_on(**wrap("batched", APPROVE))
    assert (shop.refunded, shop.ended) == ([1], True)


def test_a_bad_answer_on_record_is_taken_back_with_what_the_run_has_saved(saver: HoldfastSaver) -> None:
    shop = shop_with(saver, "batched")
    request = shop.asked()
    recorded = saver.interrupts.settle("ada-1", request.interrupt_id, {"type": "nonsense"})  # as an older version took
    with pytest.raises(KeyError):
        carry_out(shop)
    assert saver.interrupts.reopen(recorded)
    shop.record(decisions=[APPROVE])
    carry_out(shop)
    assert (shop.refunded, shop.ended) == ([1], True)


def test_a_bad_answer_in_a_subgraph_is_taken_back_there(saver: HoldfastSaver) -> None:
    review = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    inner = Shop(None, middleware=[review])
    builder = StateGraph(MessagesState)
    builder.add_node("agent", inner.agent)
    builder.set_entry_point("agent")
    graph: Any = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "go")]}, thread())
    [request] = saver.interrupts.waiting()
    resume = Command(resume={request.interrupt_id: {"decisions": "all"}})
    with pytest.raises((KeyError, ValueError, TypeError)):
        graph.invoke(resume, thread())
    assert saver.interrupts.reopen(request)
    graph.invoke(Command(resume={request.interrupt_id: wrap("batched", APPROVE)}), thread())
    assert (inner.refunded, graph.get_state(thread()).next) == ([1], ())


def test_a_bad_answer_to_one_call_leaves_the_answers_to_the_others(saver: HoldfastSaver) -> None:
    shop = shop_with(saver, "per_call", 1, 2)
    first, second = shop.waiting()
    with pytest.raises(ValidationError):
        shop.agent.invoke(
            Command(resume={first.interrupt_id: APPROVE, second.interrupt_id: {"type": "nonsense"}}), thread()
        )
    assert saver.interrupts.reopen(second)
    shop.agent.invoke(Command(resume={second.interrupt_id: APPROVE}), thread())
    assert (sorted(shop.refunded), shop.ended) == ([1, 2], True)


# --- Agent Inbox


def inbox(saver: HoldfastSaver) -> Any:
    def ask(_: MessagesState) -> dict[str, Any]:
        config = {"allow_ignore": False, "allow_respond": True, "allow_edit": True, "allow_accept": True}
        request = {"action_request": {"action": "refund", "args": {"order": 1}}, "config": config, "description": "?"}
        [response] = interrupt([request])
        return {"messages": [AIMessage(f"{response['type']}: {response['args']}")]}

    return one_node(saver, ask)


def test_a_request_in_the_form_of_agent_inbox_is_shown_and_its_answer_is_checked(saver: HoldfastSaver) -> None:
    graph = inbox(saver)
    graph.invoke({"messages": [("user", "go")]}, thread())
    [request] = saver.interrupts.waiting()
    assert [(action.name, action.allowed) for action in request.actions] == [("refund", ("accept", "edit", "response"))]
    for bad in ("yes", [{"type": "ignore", "args": None}], [], [{"type": "edit", "args": "order 2"}]):
        with pytest.raises(InvalidAnswer):
            saver.interrupts.answer("ada-1", request.interrupt_id, bad)
    good = [{"type": "edit", "args": {"action": "refund", "args": {"order": 2}}}]
    saver.interrupts.answer("ada-1", request.interrupt_id, good, by="Ada")
    graph.invoke(Command(resume={request.interrupt_id: good}), thread())
    assert "'order': 2" in graph.get_state(thread()).values["messages"][-1].text
