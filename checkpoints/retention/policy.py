"""Retention policies: how long threads, their checkpoints and their transcripts are kept. No I/O but a policy file."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from holdfast.checkpoints.serde.jsonb import contains

Days: TypeAlias = float | Literal["forever"]
"""A time in days, such as 30 or 0.5; `"forever"` for no limit."""

FOREVER: Final = "forever"
ALL: Final = "all"

_LIMITS: Final = ("keep_days", "keep_transcript_days", "keep_pending_days")
_BESIDE: Final = ("keep_transcript_days", "keep_pending_days")  # these add to keep_days
_ALL_THREADS: Final = "for all threads"
_LONGEST_DAYS: Final = 1_000_000  # 2,700 years
_MOST_CHECKPOINTS: Final = 1_000_000_000
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """How long the threads of a user, or with some metadata, are kept; without either, all threads.

    What a rule leaves out, less specific rules decide. Ages are counted from when a thread was written last.

    Raises:
        ValueError: a value cannot be used. The message names it, and what is allowed.
    """

    user_id: str | None = None
    """Only threads of this user."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Only threads that have these metadata, such as `{"label": "trial"}`."""
    keep_days: Days | None = None
    """The maximum age of a thread. Older ones are deleted."""
    keep_transcript_days: Days | None = None
    """The maximum age of a transcript, if it is kept for longer than the thread's state. Without it, a thread is
    deleted with its transcript."""
    keep_pending_days: Days | None = None
    """The maximum age of a thread that is pending: it waits for a person, has a call in doubt, an answer that is not
    carried out, or an unfinished run. Without it, such a thread is kept for as long as it is pending."""
    keep_checkpoints: int | Literal["all"] | None = None
    """The number of newest checkpoints to keep of a thread. See `compact_thread` for what is kept besides."""

    def __post_init__(self) -> None:
        _check_user(self.user_id)
        _check_metadata(self.metadata)
        for name in _LIMITS:
            _check_days(name, getattr(self, name))
        _check_count(self.keep_checkpoints)
        if all(getattr(self, name) is None for name in (*_LIMITS, "keep_checkpoints")):
            raise ValueError(
                f"The rule {self} says nothing about what to keep. Needed: at least one of {', '.join(_LIMITS)} and "
                "keep_checkpoints."
            )
        state, transcript = self.keep_days, self.keep_transcript_days
        if state is not None and transcript is not None and _seconds(transcript) < _seconds(state):
            raise ValueError(
                f"keep_transcript_days is {transcript!r}, less than keep_days, which is {state!r}. A thread's state "
                "consists of its transcript. Needed: at least as many days, or no keep_transcript_days."
            )
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def __str__(self) -> str:
        chosen = [f"user_id = {json.dumps(self.user_id)}"] if self.user_id is not None else []
        chosen += [f"metadata = {json.dumps(dict(self.metadata))}"] if self.metadata else []
        return f"for {', '.join(chosen)}" if chosen else _ALL_THREADS

    def __hash__(self) -> int:
        return hash((self.user_id, _text(self.metadata), *(getattr(self, name) for name in _LIMITS)))

    @property
    def specificity(self) -> tuple[bool, int]:
        """How specific the rule is: one for a user is more so than any without, and then the number of metadata."""
        return self.user_id is not None, len(self.metadata)

    def matches(self, user_id: str | None, metadata: Mapping[str, Any]) -> bool:
        """Return whether the rule is about a thread of this user with these metadata."""
        return (self.user_id is None or self.user_id == user_id) and contains(metadata, dict(self.metadata))


