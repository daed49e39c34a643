"""Every decision about a call has its place in the terminal, the commands, the programs and the record."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer

from holdfast import Conversation
from holdfast.checkpoints.interrupts.decisions import label_of
from holdfast.cli.approvals import app, calls
from holdfast.cli.chat import prompts
from holdfast.cli.output.screen import Screen
from holdfast.graph import Pending
from holdfast.graph.approvals.decisions import DECISIONS, Answer
from holdfast.graph.conversation.requests import pending_request
from holdfast.graph.tools.settle import VERDICT_FORM

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_each_decision_is_the_type_of_an_answer() -> None:
    assert {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(Answer)} == set(DECISIONS)


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_program_can_give_the_decision_with_and_without_an_event_loop(decision: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Conversation, f"a{decision}"))
    assert callable(getattr(Conversation, decision))


def request(*allowed: str, type_: str = "tool_approval") -> Pending:
    """A request in the form of Holdfast's own, with some decisions allowed."""
    schema = {"oneOf": [{"properties": {"type": {"const": word}}} for word in allowed]}
    value = {"type": type_, "name": "refund_order", "args": {"order_id": 1001}, "tool_call_id": "call-1"}
    return pending_request("3f9a", value, schema, None)


REQUESTS = [
    request(*DECISIONS),
    request(*VERDICT_FORM.decisions, type_="effect_in_doubt"),
    pending_request("3f9a", "Your name?", None, None),
]


@pytest.mark.parametrize("asked", REQUESTS, ids=["approval", "doubt", "question"])
def test_the_commands_shown_for_a_request_exist_and_have_the_options_shown(asked: Pending) -> None:
    for name, shown in calls.commands_for(asked):
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in shown.split() if word.startswith("--")} <= options


@pytest.mark.parametrize("asked", REQUESTS, ids=["approval", "doubt", "question"])
def test_the_commands_shown_for_a_request_name_every_option_that_they_need(asked: Pending) -> None:
    for name, shown in calls.commands_for(asked):
        needed = [parameter.opts[0] for parameter in COMMANDS[name].params if parameter.required]
        assert all(option in shown.split() for option in needed)


def test_a_call_shows_a_command_for_each_decision() -> None:
    assert [name for name, _ in calls.commands_for(request(*DECISIONS))] == list(DECISIONS)


def test_only_the_decisions_that_are_allowed_are_shown() -> None:
    assert [name for name, _ in calls.commands_for(request("approve", "reject"))] == ["approve", "reject"]


def test_each_decision_has_a_letter_in_the_prompt() -> None:
    assert set(prompts._DECISION_LETTERS.values()) == {*DECISIONS, "later"}
    assert all(f"[{letter}]" in prompts._DECISION_WORDS[word] for letter, word in prompts._DECISION_LETTERS.items())


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_prompt_makes_an_answer_of_each_decision(decision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: Iterator[str] = iter([decision, '{"order_id": 1002}'])
    monkeypatch.setattr(prompts, "read_line", lambda *_: next(lines))
    answer: Any
    answer, _ = prompts.ask_answer(request(*DECISIONS), Screen(), "")
    assert answer["type"] == decision


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_record_names_each_decision_for_people(decision: str) -> None:
    assert not label_of(decision).startswith("Decided:")
