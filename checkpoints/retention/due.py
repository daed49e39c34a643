"""The threads that a policy is about to change, found by the index of threads and judged by what is known of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.retention.newest import MOST_BESIDE
from holdfast.checkpoints.retention.policy import RetentionPolicy, RetentionRule
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.sql import Statement, Statements

Verdict: TypeAlias = Literal["delete", "empty", "prune", "pending", "keep"]
"""`delete`: the whole thread. `empty`: its state, and not its transcript. `prune`: its older checkpoints. `pending`:
one of these, but the thread is pending or in use. `keep`: nothing."""

_PAGE: Final = 200


class Found(NamedTuple):
    """A thread, with what a policy says of it."""

    thread_id: str
    verdict: Verdict
    head: str
    """Its newest checkpoint; `""` if it has none."""
    messages: int
    bytes: int
    """The bytes of its message rows."""
    keep: int
    """The number of checkpoints to keep, if the verdict is `prune`."""


def pages(database: Database, policy: RetentionPolicy, now: float) -> Iterator[list[Found]]:
    """Yield the threads that the rules of a policy may be about, page by page. No lock is held between pages.

    A thread that several rules are about may come several times.
    """
    for rule in policy.rules:
        if isinstance(rule.keep_days, int | float):
            before = now - rule.keep_days * 86_400
            yield from _pages_of(database, policy, now, rule, "aged_threads", {"before": before})
    for rule in policy.rules:
        if isinstance(rule.keep_checkpoints, int):
            most = {"most": rule.keep_checkpoints + MOST_BESIDE}
            yield from _pages_of(database, policy, now, rule, "long_threads", most)


def facts_about(sql: Statements, thread_ids: Mapping[str, Any]) -> Call:
    """Return the call that reads the facts about some threads, for `judge`."""
    return sql["retention_facts"].among(sql["some_threads"].text), thread_ids


def judge(policy: RetentionPolicy, row: Row, now: float, *, is_long: bool) -> Found:
    """Return what a policy says of a thread.

    Args:
        policy: the policy.
        row: the thread's row of the statement `retention_facts`.
        now: the time of the sweep, by the clock of the database.
        is_long: whether the thread was found because it has many checkpoints.
    """
    metadata = json.loads(row.metadata) if row.metadata else {}
    terms, age = policy.terms(row.user_id, metadata), now - row.updated_at
    verdict: Verdict = "keep"
    if age > terms.transcript:
        verdict = "delete"
    elif age > terms.state and not row.is_emptied and row.head is not None:
        verdict = "empty"
    elif is_long and terms.checkpoints is not None and age <= terms.state:
        verdict = "prune"
    # A stock saver that writes into the thread does not change the thread's own row.
    is_in_use = row.is_in_use or row.newest != row.head
    is_waiting = row.is_pending and (verdict == "prune" or age <= terms.pending)
    if verdict != "keep" and (is_in_use or is_waiting):
        verdict = "pending"
    return Found(row.thread_id, verdict, row.head or "", int(row.messages), int(row.bytes), terms.checkpoints or 0)


def _pages_of(
    database: Database,
    policy: RetentionPolicy,
    now: float,
    rule: RetentionRule,
    name: str,
    limits: Mapping[str, Any],
) -> Iterator[list[Found]]:
    statement, params = threads_of(database.backend.sql, rule, name)
    after: tuple[float, str] = (0.0, "")
    while True:
        place = {"after_at": after[0], "after_id": after[1], "limit": _PAGE}
        [rows] = database.read((statement, {**params, **limits, **place}))
        yield [judge(policy, row, now, is_long="most" in limits) for row in rows]
        if len(rows) < _PAGE:
            return
        after = rows[-1].updated_at, rows[-1].thread_id


def threads_of(sql: Statements, rule: RetentionRule, name: str) -> tuple[Statement, dict[str, Any]]:
    """Return the statement that finds the threads of a rule, and its parameters: a user's by an index of their own."""
    conditions = [] if rule.user_id is None else ["t.user_id = :user_id"]
    metadata = json.dumps(storable(dict(rule.metadata)), sort_keys=True) if rule.metadata else None
    threads = sql[name].where(*conditions)
    return sql["retention_facts"].among(threads.text), {"user_id": rule.user_id, "metadata": metadata}
