"""Which answers fit the forms of requests that are known."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from holdfast.checkpoints.interrupts.decisions import decision_word
from holdfast.checkpoints.interrupts.forms import Action, actions_of, answer_problem
from holdfast.checkpoints.interrupts.resume import answers_by_id
from holdfast.checkpoints.interrupts.schema import misfit

BATCH = {
    "action_requests": [
        {"name": "refund", "args": {"order": 1}, "description": "Refund it"},
        {"name": "mail", "args": {}},
    ],
    "review_configs": [
        {"action_name": "refund", "allowed_decisions": ["approve", "edit", "reject", "respond"]},
        {"action_name": "mail", "allowed_decisions": ["approve", "reject"]},
    ],
}
INBOX = {
    "action_request": {"action": "refund", "args": {"order": 1}},
    "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": False},
    "description": "Refund it",
}
SCHEMA = {
    "oneOf": [{"$ref": "#/$defs/Approve"}, {"$ref": "#/$defs/Edit"}],
    "$defs": {
        "Approve": {"type": "object", "properties": {"type": {"const": "approve"}}, "required": ["type"]},
        "Edit": {
            "type": "object",
            "properties": {"type": {"const": "edit"}, "edited_action": {"$ref": "#/$defs/Action"}},
            "required": ["type", "edited_action"],
        },
        "Action": {
            "type": "object",
            "properties": {
                "name": {"const": "refund"},
                "args": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
            },
            "required": ["name", "args"],
        },
    },
}
SINGLE = {"type": "tool_approval", "name": "refund", "args": {"order": 1}, "description": "Refund it"}
EVERY = ("approve", "edit", "reject", "respond")
YES = {"type": "approve"}


def edit(name: str = "refund", **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


@pytest.mark.parametrize(
    ("value", "schema", "actions"),
    [
        (BATCH, None, [Action("refund", {"order": 1}, "Refund it", EVERY), Action("mail", {}, None, EVERY[::2])]),
        (SINGLE, SCHEMA, [Action("refund", {"order": 1}, "Refund it", ("approve", "edit"))]),
        (INBOX, None, [Action("refund", {"order": 1}, "Refund it", ("accept", "edit", "response"))]),
        ([INBOX], None, [Action("refund", {"order": 1}, "Refund it", ("accept", "edit", "response"))]),
        ("Really?", None, []),
        ({"action_requests": "many", "review_configs": []}, None, []),
        ({"type": "tool_approval"}, SCHEMA, []),
        ([], None, []),
        ([INBOX, "other"], None, []),
    ],
)
def test_the_actions_of_a_request_are_known_by_its_form(value: Any, schema: Any, actions: list[Action]) -> None:
    assert actions_of(value, schema) == actions


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (BATCH, {"decisions": [YES, {"type": "reject", "message": "no"}]}),
        (BATCH, {"decisions": [edit(order=2), {"type": "reject"}], "by": "Ada"}),
        (BATCH, {"decisions": ({"type": "respond", "message": "done"}, YES)}),
        (SINGLE, YES),
        (SINGLE, {**YES, "message": None, "by": "Ada"}),
        (SINGLE, edit(order="2")),  # pydantic takes a number that is written as text
        (INBOX, {"type": "accept", "args": None}),
        (INBOX, [{"type": "accept", "args": None}]),
        ([INBOX], [{"type": "edit", "args": {"action": "refund", "args": {"order": 2}}}]),
        ("Really?", ["any", {"thing": 1}]),
    ],
)
def test_an_answer_that_fits_has_no_problem(value: Any, answer: Any) -> None:
    assert answer_problem(value, SCHEMA if value is SINGLE else None, answer) is None


@pytest.mark.parametrize(
    ("value", "answer", "problem"),
    [
        (BATCH, YES, 'needed is {"decisions": [...]}, with 2 decisions, for refund, mail'),
        (BATCH, None, 'needed is {"decisions": [...]}'),
        (BATCH, {"decisions": YES}, 'needed is "decisions" as a list'),
        (BATCH, {"decisions": [YES]}, "needed is 2 decisions, for refund, mail, in their order; found 1"),
        (BATCH, {"decisions": [YES, {"type": "respond", "message": ""}]}, "decision 2: mail can be answered with"),
        (BATCH, {"decisions": [YES, "yes"]}, 'decision 2: a decision is a dict with a "type"'),
        (BATCH, {"decisions": [{"type": "respond"}, YES]}, 'decision 1: a "respond" needs a "message"'),
        (BATCH, {"decisions": [{"type": "reject", "message": 7}, YES]}, 'the "message" of a "reject" is a text'),
        (BATCH, {"decisions": [{"type": "edit"}, YES]}, 'an "edit" needs an "edited_action"'),
        (BATCH, {"decisions": [{"type": "edit", "edited_action": {"name": "x"}}, YES]}, 'a dict of "args"'),
        (SINGLE, "yes", "a decision is a dict with a \"type\", one of 'approve', 'edit'"),
        (SINGLE, {"type": "reject"}, "refund can be answered with 'approve', 'edit'; found 'reject'"),
        (SINGLE, {"type": "edit"}, '"edited_action" is missing'),
        (SINGLE, edit(), '"edited_action.args.order" is missing'),
        (SINGLE, edit(order=[2]), '"edited_action.args.order" is [2]; needed is a integer'),
        (SINGLE, edit(order="two"), "needed is an integer"),
        (SINGLE, edit("mail", order=2), "\"edited_action.name\" is 'mail'; needed is 'refund'"),
        (INBOX, {"type": "ignore"}, "refund can be answered with 'accept', 'edit', 'response'; found 'ignore'"),
        ([INBOX], {"type": "accept"}, "needed is a list of responses, with one decision for refund"),
        ([INBOX], [], "needed is one decision for refund, in their order; found 0"),
        ([INBOX], [{"type": "response"}], 'a "response" has a text as its "args"'),
        ([INBOX], [{"type": "edit", "args": {"order": 2}}], 'an "edit" has the "action"'),
    ],
)
def test_an_answer_that_does_not_fit_has_a_problem(value: Any, answer: Any, problem: str) -> None:
    found = answer_problem(value, SCHEMA if value is SINGLE else None, answer)
    assert found is not None
    assert problem in found


def test_a_request_that_gives_no_schema_takes_any_answer() -> None:
    assert answer_problem(SINGLE, None, "whatever") is None
    assert actions_of(SINGLE)[0].allowed == ()


class Node(BaseModel):
    value: int | None
    kinds: list[float]
    next: Node | None = None


def test_a_schema_with_references_to_itself_is_followed_as_deep_as_the_value_goes() -> None:
    schema = TypeAdapter(Node).json_schema()
    assert misfit(schema, {"value": 1, "kinds": [1, 2.5], "next": {"value": None, "kinds": []}}) is None
    assert misfit(schema, {"value": 1, "kinds": [], "next": {"value": {}, "kinds": []}}) is not None
    assert misfit(schema, {"value": 1, "kinds": 7}) == '"kinds" is 7; needed is a list'
    assert misfit({"$ref": "#"}, {"any": 1}) is None


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (YES, "approve"),
        ({"decisions": [YES, {"type": "reject"}]}, "approve, reject"),
        ([{"type": "accept", "args": None}], "accept"),
        ({"decisions": [YES, 7]}, None),
        ([], None),
        ("yes", None),
    ],
)
def test_a_decision_is_named_by_its_types(answer: Any, word: str | None) -> None:
    assert decision_word(answer) == word


def test_answers_by_id_are_told_from_one_that_names_no_request() -> None:
    assert answers_by_id({"1" * 32: YES}) == {"1" * 32: YES}
    assert answers_by_id(YES) is None
    assert answers_by_id("yes") is None
