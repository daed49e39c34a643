"""A retention policy is read from a file, says which rule decides, and refuses what it cannot use."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from holdfast import RetentionPolicy, RetentionRule
from holdfast.checkpoints.retention.policy import Terms

DAY = 86_400.0

FILE = """
[[rules]]
keep_days = 365
keep_checkpoints = 20

[[rules]]
metadata = { label = "trial" }
keep_days = 7
keep_transcript_days = 90

[[rules]]
metadata = { label = "trial", plan = { name = "gold" } }
keep_checkpoints = "all"

[[rules]]
user_id = "ada"
keep_days = "forever"
keep_pending_days = 0.5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "retention.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("user", "metadata", "terms"),
    [
        ("bob", {}, Terms(365 * DAY, 365 * DAY, math.inf, 20)),
        (None, {"label": "trial", "more": 1}, Terms(7 * DAY, 90 * DAY, math.inf, 20)),
        ("bob", {"label": "trial", "plan": {"name": "gold"}}, Terms(7 * DAY, 90 * DAY, math.inf, None)),
        ("ada", {"label": "trial"}, Terms(math.inf, math.inf, math.inf, 20)),
    ],
)
def test_the_most_specific_rule_decides_each_value_that_it_has(
    tmp_path: Path, user: str | None, metadata: dict[str, Any], terms: Terms
) -> None:
    assert RetentionPolicy.from_file(written(tmp_path, FILE)).terms(user, metadata) == terms


def test_without_a_rule_about_it_a_thread_is_kept() -> None:
    policy = RetentionPolicy([RetentionRule(user_id="ada", keep_days=1, keep_pending_days=3)])
    assert policy.terms("bob", {}) == Terms(math.inf, math.inf, math.inf, None)
    assert policy.terms("ada", {}) == Terms(DAY, DAY, 3 * DAY, None)


def test_of_two_rules_that_are_equally_specific_the_first_one_decides() -> None:
    rules = [RetentionRule(metadata={name: 1}, keep_days=days) for name, days in (("a", 1), ("b", 2))]
    assert RetentionPolicy(rules).terms(None, {"a": 1, "b": 1}).state == DAY
    assert RetentionPolicy(rules[::-1]).terms(None, {"a": 1, "b": 1}).state == 2 * DAY


def test_a_policy_is_frozen_and_two_that_say_the_same_are_equal(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    policy, same = RetentionPolicy.from_file(path), RetentionPolicy.from_file(str(path))
    assert policy == same
    assert hash(policy) == hash(same)
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.rules = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.rules[1].metadata["label"] = "paid"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rules]]\nkeep_day = 3", "Rule 1 has the key 'keep_day'. Allowed: user_id, metadata, keep_days, "),
        ("[[rules]]\nkeep_days = 3\n[[rules]]\nuser_id = 'a'\nkeep_days = -1", "Rule 2: keep_days is -1. Needed: "),
        (
            "[[rules]]\nkeep_days = '30'",
            """keep_days is '30'. Needed: a number of days from 0 to 1,000,000, or "fore""",
        ),
        ("[[rules]]\nkeep_days = true", "keep_days is True. Needed: "),
        ("[[rules]]\nkeep_days = nan", "keep_days is nan. Needed: "),
        ("[[rules]]\nkeep_checkpoints = 0", "keep_checkpoints is 0. Needed: a number of checkpoints from 1 to"),
        (f"[[rules]]\nkeep_checkpoints = {2**63}", f"keep_checkpoints is {2**63}. Needed: a number of checkpoints"),
        ("[[rules]]\nkeep_transcript_days = 9", "The rule for all threads has keep_transcript_days, and no rule says "),
        (
            "[[rules]]\nuser_id = 'a'\nkeep_pending_days = 9\n[[rules]]\nuser_id = 'b'\nkeep_days = 3",
            'The rule for user_id = "a" has keep_pending_days, and no rule says keep_days for these threads',
        ),
        ("[[rules]]\nkeep_days = 9\nkeep_transcript_days = 7", "keep_transcript_days is 7, less than keep_days, which"),
        ("[[rules]]\nuser_id = 7\nkeep_days = 9", "user_id is 7. Needed: the id of a user, as text."),
        ("[[rules]]\nmetadata = 'trial'\nkeep_days = 9", "metadata is 'trial'. Needed: keys with their values, "),
        ("[[rules]]\nmetadata = { on = 2026-01-01 }\nkeep_days = 9", "Needed: values that JSON has"),
        ("[[rules]]\nuser_id = 'ada'", 'The rule for user_id = "ada" says nothing about what to keep. Needed: '),
        (
            "[[rules]]\nkeep_days = 3\n[[rules]]\nkeep_checkpoints = 3",
            "Two rules are for all threads. Needed: one rule",
        ),
        ("[rules]\nkeep_days = 3", "Found rules that are no list of tables. Needed: [[rules]], in two brackets"),
        ("keep_days = 3", "Found 'keep_days' outside of a rule. Needed: only [[rules]]"),
        ("", "A retention policy consists of rules. Needed: a list with at least one RetentionRule."),
        ("[[rules]", "is no TOML: "),
    ],
)
def test_a_file_that_is_no_policy_is_refused_with_its_name_what_was_found_and_what_is_allowed(
    tmp_path: Path, text: str, words: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=f"^The retention policy {re.escape(str(path))} .*{re.escape(words)}"):
        RetentionPolicy.from_file(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"policy .*nowhere\.toml cannot be read: No such file"):
        RetentionPolicy.from_file(tmp_path / "nowhere.toml")
