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

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_each_decision_is_the_type_of_an_answer() -> None:
    assert {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(Answer)} == set(DECISIONS)


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_program_can_give_the_decision_with_and_without_an_event_loop(decision: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Conversation, f"a{decision}"))
    assert callable(getattr(Conversation, decision))


@pytest.mark.parametrize("kind", ["approval", "doubt"])
def test_the_commands_shown_for_a_call_exist_and_have_the_options_shown(kind: str) -> None:
    for name, shown in calls._COMMANDS[kind]:
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in shown.split() if word.startswith("--")} <= options


@pytest.mark.parametrize("kind", ["approval", "doubt"])
def test_the_commands_shown_for_a_call_name_every_option_that_they_need(kind: str) -> None:
    for name, shown in calls._COMMANDS[kind]:
        needed = [parameter.opts[0] for parameter in COMMANDS[name].params if parameter.required]
        assert all(option in shown.split() for option in needed)


def test_a_call_shows_a_command_for_each_decision() -> None:
    assert [name for name, _ in calls._COMMANDS["approval"]] == list(DECISIONS)


def test_each_decision_has_a_letter_in_the_prompt() -> None:
    assert set(prompts._DECISION_LETTERS.values()) == {*DECISIONS, "later"}
    assert all(f"[{letter}]" in prompts._DECISION_PROMPT for letter in prompts._DECISION_LETTERS)


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_prompt_makes_an_answer_of_each_decision(decision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: Iterator[str] = iter([decision, '{"order_id": 1002}'])
    monkeypatch.setattr(prompts, "read_line", lambda *_: next(lines))
    pending = Pending("3f9a", "call-1", "refund_order", {"order_id": 1001}, "Refund order 1001", None)
    answer: Any
    answer, _ = prompts.ask_decision(pending, Screen(labelled=False), "")
    assert answer["type"] == decision


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_record_names_each_decision_for_people(decision: str) -> None:
    assert not label_of(decision).startswith("Decided:")
