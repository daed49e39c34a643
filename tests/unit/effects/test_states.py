"""A row of the ledger decides what a caller that wants to run its effect may do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.checkpoints.effects import arguments_digest, effect_key, idempotency_key
from holdfast.checkpoints.effects.states import (
    Effect,
    Ended,
    Entry,
    InDoubt,
    Running,
    classify,
)

EFFECT = Effect("ada-1", "key", "refund", b"args", "", "checkpoint-1")


def entry(**changed: Any) -> Entry:
    same: dict[str, Any] = {
        "lineage": "ada-1",
        "key": "key",
        "thread_id": "ada-1",
        "tool": "refund",
        "args_digest": b"args".hex(),
        "state": "done",
        "attempt": 1,
        "owner": "another",
        "alive_until": datetime.now(UTC),
        "expired": False,
        "why": None,
        "interrupt_id": None,
        "started_at": datetime.now(UTC),
    }
    return Entry(**{**same, **changed})


@pytest.mark.parametrize("state", ["done", "failed", "skipped"])
def test_an_effect_that_has_ended_is_not_run_again(state: str) -> None:
    assert isinstance(classify(entry(state=state), EFFECT), Ended)


@pytest.mark.parametrize("expired", [False, True])
def test_an_effect_that_another_caller_runs_is_waited_for(expired: bool) -> None:
    assert isinstance(classify(entry(state="started", expired=expired), EFFECT), Running)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"state": "in_doubt", "why": "timeout"}, "timeout"),
        ({"state": "in_doubt"}, "owner"),
        ({"args_digest": b"others".hex()}, "arguments"),
        ({"thread_id": "a copy"}, "elsewhere"),
        ({"thread_id": "a copy", "args_digest": b"others".hex()}, "elsewhere"),
        ({"thread_id": "a copy", "state": "skipped"}, "elsewhere"),
    ],
)
def test_a_person_is_asked(found: dict[str, Any], why: str) -> None:
    verdict = classify(entry(**found), EFFECT)
    assert isinstance(verdict, InDoubt)
    assert verdict.why == why


def test_calls_are_told_apart_by_message_and_id() -> None:
    keys = {effect_key(message, call) for message in ("m1", "m2") for call in ("call_0", "call_1")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_arguments_are_the_same_in_any_order_and_nothing_else_is() -> None:
    same = arguments_digest("refund", {"order": 1, "why": "é"})
    assert same == arguments_digest("refund", {"why": "é", "order": 1})
    others = [("refund", {"order": 1}), ("refund", {"order": "1", "why": "é"}), ("mail", {"order": 1, "why": "é"})]
    assert same not in [arguments_digest(*other) for other in others]
    assert same != arguments_digest("refund", {"order": 1, "why": "é"}, key=b"secret")


def test_a_service_is_told_the_same_key_until_the_arguments_change() -> None:
    same = idempotency_key(EFFECT, "ada-1")
    assert same == idempotency_key(EFFECT, "ada-1")
    assert same != idempotency_key(Effect("ada-1", "key", "refund", b"others", "", "checkpoint-1"), "ada-1")
    assert same != idempotency_key(EFFECT, "bob-1")
