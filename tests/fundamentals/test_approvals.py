"""A tool call waits for a person: for as long as it takes, in any process, and it is answered once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from holdfast import Conversation, HoldfastSaver, build_graph, needs_approval
from holdfast.errors import AlreadyAnswered, BadAnswer, NothingWaits
from tests.support.cli_kit import Run
from tests.support.graph_kit import ScriptedModel, calls, says

ASK_AND_DIE = """
import os, signal
from holdfast import Conversation, build_graph, open_checkpointer

with open_checkpointer("sqlite:///agent.db") as checkpointer:
    Conversation(build_graph(checkpointer=checkpointer), "ada-1").send("My name is Ada. Please refund order 1001.")
    os.kill(os.getpid(), signal.SIGKILL)
"""

APPROVE = """
from holdfast import Conversation, build_graph, open_checkpointer

with open_checkpointer("sqlite:///agent.db") as checkpointer:
    ada = Conversation(build_graph(checkpointer=checkpointer), "ada-1")
    for call in ada.pending():
        print(call.description, ada.approve(call.interrupt_id, by="Grace").text, sep=": ")
"""


class Bank:
    """An agent that pays when a person agrees, and the amounts that it has paid."""

    def __init__(self, checkpointer: HoldfastSaver, *amounts: int, **approval: Any) -> None:
        self.paid: list[int] = []

        @needs_approval(description="Pay {amount} EUR", **approval)
        @tool
        def pay(amount: int) -> str:
            """Pay."""
            self.paid.append(amount)
            return f"{amount} EUR are paid."

        model = ScriptedModel(
            lines=[calls(*(("pay", {"amount": amount}) for amount in amounts)), says("So be it."), says("It is paid.")]
        )
        self.ada = Conversation(build_graph(model=model, tools=[pay], checkpointer=checkpointer), "ada-1", "ada")
        self.waiting = self.ada.send("Pay, please.").pending

    @property
    def results(self) -> list[ToolMessage]:
        return [message for message in self.ada.history() if isinstance(message, ToolMessage)]


def test_a_call_outlives_its_process_and_is_approved_in_another(another_process: Run) -> None:
    assert another_process(ASK_AND_DIE).returncode == -9
    assert another_process(APPROVE).stdout == (
        "Refund order 1001 in full: Order 1001 is refunded: 49.00 EUR go back to Ada.\n"
    )
    assert another_process(APPROVE).stdout == ""


def test_a_call_may_wait_while_people_talk_and_runs_when_it_is_approved(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10, on_message="keep")
    reply = bank.ada.send("Are you there?")
    assert (reply.text, [request.name for request in reply.pending]) == ("So be it.", ["pay"])
    assert bank.ada.approve(bank.waiting[0].interrupt_id).text == "It is paid."
    assert (bank.paid, bank.ada.pending()) == ([10], [])


def test_nothing_runs_before_a_person_agrees_and_the_record_says_who_did(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10)
    assert bank.paid == []
    assert bank.ada.approve(by="Grace").text == "So be it."
    assert bank.paid == [10]
    [result] = bank.results
    assert result.text == "10 EUR are paid."
    assert (result.additional_kwargs["approval"]["decision"], result.additional_kwargs["approval"]["by"]) == (
        "approve",
        "Grace",
    )


def test_a_person_may_edit_reject_or_respond_instead(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10, 20, 30)
    first, second, third = bank.waiting
    bank.ada.edit({"amount": 1}, first.interrupt_id)
    bank.ada.reject("Too much.", second.interrupt_id)
    bank.ada.respond("I have paid that myself.", third.interrupt_id)
    assert bank.paid == [1]
    edited, rejected, responded = bank.results
    assert "1 EUR are paid." in edited.text
    assert "Too much." in rejected.text
    assert responded.text == "I have paid that myself."


def test_several_calls_are_answered_one_by_one_in_any_order(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10, 20)
    first, second = bank.waiting
    assert [call.args for call in bank.ada.approve(second.interrupt_id).pending] == [{"amount": 10}]
    bank.ada.approve(first.interrupt_id)
    assert sorted(bank.paid) == [10, 20]


def test_a_bad_answer_is_an_error_and_the_call_still_waits(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10)
    with pytest.raises(BadAnswer, match="amount"):
        bank.ada.edit({"amount": "a lot"})
    assert [call.args for call in bank.ada.pending()] == [{"amount": 10}]


def test_the_first_answer_counts_and_every_other_caller_is_told_who_was_first(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10)
    [call] = bank.waiting
    bank.ada.reject(interrupt_id=call.interrupt_id, by="Grace")
    with pytest.raises(NothingWaits, match="Grace has answered this already with 'reject'"):
        bank.ada.approve(call.interrupt_id, by="Alan")
    assert bank.paid == []


def test_one_query_finds_what_waits_in_any_thread(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10)
    [request] = checkpointer.interrupts.waiting(limit=10)
    assert (request.thread_id, request.user_id) == ("ada-1", "ada")
    assert request.interrupt_id == bank.waiting[0].interrupt_id


def test_a_recorded_answer_is_carried_out_by_the_next_message(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10)
    [call] = bank.waiting
    checkpointer.interrupts.answer("ada-1", call.interrupt_id, {"type": "approve"}, by="Grace")
    with pytest.raises(AlreadyAnswered, match="Grace"):
        checkpointer.interrupts.answer("ada-1", call.interrupt_id, {"type": "reject"}, by="Alan")
    assert [answer.interrupt_id for answer in checkpointer.interrupts.todo()] == [call.interrupt_id]
    bank.ada.retry()
    assert bank.paid == [10]
    assert checkpointer.interrupts.todo() == []


def test_a_call_that_has_expired_is_not_run_and_the_model_is_told(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, 10, expires_in=timedelta(milliseconds=1))
    while not checkpointer.interrupts.expire():  # the clock of the database counts whole milliseconds
        pass
    with pytest.raises(NothingWaits):
        bank.ada.approve(bank.waiting[0].interrupt_id)
    assert bank.ada.retry().text == "So be it."
    assert bank.paid == []
    assert "no decision was made" in bank.results[0].text
