"""A sweep deletes what a policy no longer keeps, and nothing that waits or is in use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from holdfast import RetentionPolicy, RetentionRule, open_checkpointer
from holdfast.checkpoints import HoldfastSaver, NewRun, retention
from holdfast.checkpoints.effects.states import Effect
from holdfast.checkpoints.errors import DamagedThread, ThreadConflict
from holdfast.checkpoints.retention import due
from tests.support import children
from tests.support.asking import team
from tests.support.kept_kit import in_file
from tests.support.kit import change, echo_graph, rows, texts, thread
from tests.support.retention_kit import MONTH, age, listed, number_of, policy, talk
from tests.support.sweep import Sweep

TABLES = (
    "checkpoints",
    "holdfast_messages",
    "holdfast_interrupts",
    "holdfast_events",
    "holdfast_members",
    "holdfast_runs",
)


@pytest.mark.sweep(on="postgres")
def test_what_is_older_than_the_most_specific_rule_says_is_deleted_and_a_dry_run_says_the_same(
    saver: HoldfastSaver,
) -> None:
    talk(saver, "young", days=29)
    talk(saver, "old", "one", "two", days=31)
    talk(saver, "trial", days=8, label="trial")
    talk(saver, "paying", days=8, label="paid")
    talk(saver, "ada", days=400, user_id="ada", label="trial")
    saver.threads.share("ada", "bob")
    rules = RetentionPolicy(
        [
            RetentionRule(keep_days=30),
            RetentionRule(metadata={"label": "trial"}, keep_days=7),
            RetentionRule(user_id="ada", keep_days="forever"),
        ]
    )

    planned = saver.sweep(rules, dry_run=True)
    assert listed(saver) == {"young", "old", "trial", "paying", "ada"}
    assert (planned.threads, planned.checkpoints, planned.messages, planned.is_dry) == (2, 9, 6, True)
    assert planned.bytes > 1_000

    swept = saver.sweep(rules)
    assert swept == replace(planned, is_dry=False)
    assert listed(saver) == {"young", "paying", "ada"}
    assert [number_of(saver, table, "old") for table in TABLES] == [0] * len(TABLES)
    assert saver.sweep(rules).threads == 0


def paused(saver: HoldfastSaver, _: Path) -> None:
    team(saver).invoke({"messages": [("user", "go")]}, thread("it"))


def answered(saver: HoldfastSaver, folder: Path) -> None:
    paused(saver, folder)
    for request in saver.interrupts.waiting():
        saver.interrupts.answer("it", request.interrupt_id, "yes")


def kept(saver: HoldfastSaver, folder: Path) -> None:
    ada = in_file(saver, str(folder / "effects"), "it")
    ada.send("Refund order 1")
    assert ada.send("How are you?").text == "I am fine."
    assert saver.threads.get("it").status == "paused"


def in_doubt(saver: HoldfastSaver, _: Path) -> None:
    talk(saver, "it")
    [head] = saver.heads()
    started: Any = saver.effects.begin(Effect("it", "key", "refund", b"digest", "", head.checkpoint_id))
    saver.effects.doubt(started, "timeout")


def unfinished(saver: HoldfastSaver, _: Path) -> None:
    echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread("it"), interrupt_before=["model"])


def failed(saver: HoldfastSaver, _: Path) -> None:
    def fail(_: Any) -> str:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        echo_graph(saver, fail).invoke({"messages": [("user", "Hello")]}, thread("it"))


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("pend", [paused, answered, kept, in_doubt, unfinished, failed])
def test_a_pending_thread_stays_unless_the_policy_says_how_long_that_may_take(
    sqlite_url_with_tables: str, tmp_path: Path, pend: Callable[[HoldfastSaver, Path], None]
) -> None:
    with open_checkpointer(sqlite_url_with_tables) as saver:
        pend(saver, tmp_path)
        age(saver, "it", 100)
        before = rows(saver, "SELECT * FROM checkpoints ORDER BY checkpoint_id")
        for rule in (
            {"keep_days": 30},
            {"keep_days": 30, "keep_transcript_days": 1000},
            {"keep_days": 30, "keep_pending_days": 101},
        ):
            swept = saver.sweep(policy(**rule))
            assert (swept.threads, swept.emptied, swept.pending) == (0, 0, 1), rule
        assert rows(saver, "SELECT * FROM checkpoints ORDER BY checkpoint_id") == before
        with saver.lease("it"):
            assert saver.sweep(policy(keep_days=30, keep_pending_days=99)).pending == 1
        assert saver.sweep(policy(keep_days=30, keep_pending_days=99)).threads == 1
        assert listed(saver) == set()


def test_a_tool_that_runs_now_keeps_its_thread_whatever_the_policy_says(saver: HoldfastSaver) -> None:
    talk(saver, "it", days=100)
    [head] = saver.heads()
    started: Any = saver.effects.begin(Effect("it", "key", "refund", b"digest", "", head.checkpoint_id))
    assert saver.sweep(policy(keep_days=30, keep_pending_days=0)).pending == 1
    saver.effects.finish(started, "done")
    assert saver.sweep(MONTH).threads == 1


def test_a_thread_that_a_stock_saver_has_continued_stays(saver: HoldfastSaver) -> None:
    talk(saver, "it", days=100)
    change(saver, "UPDATE holdfast_threads SET head = '1ef00000-0000-6000-8000-000000000000'")
    assert saver.sweep(MONTH).pending == 1
    assert listed(saver) == {"it"}


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("days", [0, 100])
def test_the_ledger_of_a_thread_goes_with_the_last_of_its_copies(sqlite_url_with_tables: str, days: int) -> None:
    with open_checkpointer(sqlite_url_with_tables) as saver:
        talk(saver, "it")
        [head] = saver.heads()
        started: Any = saver.effects.begin(Effect("it", "key", "refund", b"digest", "", head.checkpoint_id))
        saver.effects.finish(started, "refunded")
        saver.threads.copy("it", "copy")
        age(saver, "it", 100)
        age(saver, "copy", days)
        assert saver.sweep(MONTH).threads == (2 if days else 1)
        left = rows(saver, "SELECT state, result FROM holdfast_effects")
        assert left == ([] if days else [("done", None)])


def test_a_damaged_thread_is_named_and_the_others_are_pruned(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_newest = retention.keep_newest

    def damaged(transaction: Any, database: Any, thread_id: str, keep: int) -> int:
        if thread_id == "bad":
            raise DamagedThread(thread_id, "it is damaged")
        return keep_newest(transaction, database, thread_id, keep)

    monkeypatch.setattr(retention, "keep_newest", damaged)
    for thread_id in ("bad", "good"):
        talk(saver, thread_id, *"abcd")
    swept = saver.sweep(policy(keep_checkpoints=1))
    assert list(swept.failed) == ["bad"]
    assert (number_of(saver, "checkpoints", "bad"), swept.checkpoints) == (12, 9)


# --- the transcript for longer


def test_the_state_goes_first_and_the_thread_keeps_its_transcript_and_its_place(saver: HoldfastSaver) -> None:
    rule = policy(keep_days=30, keep_transcript_days=365)
    talk(saver, "old", "one", "two", days=31, user_id="ada", label="trial")
    talk(saver, "new", user_id="ada")
    before = saver.threads.get("old")
    said = [entry for entry in saver.transcript("old") if entry.kind == "message"]

    planned = saver.sweep(rule, dry_run=True)
    assert saver.sweep(rule) == replace(planned, is_dry=False)
    assert (planned.threads, planned.emptied, planned.checkpoints, planned.messages) == (0, 1, 6, 0)
    assert saver.sweep(rule).emptied == 0, "once"

    after = saver.threads.get("old")
    assert replace(after, checkpoint_id=before.checkpoint_id) == before
    assert [found.thread_id for found in saver.threads.list(user_id="ada").threads] == ["new", "old"]
    *messages, event = saver.transcript("old")
    assert [replace(entry, live=True) for entry in messages] == said  # type: ignore[call-arg]
    assert (event.kind, event.event, event.by) == ("event", "restart", "retention policy")  # type: ignore[union-attr]
    assert texts(saver, "old") == []
    assert number_of(saver, "checkpoints", "old") == 1

    talk(saver, "old", "three")
    assert texts(saver, "old") == ["three", "You said: three"]
    age(saver, "old", 366)
    assert saver.sweep(rule).threads == 1


def test_a_run_that_had_loaded_a_thread_before_its_state_went_is_refused(saver: HoldfastSaver) -> None:
    talk(saver, "old", days=31)

    def sweep(_: Any) -> str:
        age(saver, "old", 31)
        with ThreadPoolExecutor(1) as pool:
            swept = pool.submit(saver.sweep, policy(keep_days=30, keep_transcript_days=365, keep_pending_days=30))
            assert swept.result().emptied == 1
        return "late"

    with pytest.raises(ThreadConflict):
        echo_graph(saver, sweep).invoke({"messages": [("user", "go")]}, thread("old"), durability="sync")


# --- beside others


@pytest.mark.sweep
def test_sweeps_at_the_same_time_delete_each_thread_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_MOST_ROWS", 1)
    with open_checkpointer(url) as saver, open_checkpointer(url) as other, ThreadPoolExecutor(2) as pool:
        for number in range(12):
            talk(saver, f"old-{number}", days=31)
        swept = list(pool.map(lambda by: by.sweep(MONTH), (saver, other)))
        assert sum(found.threads for found in swept) == 12
        assert sum(found.messages for found in swept) == 24
        assert listed(saver) == set()


def test_a_thread_that_goes_on_before_it_is_deleted_stays(
    saver: HoldfastSaver, other: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(saver, "old", "one", days=31)
    pages = due.pages

    def and_then_talk(*args: Any) -> Any:
        for page in pages(*args):
            talk(other, "old", "two")
            yield page

    monkeypatch.setattr(due, "pages", and_then_talk)
    assert saver.sweep(MONTH).threads == 0
    assert texts(other, "old")[::2] == ["one", "two"]


# --- killed


def sweep_all(saver: HoldfastSaver) -> None:
    saver.sweep(MIXED)


MIXED = RetentionPolicy(
    [
        RetentionRule(keep_days=30, keep_checkpoints=2),
        RetentionRule(metadata={"label": "record"}, keep_transcript_days="forever"),
    ]
)


@pytest.mark.sweep
def test_a_sweep_that_is_killed_before_any_statement_leaves_each_thread_whole_or_gone(
    url: str, dialect: str, sweep: Sweep
) -> None:
    database = f"{url}?synchronous=normal" if dialect == "sqlite" else url
    with open_checkpointer(database) as saver:
        names: Any = -SIGKILL
        for last in range(sweep(4, 0), 100, sweep(13, 1)):
            # All of them again, in the state that they are in without a sweep.
            for thread_id, days, label in (("old", 31, ""), ("record", 31, "record"), ("young", 0, "")):
                saver.delete_thread(thread_id)
                talk(saver, thread_id, *"abc", days=days, label=label)
            names = children.run(children.die_in_work, database, sweep_all, last)
            assert number_of(saver, "checkpoints", "old") in (0, 9)
            assert number_of(saver, "holdfast_messages", "old") in (0, 6)
            assert (number_of(saver, "checkpoints", "old") == 0) == ("old" not in listed(saver))
            assert number_of(saver, "checkpoints", "record") in (1, 9)
            assert len([entry for entry in saver.transcript("record") if entry.kind == "message"]) == 6
            assert texts(saver, "record") in ([], texts(saver, "young"))
            assert number_of(saver, "checkpoints", "young") in (9, 4), "the last turn, and the state before it"
            assert texts(saver, "young")[::2] == list("abc")
            if names != -SIGKILL:
                break
        assert listed(saver) == {"record", "young"}
        assert {"begin", "bury_threads", "empty_thread", "delete_checkpoints_of", "commit"} <= set(names)


@pytest.mark.sweep(on="postgres")
def test_a_thread_that_was_created_or_had_a_turn_accepted_and_never_began_goes_too(saver: HoldfastSaver) -> None:
    for thread_id in ("young", "old"):
        saver.threads.begin(thread_id, {"label": "new"}, owner="ada")
    waiting, stopped = (saver.runs.accept(NewRun(id_, "agent", "message", {})) for id_ in ("waiting", "stopped"))
    saver.runs.cancel(stopped.run_id)
    with saver.lease("locked"):
        pass  # it has a row, and nothing in it
    for thread_id in ("old", "waiting", "stopped", "locked"):
        age(saver, thread_id, 31)
    swept = saver.sweep(policy(keep_days=30, keep_transcript_days=30.5))
    assert (swept.threads, swept.emptied, swept.pending) == (2, 0, 1)
    assert (saver.threads.begun("old"), saver.threads.begun("young") is None) == (None, False)
    assert saver.runs.open() == [waiting]
    assert saver.runs.list("stopped") == []


# --- the cost


def test_a_sweep_that_finds_nothing_writes_nothing_and_reads_a_page_for_each_rule(saver: HoldfastSaver) -> None:
    talk(saver, "young")
    seen: list[str] = []
    saver._backend.on_statement = seen.append
    saver.sweep(policy(keep_days=30, keep_checkpoints=10))
    saver._backend.on_statement = None
    assert [name for name in seen if name not in ("begin", "commit")] == ["clock", "retention_facts", "retention_facts"]