class Terms(NamedTuple):
    """What a policy says of one thread. Times are in seconds; infinite for no limit."""

    state: float
    """The maximum age of its state."""
    transcript: float
    """The maximum age of its transcript, which is at least that of its state."""
    pending: float
    """The maximum age if it is pending."""
    checkpoints: int | None
    """The number of checkpoints to keep; `None` for all of them."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Rules for how long threads are kept. Of the rules about a thread, the most specific one decides.

    That is decided for each value by itself: what a rule leaves out is taken from the next less specific one. A rule
    for a user is more specific than one for metadata, and more metadata are more specific than fewer; of two that are
    equal in this, the first one in the list decides. Without a rule, everything is kept.

        RetentionPolicy([
            RetentionRule(keep_days=365, keep_checkpoints=20),
            RetentionRule(metadata={"label": "trial"}, keep_days=7),
            RetentionRule(user_id="ada", keep_days="forever"),
        ])

    Raises:
        ValueError: there is no rule, two are about the same threads, or a limit has no effect.
    """

    rules: Sequence[RetentionRule]

    def __post_init__(self) -> None:
        rules = tuple(self.rules)
        if not rules or not all(isinstance(rule, RetentionRule) for rule in rules):
            raise ValueError("A retention policy consists of rules. Needed: a list with at least one RetentionRule.")
        about: set[tuple[str | None, str]] = set()
        for rule in rules:
            selector = rule.user_id, _text(rule.metadata)
            if selector in about:
                raise ValueError(f"Two rules are {rule}. Needed: one rule for the same threads. Merge the two.")
            about.add(selector)
        _check_effect(rules)
        # The most specific one first; the sort keeps the order of those that are equally specific.
        object.__setattr__(self, "rules", tuple(sorted(rules, key=lambda rule: rule.specificity, reverse=True)))

    @classmethod
    def from_file(cls, path: str | Path) -> RetentionPolicy:
        """Read a policy from a TOML file: a table `[[rules]]` for each rule, with the fields of `RetentionRule`.

        Raises:
            ValueError: the file cannot be read, or is no policy. The message names the file, the rule and the key.
        """
        try:
            document = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise ValueError(
                f"The retention policy {path} cannot be read: {error.strerror}. Check the path and the permissions."
            ) from error
        except ValueError as error:  # no UTF-8, or no TOML
            raise ValueError(
                f"The retention policy {path} is no TOML: {error}. Needed: a file such as\n[[rules]]\nkeep_days = 365"
            ) from error
        try:
            return cls(_rules_of(document))
        except ValueError as error:
            raise ValueError(f"The retention policy {path} cannot be used. {error}") from error

    def terms(self, user_id: str | None, metadata: Mapping[str, Any]) -> Terms:
        """Return what the policy says of a thread of this user with these metadata."""
        found = [rule for rule in self.rules if rule.matches(user_id, metadata)]
        state = _seconds(_first(rule.keep_days for rule in found))
        transcript = _first(rule.keep_transcript_days for rule in found)
        checkpoints = _first(rule.keep_checkpoints for rule in found)
        return Terms(
            state,
            state if transcript is None else max(state, _seconds(transcript)),
            max(state, _seconds(_first(rule.keep_pending_days for rule in found))),
            checkpoints if isinstance(checkpoints, int) else None,
        )


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _seconds(days: Days | None) -> float:
    return math.inf if days is None or isinstance(days, str) else days * _DAY


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(dict(metadata), sort_keys=True)


def _bad(name: str, found: object, needed: str) -> str:
    return f"{name} is {found!r}. Needed: {needed}."


def _check_user(user_id: object) -> None:
    if user_id is not None and not (isinstance(user_id, str) and user_id):
        raise ValueError(_bad("user_id", user_id, "the id of a user, as text"))


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise ValueError(_bad("metadata", metadata, 'keys with their values, such as { label = "trial" }'))
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(
            _bad("metadata", dict(metadata), "values that JSON has: texts, numbers, true, false")
        ) from None


def _check_days(name: str, days: object) -> None:
    is_number = isinstance(days, int | float) and not isinstance(days, bool) and 0 <= days <= _LONGEST_DAYS
    if not (days is None or days == FOREVER or is_number):
        raise ValueError(_bad(name, days, f'a number of days from 0 to {_LONGEST_DAYS:,}, or "{FOREVER}"'))


def _check_count(count: object) -> None:
    is_number = isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= _MOST_CHECKPOINTS
    if not (count is None or count == ALL or is_number):
        needed = f'a number of checkpoints from 1 to {_MOST_CHECKPOINTS:,}, or "{ALL}"'
        raise ValueError(_bad("keep_checkpoints", count, needed))


def _check_effect(rules: Sequence[RetentionRule]) -> None:
    """Refuse a limit that is never reached: without `keep_days`, nothing of a thread is deleted at all."""
    for rule in rules:
        limits = [name for name in _BESIDE if isinstance(getattr(rule, name), int | float)]
        users = {rule.user_id, None} if rule.user_id is not None else {other.user_id for other in rules}
        if limits and not any(other.keep_days is not None and other.user_id in users for other in rules):
            raise ValueError(
                f"The rule {rule} has {limits[0]}, and no rule says keep_days for these threads, so nothing of them "
                f"would ever be deleted. Needed: keep_days in this rule, or in one {_ALL_THREADS}."
            )


def _rules_of(document: Mapping[str, Any]) -> list[RetentionRule]:
    """Return the rules of a parsed file.

    Raises:
        ValueError: a table or a key is unknown, or a value cannot be used.
    """
    if unknown := sorted(set(document) - {"rules"}):
        raise ValueError(f"Found {unknown[0]!r} outside of a rule. Needed: only [[rules]], with what to keep below it.")
    tables = document.get("rules", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("Found rules that are no list of tables. Needed: [[rules]], in two brackets, for each rule.")
    return [_rule_of(table, number) for number, table in enumerate(tables, 1)]


def _rule_of(table: Mapping[str, Any], number: int) -> RetentionRule:
    known = [part.name for part in fields(RetentionRule)]
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"Rule {number} has the key {unknown[0]!r}. Allowed: {', '.join(known)}.")
    try:
        return RetentionRule(**table)
    except ValueError as error:
        raise ValueError(f"Rule {number}: {error}") from None
