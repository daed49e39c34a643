"""Every decision about a call has its place in the terminal, the commands, the programs and the record."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest
import typer

from holdfast import Conversation
from holdfast.checkpoints.interrupts.decisions import label_of
from holdfast.cli.approvals import app, calls
from holdfast.cli.chat import prompts
from holdfast.cli.chat.prompts import Prompts
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


class Typed:
    """A person who types these lines."""

    def __init__(self, *lines: str) -> None:
        self._lines = iter(lines)

    def choice(self, prompt: str) -> str:
        return next(self._lines)

    def answer(self, prompt: str, begin: str = "") -> str:
        return next(self._lines)


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
def test_the_prompt_makes_an_answer_of_each_decision(decision: str) -> None:
    answer, _ = Prompts(Typed(decision, '{"order_id": 1002}'), Screen()).ask_answer(request(*DECISIONS), "")
    assert answer["type"] == decision


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_record_names_each_decision_for_people(decision: str) -> None:
    assert not label_of(decision).startswith("Decided:")


@pytest.mark.parametrize("typed", ["a", "A", "y", "yes", "ok", "approve", "maybe"])
def test_the_prompt_understands_yes(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer, _ = Prompts(Typed(typed, "y"), Screen()).ask_answer(request(*DECISIONS), "")
    assert answer == {"type": "approve"}
    assert ("'maybe' is none of these: approve, edit" in capsys.readouterr().out) == (typed == "maybe")


def test_yes_is_no_answer_where_a_call_may_not_be_approved() -> None:
    answer, _ = Prompts(Typed("y", "l"), Screen()).ask_answer(request("reject"), "")
    assert answer is None


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ('{"order_id": 1001', "a comma or a closing bracket is missing, after '{\"order_id\": 1001'"),
        ("{order_id: 1001}", "a name in double quotes is missing, after '{'"),
        ('{"order_id": blue}', "a value is missing, or a text is not in double quotes, after '{\"order_id\": '"),
        ('{"order_id": 1}}', "there is more behind the closing bracket"),
        ('{"reason": "no', "a closing quote is missing"),
        ("[1002]", "this is not an object"),
    ],
)
def test_arguments_that_are_no_json_are_explained_without_the_words_of_a_parser(
    typed: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, _ = Prompts(Typed("e", typed, "", "l"), Screen()).ask_answer(request(*DECISIONS), "")
    assert answer is None
    assert f"The arguments cannot be used: {why}" in capsys.readouterr().out
