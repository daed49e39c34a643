"""Requests of every form look the same to an application, and a decision becomes the answer that the form takes."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.checkpoints.interrupts.forms import answer_problem
from holdfast.graph import BadAnswer, Pending
from holdfast.graph.conversation.requests import answer_to, pending_request

INBOX = {
    "action_request": {"action": "refund", "args": {"order": 1}},
    "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
    "description": "Refund order 1",
}
BATCH = {
    "action_requests": [{"name": "refund", "args": {"order": order}} for order in (1, 2)],
    "review_configs": [{"action_name": "refund", "allowed_decisions": ["approve", "edit", "reject", "respond"]}],
}
APPROVE = {"type": "approve"}
EDIT = {"type": "edit", "edited_action": {"args": {"order": 9}}}
REJECT = {"type": "reject", "message": None}


def asked(value: Any) -> Pending:
    return pending_request("3f9a", value, None, None)


@pytest.mark.parametrize("value", [INBOX, [INBOX]], ids=["one", "list"])
@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (APPROVE, {"type": "accept", "args": None}),
        (EDIT, {"type": "edit", "args": {"action": "refund", "args": {"order": 9}}}),
        (REJECT, {"type": "ignore", "args": None}),
        ({"type": "respond", "message": "by hand"}, {"type": "response", "args": "by hand"}),
        ({"type": "accept"}, {"type": "accept"}),
    ],
)
def test_a_decision_is_said_in_the_words_of_agent_inbox(value: Any, decision: Any, answer: Any) -> None:
    request = asked(value)
    assert (request.kind, request.name, request.description) == ("approval", "refund", "Refund order 1")
    assert answer_to(request, decision) == [answer]
    assert answer_problem(value, None, [answer]) is None


def test_one_decision_is_for_all_calls_of_a_request_and_a_list_has_one_for_each() -> None:
    request = asked(BATCH)
    assert (request.name, request.args) == ("refund, refund", {})
    assert answer_to(request, APPROVE) == {"decisions": [APPROVE, APPROVE]}
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": {"order": 9}}}
    for given in ([EDIT, REJECT], {"decisions": [EDIT, REJECT]}):
        assert answer_to(request, given) == {"decisions": [edit, {"type": "reject"}]}


@pytest.mark.parametrize("decision", [EDIT, {"type": "respond", "message": "no"}])
def test_a_decision_that_fits_one_call_is_refused_for_several(decision: Any) -> None:
    with pytest.raises(BadAnswer, match=r"about 2 calls \(refund, refund\)"):
        answer_to(asked(BATCH), decision)


@pytest.mark.parametrize("answer", ["yes", 3, None, [APPROVE], {"decisions": []}, {"decisions": ["yes", "no"]}])
def test_what_is_no_decision_is_left_as_it_is(answer: Any) -> None:
    assert answer_to(asked(BATCH), answer) == answer


@pytest.mark.parametrize(
    ("value", "text"),
    [("Your name?", "Your name?"), ({"question": "Which?", "of": [1]}, "Which?"), ({"a": 1}, '{"a": 1}'), (7, "7")],
)
def test_a_question_is_shown_by_its_text(value: Any, text: str) -> None:
    request = asked(value)
    assert (request.kind, request.description, request.value, request.actions) == ("question", text, value, ())
    assert answer_to(request, APPROVE) == APPROVE
