"""An approval may wait while people talk: a message is answered, and the call can still be decided."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import NotAnswered
from holdfast.graph import (
    Context,
    Conversation,
    NothingWaits,
    Paused,
    ToolAnswered,
    build_graph,
    needs_approval,
    repeatable,
)
from holdfast.graph.nodes import close_calls
from holdfast.worker import Worker
from tests.support.graph_kit import calls, says
from tests.support.kept_kit import CheckedModel
from tests.support.kit import change, rows, thread

APPROVE = {"type": "approve"}
TALK = (says("I am fine."), says("It is refunded."), says("More."), says("Even more."))


class Desk:
    """An agent whose refunds wait for a person, and may wait while people talk."""

    def __init__(
        self, saver: Any, *lines: AIMessage, repeats: bool = False, context: Context | None = None, **approval: Any
    ) -> None:
        self.refunded: list[int] = []
        self.saver = saver
        self.model = CheckedModel(lines=[calls(("refund", {"order": 1})), *(lines or TALK)])

        @needs_approval(**{"on_message": "keep", **approval})
        @tool
        def refund(order: int) -> str:
            """Refund an order."""
            self.refunded.append(order)
            return f"order {order} refunded"

        def look() -> str:
            """Look."""
            return "seen"

        tools = [repeatable(refund) if repeats else refund, look]
        self.agent = build_graph(model=self.model, tools=tools, checkpointer=saver, context=context)
        self.ada = Conversation(self.agent, "ada-1", "ada")

    def ask(self) -> str:
        [asked] = self.ada.send("Refund order 1").pending
        return asked.interrupt_id

    @property
    def answers(self) -> list[ToolMessage]:
        return [message for message in self.ada.context() if isinstance(message, ToolMessage)]

    def inbox(self) -> list[str]:
        return [request.interrupt_id for request in self.saver.interrupts.waiting()]


@pytest.fixture
def desk(saver: HoldfastSaver) -> Desk:
    return Desk(saver)


def test_a_message_is_answered_while_a_call_waits_and_the_call_runs_when_it_is_approved(desk: Desk) -> None:
    asked = desk.ask()
    reply = desk.ada.send("How are you?")
    assert reply.text == "I am fine."
    assert [request.interrupt_id for request in reply.pending] == [asked] == desk.inbox()
    assert desk.saver.threads.get("ada-1").status == "paused"
    assert desk.refunded == []
    assert "refund(order=1)" in desk.model.seen[-1][0].text, "the model is told what waits"

    done = desk.ada.approve(asked, by="Grace")
    assert (done.text, done.pending, desk.refunded) == ("It is refunded.", [], [1])
    [answer] = desk.answers
    assert answer.text == "order 1 refunded"
    assert answer.additional_kwargs["approval"]["by"] == "Grace"
    assert "order 1 refunded" in desk.model.seen[-1][-1].text, "the model is told what became of it"
    assert desk.inbox() == desk.saver.interrupts.todo() == []
    assert desk.saver.threads.get("ada-1").status == "idle"

    assert [message.type for message in desk.ada.history()] == ["human", "ai", "tool", "human", "ai", "ai"]
    desk.ada.send("And?")
    assert "refund(order=1)" not in desk.model.seen[-1][0].text, "it is told once"


def test_the_note_to_the_model_is_not_stored(desk: Desk) -> None:
    asked = desk.ask()
    desk.ada.send("How are you?")
    desk.ada.approve(asked)
    entries = [entry for entry in desk.ada.transcript() if entry.kind == "message"]
    assert [entry.text for entry in entries if entry.role == "human"] == ["Refund order 1", "How are you?"]
    assert [entry.role for entry in entries] == ["human", "ai", "human", "tool", "ai", "tool", "ai"]
    assert [entry.replaced for entry in entries if entry.role == "tool"] == [True, False]


@pytest.mark.sweep
async def test_on_an_event_loop_it_is_the_same(desk: Desk) -> None:
    [asked] = (await desk.ada.asend("Refund order 1")).pending
    seen = [event async for event in desk.ada.astream("How are you?")]
    [paused] = [event.pending for event in seen if isinstance(event, Paused)]
    assert paused.interrupt_id == asked.interrupt_id
    assert not [event for event in seen if isinstance(event, ToolAnswered)]
    events = [event async for event in desk.ada.astream_answer(APPROVE, asked.interrupt_id)]
    [answered] = [event for event in events if isinstance(event, ToolAnswered)]
    assert answered.text == "order 1 refunded"
    assert desk.refunded == [1]


@pytest.mark.sweep
def test_it_waits_through_several_messages_and_calls_of_other_tools(saver: HoldfastSaver) -> None:
    desk = Desk(saver, calls(("look", {}), ids=["look-1"]), says("I have looked."), says("Yes."), says("Refunded."))
    asked = desk.ask()
    assert desk.ada.send("Look!").text == "I have looked."
    assert desk.ada.send("Are you there?").text == "Yes."
    assert desk.inbox() == [asked]
    assert desk.ada.approve(asked).text == "Refunded."
    assert desk.refunded == [1]


def test_two_calls_wait_together_and_each_is_decided_by_itself(saver: HoldfastSaver) -> None:
    desk = Desk(saver, calls(("refund", {"order": 2}), ids=["again"]), says("Both are decided."), says("Yes."))
    first = desk.ask()
    [second] = [request for request in desk.ada.send("And order 2").pending if request.interrupt_id != first]
    assert sorted(desk.inbox()) == sorted([first, second.interrupt_id])
    assert [left.interrupt_id for left in desk.ada.approve(first).pending] == [second.interrupt_id]
    assert desk.refunded == [1]
    assert desk.ada.reject("No.", second.interrupt_id).text == "Both are decided."
    assert (desk.refunded, desk.inbox()) == ([1], [])
    assert "No." in desk.answers[1].text


@pytest.mark.sweep
def test_calls_of_two_messages_with_one_id_are_not_taken_for_each_other(saver: HoldfastSaver) -> None:
    desk = Desk(saver, calls(("refund", {"order": 2})), says("One is decided."), says("Both are."))
    first = desk.ask()
    [second] = [request for request in desk.ada.send("And order 2").pending if request.interrupt_id != first]
    assert {call.tool_call_id for call in desk.ada.pending()} == {"call_0"}
    desk.ada.approve(first)
    assert desk.ada.send("How are you?").text == "One is decided."
    assert [answer.text for answer in desk.answers if "Not run yet" not in answer.text] == ["order 1 refunded"]
    assert desk.inbox() == [second.interrupt_id]
    assert desk.ada.approve().text == "Both are."
    assert (desk.refunded, [answer.text[:7] for answer in desk.answers]) == ([1, 2], ["order 1", "order 2"])


@pytest.mark.sweep
def test_the_model_may_go_on_with_another_call_when_it_is_told(saver: HoldfastSaver) -> None:
    desk = Desk(saver, says("I am fine."), calls(("look", {}), ids=["look-1"]), says("Seen."), says("Yes."))
    desk.ask()
    desk.ada.send("How are you?")
    assert desk.ada.approve().text == "Seen."
    desk.ada.send("Really?")
    kinds = [message.type for message in desk.model.seen[-1]]
    assert ("ai", "ai") not in pairwise(kinds), "no call is behind the model's own words"
    assert sum("A person has decided" in message.text for message in desk.model.seen[-1]) == 1


def test_a_turn_that_fails_leaves_the_request_open_and_retry_goes_on(desk: Desk) -> None:
    asked, lines = desk.ask(), desk.model.lines
    desk.model.lines = lines[:1]
    with pytest.raises(IndexError):
        desk.ada.send("How are you?")
    assert [request.interrupt_id for request in desk.ada.pending()] == desk.inbox() == [asked]
    desk.model.lines = lines
    assert desk.ada.approve(asked).text == "It is refunded."
    assert desk.ada.history()[-2].text == "I am fine."


@pytest.mark.sweep
def test_a_call_whose_tool_is_gone_is_closed_when_the_turn_ends(desk: Desk) -> None:
    desk.ask()
    desk.ada.send("How are you?")
    model = CheckedModel(lines=[says("I am still fine."), says("It is gone."), says("Yes.")])
    ada = Conversation(build_graph(model=model, tools=[], checkpointer=desk.saver), "ada-1", "ada")
    assert ada.send("And now?", pending="keep").text == "It is gone."
    assert "there is no tool" in desk.answers[0].text
    assert desk.inbox() == ada.pending() == []


@pytest.mark.sweep
@pytest.mark.parametrize("mode", ["trim", "summarise"])
def test_a_call_that_waits_does_not_leave_the_state(saver: HoldfastSaver, mode: Any) -> None:
    desk = Desk(saver, *(says(f"{number} " * 40) for number in range(12)), context=Context(mode, budget=60))
    asked = desk.ask()
    for number in range(3):
        desk.ada.send(f"Question {number}?")
    assert len(desk.answers) == 1
    assert "refund(order=1)" in desk.model.seen[-1][0].text
    desk.ada.approve(asked)
    assert desk.refunded == [1]
    assert "order 1 refunded" in desk.model.seen[-1][-1].text


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("way", ["send", "bare"])
def test_a_message_closes_what_waits_if_it_or_the_tool_says_so(saver: HoldfastSaver, way: str) -> None:
    desk = Desk(saver, on_message="keep" if way == "send" else "close")
    asked = desk.ask()
    if way == "send":
        desk.ada.send("How are you?")
        desk.ada.send("Never mind.", pending="close")
    else:
        desk.agent.invoke({"messages": [("user", "Never mind.")]}, thread())
    assert "Not run" in desk.answers[0].text
    assert desk.inbox() == desk.ada.pending() == []
    with pytest.raises(NothingWaits):
        desk.ada.approve(asked)
    with pytest.raises(NotAnswered):
        saver.interrupts.answer("ada-1", asked, APPROVE)
    assert desk.refunded == []


def test_a_message_that_closes_what_waits_does_so_although_its_turn_is_cut_off(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(saver)
    asked = desk.ask()

    def die(*_: Any) -> Any:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(close_calls, "without_gaps", die)  # the step has noted what becomes of the requests
        with pytest.raises(OSError, match="disk"):
            desk.ada.send("Never mind.", pending="close")
    assert desk.ada.retry().pending == desk.inbox() == []
    assert "Not run:" in desk.answers[0].text
    with pytest.raises(NothingWaits):
        desk.ada.approve(asked)


def test_a_message_keeps_what_waits_if_it_says_so_although_the_tool_does_not(saver: HoldfastSaver) -> None:
    desk = Desk(saver, on_message="close")
    asked = desk.ask()
    assert desk.ada.send("How are you?", pending="keep").text == "I am fine."
    assert desk.ada.approve(asked).text == "It is refunded."
    assert desk.refunded == [1]


def test_a_graph_that_is_run_without_a_conversation_keeps_what_its_tools_say(desk: Desk) -> None:
    asked, config = desk.ask(), thread()
    desk.agent.invoke({"messages": [("user", "How are you?")]}, config)
    assert desk.inbox() == [asked]
    state = desk.agent.invoke(Command(resume={asked: APPROVE}), config)
    assert (state["messages"][-1].text, desk.refunded) == ("It is refunded.", [1])
    assert desk.saver.interrupts.todo() == []


def test_a_second_answer_is_told_who_was_first(desk: Desk) -> None:
    asked = desk.ask()
    desk.ada.send("How are you?")
    desk.ada.reject("No.", by="Grace")
    with pytest.raises(NothingWaits, match="Grace"):
        desk.ada.approve(asked, by="Eve")
    assert desk.refunded == []


@pytest.mark.sweep
def test_an_answer_that_comes_while_the_model_speaks_is_carried_out_in_the_same_turn(desk: Desk) -> None:
    asked, lines = desk.ask(), desk.model.lines
    decided: list[Any] = []
    seen: list[list[str]] = []

    def line(messages: list[BaseMessage]) -> AIMessage:
        if not decided:
            seen.append([request.interrupt_id for request in desk.ada.pending()])
            seen.append(desk.inbox())
            decided.append(desk.saver.interrupts.answer("ada-1", asked, APPROVE, by="Grace"))
        return lines[len(decided) + len(desk.refunded)]

    desk.model.__dict__["line"] = line
    assert desk.ada.send("How are you?").text == "It is refunded."
    assert seen == [[asked], [asked]]
    assert (desk.refunded, desk.saver.interrupts.todo(), desk.inbox()) == ([1], [], [])


def test_a_request_that_is_kept_expires_when_it_would_have(saver: HoldfastSaver) -> None:
    desk = Desk(saver, expires_in=timedelta(hours=1))
    asked = desk.ask()
    [(at,)] = rows(saver, "SELECT expires_at FROM holdfast_interrupts")
    desk.ada.send("How are you?")
    assert rows(saver, "SELECT expires_at FROM holdfast_interrupts") == [(at,)]
    change(saver, "UPDATE holdfast_interrupts SET expires_at = 1")
    assert Worker(desk.agent).run_once().carried_out == ["ada-1"]
    assert "no decision was made" in desk.answers[0].text
    with pytest.raises(NothingWaits):
        desk.ada.approve(asked)
    assert desk.refunded == []


def test_an_undo_takes_the_message_back_and_the_call_is_asked_about_again(desk: Desk) -> None:
    asked = desk.ask()
    desk.ada.send("How are you?")
    desk.ada.undo()
    assert desk.inbox() == []
    with pytest.raises(NotAnswered):
        desk.saver.interrupts.answer("ada-1", asked, APPROVE)
    [again] = desk.ada.retry().pending
    assert desk.ada.approve(again.interrupt_id).text == "It is refunded."
    assert desk.refunded == [1]
    desk.ada.undo()
    assert (desk.ada.history(), desk.inbox()) == ([], [])


@pytest.mark.sweep
@pytest.mark.parametrize("how", ["undo", "restart"])
def test_in_the_middle_of_a_turn_an_undo_or_a_restart_closes_what_was_kept(desk: Desk, how: str) -> None:
    asked, desk.model.lines = desk.ask(), desk.model.lines[:1]
    with pytest.raises(IndexError):
        desk.ada.send("How are you?")
    assert desk.inbox() == [asked]
    getattr(desk.ada, how)()
    assert desk.inbox() == desk.ada.pending() == []
    with pytest.raises(NotAnswered):
        desk.saver.interrupts.answer("ada-1", asked, APPROVE)


def test_a_copy_of_a_thread_asks_about_the_kept_call_for_itself(desk: Desk) -> None:
    desk.ask()
    desk.ada.send("How are you?")
    copy = desk.ada.fork("ada-2")
    [asked] = copy.pending()
    copy.reject("Not here.", asked.interrupt_id)
    assert desk.ada.approve().text
    assert desk.refunded == [1]


@pytest.mark.sweep
@pytest.mark.parametrize("decision", ["edit", "respond"])
def test_a_kept_call_is_edited_or_answered_like_any_other(desk: Desk, decision: str) -> None:
    desk.ask()
    desk.ada.send("How are you?")
    assert (desk.ada.edit({"order": 3}) if decision == "edit" else desk.ada.respond("By hand.")).text
    assert desk.refunded == ([3] if decision == "edit" else [])
    assert ("order 3 refunded" if decision == "edit" else "By hand.") in desk.answers[0].text


def test_a_tool_that_is_safe_to_repeat_takes_the_place_of_the_waiting_answer_as_well(saver: HoldfastSaver) -> None:
    desk = Desk(saver, repeats=True)
    desk.ask()
    desk.ada.send("How are you?")
    desk.ada.approve()
    assert [answer.text for answer in desk.answers] == ["order 1 refunded"]


def test_over_another_checkpointer_the_request_comes_back_when_the_turn_ends() -> None:
    desk = Desk(InMemorySaver())
    desk.ask()
    [asked] = desk.ada.send("How are you?").pending
    assert desk.ada.approve(asked.interrupt_id).text == "It is refunded."
    assert desk.refunded == [1]
    with pytest.raises(TypeError, match="checkpointer"):
        desk.ada.send("And?", pending="keep")


def test_an_unknown_word_is_refused_before_anything_is_saved(desk: Desk) -> None:
    with pytest.raises(ValueError, match=r"pending is 'hold'\. Needed: 'keep', 'close'"):
        desk.ada.send("Hello", pending="hold")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'keep' or 'close'"):
        needs_approval(on_message="hold")  # type: ignore[call-overload]
    assert desk.ada.history() == []
