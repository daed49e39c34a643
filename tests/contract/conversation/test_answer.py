"""A decision is carried out once, by the next run, and no person is asked again, whichever process dies in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.graph import (
    AnsweredBefore,
    BadAnswer,
    Conversation,
    NothingWaits,
    build_graph,
    needs_approval,
)
from tests.support import children
from tests.support.desk import APPROVE, REJECT, Desk
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, rows, thread
from tests.support.sweep import Sweep


@pytest.fixture
def desk(saver: HoldfastSaver) -> Desk:
    return Desk(saver)


# --- recorded answers are carried out


@pytest.mark.sweep(every=5)
@pytest.mark.parametrize(
    "way", ["retry", "stream_retry", "send", "stream", "aretry", "astream", "asend", "bare", "abare"]
)
async def test_a_decision_is_carried_out_by_the_next_run_of_any_kind(desk: Desk, way: str) -> None:
    first, second = desk.ids()
    desk.record(first, {**APPROVE, "by": "Grace"})
    desk.record(second, REJECT, by="Ada")
    assert desk.ada.pending() == []
    match way:
        case "retry":
            assert desk.ada.retry().text == "done"
        case "aretry":
            assert (await desk.ada.aretry()).text == "done"
        case "stream_retry":
            list(desk.ada.stream_retry())
        case "send":
            assert desk.ada.send("And?").text == "later"
        case "asend":
            assert (await desk.ada.asend("And?")).text == "later"
        case "stream":
            list(desk.ada.stream("And?"))
        case "astream":
            _ = [event async for event in desk.ada.astream("And?")]
        case "bare":
            desk.agent.invoke(None, thread())
        case "abare":
            await desk.agent.ainvoke(None, thread())
    assert desk.refunded == [1]
    assert [answer.additional_kwargs["approval"]["by"] for answer in desk.answers] == ["Grace", "Ada"]
    assert desk.saver.interrupts.todo() == []
    [at, _] = [answer.additional_kwargs["approval"]["at"] for answer in desk.answers]
    assert at.startswith("20")
    assert at.endswith("+00:00")
    with pytest.raises(NothingWaits, match="the last turn has ended"):
        desk.ada.retry()


def test_an_answer_to_one_call_is_carried_out_while_the_other_waits(desk: Desk) -> None:
    first, second = desk.ids()
    desk.record(second, APPROVE)
    assert [call.interrupt_id for call in desk.ada.retry().pending] == [first]
    assert desk.refunded == [2]
    with pytest.raises(NothingWaits, match="a request waits for a person"):
        desk.ada.retry()


def test_an_answer_that_comes_during_a_run_is_carried_out_by_that_run(saver: HoldfastSaver) -> None:
    desk = Desk(saver)
    first, second = desk.ids()
    invoke = desk.agent.invoke
    seen: list[str] = []

    def while_it_runs(*args: Any, **kwargs: Any) -> Any:
        result = invoke(*args, **kwargs)
        if not seen:
            seen.append(second)
            desk.record(second, APPROVE, by="Alan")  # and Alan's process dies before its run
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.agent, "invoke", while_it_runs)
        assert desk.ada.approve(first).text == "done"
    assert desk.refunded == [1, 2]


def test_a_second_click_is_refused_at_once_and_not_after_the_first_ones_turn(desk: Desk) -> None:
    first, _ = desk.ids()
    with desk.saver.lease("ada-1"):
        desk.record(first, APPROVE, by="Grace")
        with pytest.raises(NothingWaits, match="Grace has answered this already"):
            desk.ada.reject(interrupt_id=first)


def test_a_bad_answer_is_refused_before_it_is_on_record(desk: Desk) -> None:
    first, _ = desk.ids()
    for answer in ({"type": "edit", "edited_action": {"args": {"order_id": "x"}}}, {"type": "ok"}, {}):
        with pytest.raises(BadAnswer, match="the call still waits"):
            list(desk.ada.stream_answer(answer, first))
    assert rows(desk.saver, "SELECT count(*) FROM holdfast_interrupts WHERE answered_at IS NOT NULL") == [(0,)]


def test_a_call_whose_recorded_answer_does_not_fit_any_more_waits_again(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    # As an answer that was recorded when the tool had other arguments: `answer` would refuse it.
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": {"number": 7}}}
    saver.interrupts.settle("ada-1", which, edit)
    with pytest.raises(BadAnswer, match="no argument 'number'"):
        desk.ada.retry()
    assert [call.interrupt_id for call in desk.ada.pending()] == [which]
    desk.ada.approve()
    assert desk.refunded == [1]


# --- time


def test_a_call_without_a_decision_in_time_is_not_run_and_the_model_is_told(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1, expires_in=timedelta(hours=1), decisions=("approve",))
    [which] = desk.ids()
    [asked] = saver.interrupts.waiting()
    assert asked.value["expires_in"] == 3600
    change(saver, "UPDATE holdfast_interrupts SET asked_at = asked_at - 3601, expires_at = expires_at - 3601")
    with pytest.raises(NothingWaits, match="This is closed: no answer had come by"):
        desk.ada.approve(which)
    with pytest.raises(AnsweredBefore, match="no answer had come by"):
        desk.agent.invoke(Command(resume={which: APPROVE}), thread())
    assert saver.interrupts.expire() == ["ada-1"]
    assert desk.ada.retry().text == "done"
    assert desk.refunded == []
    [answer] = desk.answers
    assert answer.text == (
        "Not run: no decision was made within 1 h. Do not make this call again unless the user asks for it."
    )
    assert answer.additional_kwargs["approval"]["decision"] == "expired"


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_approval_that_expires_at_once_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="a person needs some time to decide"):
        needs_approval(expires_in=timedelta(seconds=seconds))


# --- kill -9


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("database", "bare"), [("sqlite", True), pytest.param("postgres", False, marks=pytest.mark.sweep)]
)
def test_an_approved_call_runs_once_after_one_request_although_its_process_is_killed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: str,
    bare: bool,
    monkeypatch: pytest.MonkeyPatch,
    sweep: Sweep,
) -> None:
    """The kill comes before each commit from the answer on. Either the answer is on record, or the call still waits."""
    url = request.getfixturevalue(f"{database}_url")
    monkeypatch.setattr(times, "EFFECT_RENEWAL", 0.02)
    with open_checkpointer(url) as saver:
        for commit in range(sweep(1, 0), 100, sweep(4, 1)):
            name, effects = f"t{commit}", tmp_path / f"{commit}"
            children.refunds(saver, str(effects)).invoke({"messages": [("user", "Refund!")]}, thread(name))
            effects.touch()
            came_to = children.run(children.approve_or_die, url, name, str(effects), bare, commit)
            if came_to != -SIGKILL:
                break
            change(saver, "DELETE FROM holdfast_leases")  # they expire: their holder is dead
            change(saver, "UPDATE holdfast_effects SET alive_until = 0")
            recorded, ran = saver.interrupts.waiting(thread_id=name) == [], effects.read_text()
            talk = Conversation(children.refunds(saver, str(effects)), name)
            assert len(talk.pending()) == (not recorded)
            if not recorded:
                assert ran == ""
                talk.approve()
            elif talk.history()[-1].text != "done":
                talk.retry()
            for doubt in talk.pending():  # recorded as started, and not as done
                assert doubt.kind == "doubt"
                talk.settle("happened" if ran else "run_again")
            assert talk.history()[-1].text == "done"
            [answer] = [message for message in talk.history() if isinstance(message, ToolMessage)]
            assert answer.additional_kwargs["approval"]["by"] == ("Grace" if recorded else None)
            assert effects.read_text() == "run\n"
            assert saver.interrupts.todo() == saver.interrupts.waiting() == []
    assert came_to == "done"
    assert commit > 3


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_answer_to_a_call_of_a_removed_tool_names_the_decision_that_was_not_carried_out(
    saver: HoldfastSaver, asynchronous: bool
) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    saver.interrupts.answer("ada-1", which, APPROVE, by="Grace")
    agent = build_graph(model=ScriptedModel(lines=[says("I see")]), tools=[], checkpointer=saver)
    if asynchronous:
        asyncio.run(agent.ainvoke(None, thread()))
    else:
        agent.invoke(None, thread())
    [answer] = desk.answers
    assert "there is no tool" in answer.text
    assert "Grace had decided about it (approve); that was not carried out." in answer.text
    assert answer.additional_kwargs["approval"]["by"] == "Grace"
    assert desk.refunded == []
    assert saver.interrupts.todo() == []


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("how", ["send", "stream", "asend", "astream"])
async def test_an_answer_that_comes_as_the_conversation_goes_on_is_an_error(saver: HoldfastSaver, how: str) -> None:
    """Another writer's message looked for answers before this one was on record, and holds the thread's lease."""
    desk = Desk(saver, 1)
    desk.ada.send("refund")
    [asked] = desk.ada.pending()
    lease, first = saver.lease, [True]

    def after_another_message(*args: Any, **kwargs: Any) -> Any:
        if first.pop() if first else False:
            desk.agent.invoke({"messages": [HumanMessage("never mind")]}, thread())
        return lease(*args, **kwargs)

    saver.lease = after_another_message  # type: ignore[method-assign]

    async def approve() -> None:
        match how:
            case "send":
                desk.ada.approve(by="grace")
            case "stream":
                list(desk.ada.stream_answer(APPROVE, asked.interrupt_id))
            case "asend":
                await desk.ada.aapprove(by="grace")
            case _:
                [event async for event in desk.ada.astream_answer(APPROVE, asked.interrupt_id)]

    with pytest.raises(NothingWaits, match="before it could be carried out"):
        await approve()
    assert desk.refunded == []
    assert "a person had decided about this call" in desk.ada.history()[2].text


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_answer_that_another_run_carries_out_first_is_not_carried_out_again(
    saver: HoldfastSaver, asynchronous: bool
) -> None:
    desk = Desk(saver, 1)
    desk.ids()
    lease, first = saver.lease, [True]

    def after_another_run(*args: Any, **kwargs: Any) -> Any:
        if first.pop() if first else False:
            desk.agent.invoke(None, thread())
        return lease(*args, **kwargs)

    saver.lease = after_another_run  # type: ignore[method-assign]
    reply = await desk.ada.aapprove() if asynchronous else desk.ada.approve()
    assert (reply.text, reply.pending, desk.refunded) == ("done", [], [1])
    assert len(desk.ada.history()) == 4, "the turn had ended, so the model was not called again"


def test_an_approval_loads_the_thread_for_its_check_its_run_and_its_reply_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = desk.ids()
    loads: list[Any] = []
    load = HoldfastSaver.get_tuple

    def counted(*args: Any) -> Any:
        loads.append(args)
        return load(*args)

    monkeypatch.setattr(HoldfastSaver, "get_tuple", counted)
    desk.ada.approve(first)
    assert len(loads) == 3
    desk.record(second, APPROVE)
    loads.clear()
    assert desk.ada.send("And?").text == "later"
    assert len(loads) == 6, "a look, one for what was not read, two runs, and a look after each"


def test_an_agent_without_the_tool_cannot_approve_its_call_and_leaves_the_request_open(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    [which] = desk.ids()
    other = Conversation(build_graph(model=ScriptedModel(lines=[says("I see")]), tools=[], checkpointer=saver), "ada-1")
    for decide in (other.approve, lambda: other.edit({"order_id": 2})):
        with pytest.raises(BadAnswer, match="has no tool 'refund'"):
            decide()
    assert [asked.interrupt_id for asked in saver.interrupts.waiting()] == [which]
    assert desk.ada.approve().text == "done"


def test_a_refusal_of_a_call_that_has_run_on_another_branch_says_so(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    desk.ids()
    paused = desk.agent.get_state(thread()).config
    desk.ada.approve()
    desk.agent.invoke(None, desk.agent.update_state(paused, {"messages": []}, as_node="model"))
    desk.ada.reject("no")
    assert desk.refunded == [1]
    assert "It had run before that" in desk.answers[-1].text
