"""A tool that changes the world runs once, or a person is asked."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException, tool

from holdfast import Conversation, HoldfastSaver, IdempotencyKey, build_graph, needs_approval, once
from tests.support.cli_kit import Run
from tests.support.graph_kit import ScriptedModel, calls, says

PAY = """
import os, signal
from pathlib import Path
from langchain_core.tools import tool
from holdfast import Conversation, build_graph, once, open_checkpointer
from tests.support.graph_kit import ScriptedModel, calls, says

@once
@tool
def pay(amount: int) -> str:
    "Pay."
    with Path("paid.txt").open("a") as file:
        file.write(f"{amount} EUR ")
    if DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    return "It is paid."

model = ScriptedModel(lines=[calls(("pay", {"amount": 10}))] if DIES else [says("So be it.")])
with open_checkpointer("sqlite:///agent.db") as checkpointer:
    ada = Conversation(build_graph(model=model, tools=[pay], checkpointer=checkpointer), "ada-1")
    reply = ada.send("Pay, please.") if DIES else ada.retry()
    print(*(call.kind for call in reply.pending))
"""

# How long to look whether the holder of an expired effect comes back: 5 s, but in this test.
IMPATIENT = "from holdfast.checkpoints import times; times.EFFECT_RENEWAL = 0.1"


class Bank:
    """An agent with a tool that pays, what it has paid, and under which keys."""

    def __init__(self, checkpointer: HoldfastSaver, behave: Callable[[], Any] = lambda: None, **declared: Any) -> None:
        self.paid: list[int] = []
        self.keys: list[str] = []
        self.behave = behave

        @once(**declared)
        @tool
        def pay(amount: int, key: IdempotencyKey) -> str:
            """Pay."""
            self.paid.append(amount)
            self.keys.append(key)
            self.behave()
            return f"{amount} EUR are paid."

        self.pay = pay
        self.model = ScriptedModel(lines=[calls(("pay", {"amount": 10})), says("So be it."), says("As before.")])
        self.agent = build_graph(model=self.model, tools=[pay], checkpointer=checkpointer)
        self.ada = Conversation(self.agent, "ada-1")

    @property
    def result(self) -> str:
        return [message.text for message in self.ada.history() if isinstance(message, ToolMessage)][-1]


def fail() -> None:
    raise ConnectionError("The bank hung up.")


def test_a_call_whose_process_was_killed_is_in_doubt_and_does_not_run_again(another_process: Run) -> None:
    assert another_process(f"DIES = True\n{PAY}").returncode == -9
    with sqlite3.connect("agent.db") as database:  # what a dead process held is free after 15 s: let them pass
        database.execute("UPDATE holdfast_effects SET alive_until = 0")
        database.execute("UPDATE holdfast_leases SET expires_at = 0")
    database.close()
    resumed = another_process(f"{IMPATIENT}\nDIES = False\n{PAY}")
    assert resumed.stdout == "doubt\n", resumed.stderr
    assert Path("paid.txt").read_text() == "10 EUR "


def test_a_call_that_failed_without_saying_what_was_done_waits_for_a_person(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, fail)
    [call] = bank.ada.send("Pay, please.").pending
    assert (call.kind, call.name, call.args) == ("doubt", "pay", {"amount": 10})
    assert [entry.thread_id for entry in checkpointer.effects.in_doubt()] == ["ada-1"]


@pytest.mark.parametrize(
    ("verdict", "result", "runs"),
    [("happened", "The bank says that it is paid.", 1), ("run_again", "10 EUR are paid.", 2), ("skip", "", 1)],
)
def test_a_person_settles_a_doubt(checkpointer: HoldfastSaver, verdict: Any, result: str, runs: int) -> None:
    bank = Bank(checkpointer, fail)
    bank.ada.send("Pay, please.")
    bank.behave = lambda: None
    given = {"result": result} if verdict == "happened" else {}
    assert bank.ada.settle(verdict, by="Grace", **given).text == "So be it."
    assert result in bank.result
    assert len(bank.paid) == runs
    assert checkpointer.effects.in_doubt() == []


def test_a_tool_that_knows_that_nothing_was_done_raises_a_tool_exception(checkpointer: HoldfastSaver) -> None:
    def refuse() -> None:
        raise ToolException("The account is empty.")

    bank = Bank(checkpointer, refuse)
    reply = bank.ada.send("Pay, please.")
    assert (reply.text, reply.pending) == ("So be it.", [])
    assert "The account is empty." in bank.result


def test_a_call_that_takes_too_long_is_in_doubt(checkpointer: HoldfastSaver) -> None:
    may_end = threading.Event()
    bank = Bank(checkpointer, may_end.wait, timeout=0.05)
    try:
        assert [call.kind for call in bank.ada.send("Pay, please.").pending] == ["doubt"]
    finally:
        may_end.set()


def test_a_call_that_runs_again_has_the_same_key_and_the_model_does_not_see_it(checkpointer: HoldfastSaver) -> None:
    bank = Bank(checkpointer, fail)
    bank.ada.send("Pay, please.")
    bank.behave = lambda: None
    bank.ada.settle("run_again")
    first, again = bank.keys
    assert first == again
    assert "key" not in bank.pay.tool_call_schema.model_json_schema()["properties"]


def test_a_copy_of_a_paused_conversation_cannot_do_the_same_thing_twice_unasked(checkpointer: HoldfastSaver) -> None:
    paid: list[int] = []

    @needs_approval
    @tool
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return f"{amount} EUR are paid."

    model = ScriptedModel(lines=[calls(("pay", {"amount": 10})), says("So be it."), says("As before.")])
    agent = build_graph(model=model, tools=[pay], checkpointer=checkpointer)
    ada = Conversation(agent, "ada-1")
    ada.send("Pay, please.")
    checkpointer.threads.copy("ada-1", "ada-2")

    ada.approve()
    [call] = Conversation(agent, "ada-2").approve().pending
    assert call.kind == "doubt"
    assert paid == [10]
