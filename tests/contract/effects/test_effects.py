"""The ledger of effects: of any number of executions one runs an effect, and none runs it while it is in doubt."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.checkpoints.effects.states import Effect, Ended, InDoubt, Started
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    EffectNotApproved,
    EffectNotCommitted,
    EffectTaken,
    NotStorable,
)
from tests.support import children
from tests.support.kit import change, checkpoint, put, rows, thread
from tests.support.sweep import Sweep

ANSWER = {"messages": [ToolMessage("done", tool_call_id="call_0", id="m1")]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners are taken for gone sooner than people can wait."""
    hurry(monkeypatch)


def hurry(patch: Any) -> None:
    patch.setattr(times, "EFFECT_TTL", 0.3)
    patch.setattr(times, "EFFECT_RENEWAL", 0.1)
    patch.setattr(times, "CHECKPOINT_WAIT", 0.2)


def begun(saver: HoldfastSaver, thread_id: str = "ada-1", key: str = "key") -> Effect:
    """A call in a committed checkpoint."""
    config = put(saver, thread(thread_id), checkpoint([HumanMessage("Refund it", id="h1")]))
    return Effect(thread_id, key, "refund", b"args", "", config["configurable"]["checkpoint_id"])


def abandoned(saver: HoldfastSaver, effect: Effect) -> Started:
    """Leave an effect as a process does that is killed while the tool runs."""
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    saver.effects.in_flight.remove(started)
    return started


def check_ended(saver: HoldfastSaver, found: object, value: str) -> None:
    """Check that an effect has ended with a value. Its lease may have expired since it was read."""
    entry = saver.effects.entry("ada-1", "key")
    assert entry is not None
    assert isinstance(found, Ended)
    assert (found.value, replace(found.entry, expired=False)) == (value, replace(entry, expired=False))


def test_it_is_run_once_and_every_caller_gets_its_result(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    assert saver.effects.finish(started, ANSWER) == ANSWER
    for _ in range(2):
        ended = saver.effects.begin(effect)
        assert isinstance(ended, Ended)
        assert ended.value == ANSWER


def test_one_of_many_threads_runs_it_and_the_others_wait(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    ran: list[int] = []

    def run(number: int) -> Any:
        match saver.effects.begin(effect):
            case Started() as started:
                ran.append(number)
                time.sleep(0.05)  # the tool works
                return saver.effects.finish(started, number)
            case Ended(value=value):
                return value

    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(run, range(8)))
    assert results == set(ran)
    assert len(ran) == 1


def test_a_checkpointer_has_one_heart_however_many_threads_come_first(saver: HoldfastSaver) -> None:
    for _ in range(20):
        saver.effects._in_flight = None
        gate = threading.Barrier(8)

        def heart(_: int, gate: threading.Barrier = gate) -> int:
            gate.wait(5)
            return id(saver.effects.in_flight)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(heart, range(8)))) == 1


def run_in_a_process(url: str, effect: Effect, world: str, gate: Any) -> Any:
    with open_checkpointer(url) as saver:
        gate.wait()
        match saver.effects.begin(effect):
            case Started() as started:
                with Path(world).open("a") as file:
                    file.write("x")
                return saver.effects.finish(started, "it ran")
            case Ended(value=value):
                return value


@pytest.mark.sweep(on="sqlite")
def test_one_of_many_processes_runs_it(url: str, tmp_path: Path, sweep: Sweep) -> None:
    with open_checkpointer(url) as saver:
        effect = begun(saver)
    processes, world = sweep(3, 12), tmp_path / "world"
    gate = children.barrier(processes)
    started = [children.Child(run_in_a_process, url, effect, str(world), gate) for _ in range(processes)]
    assert [child.result() for child in started] == ["it ran"] * processes
    assert world.read_text() == "x"


def begin_and_die(url: str, effect: Effect) -> None:
    with open_checkpointer(url) as saver:
        saver.effects.begin(effect)
        children.die()


@pytest.mark.sweep
def test_when_its_process_is_killed_it_is_in_doubt(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer(url) as saver:
        effect = begun(saver)
        assert children.run(begin_and_die, url, effect) == -9
        change(saver, "UPDATE holdfast_effects SET alive_until = alive_until - 15")  # the child had its time
        verdict = saver.effects.begin(effect)
        assert isinstance(verdict, InDoubt)
        assert verdict.why == "owner"
        assert [entry.key for entry in saver.effects.in_doubt()] == ["key"]


def test_an_owner_that_lives_is_never_taken_for_gone(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(saver.effects.begin, effect)
        time.sleep(times.EFFECT_TTL * 3)  # the tool works for longer than an owner may say nothing
        assert not other.done()
        saver.effects.finish(started, "late")
        check_ended(saver, other.result(5), "late")


@pytest.mark.sweep
def test_who_was_taken_for_gone_and_was_not_still_says_how_it_ended(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    started = abandoned(saver, effect)
    assert isinstance(saver.effects.begin(effect), InDoubt)
    assert saver.effects.finish(started, "it happened") == "it happened"
    verdict = saver.effects.begin(effect)
    assert isinstance(verdict, Ended)
    assert verdict.value == "it happened"


def test_a_decision_of_a_person_is_final(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    started = abandoned(saver, effect)
    doubt = saver.effects.begin(effect)
    assert isinstance(doubt, InDoubt)
    assert saver.effects.settle(doubt, "it happened, says Grace", skipped=False, by="Grace")
    assert not saver.effects.settle(doubt, "no", skipped=True, by="Alan")
    assert saver.effects.finish(started, "late") == "it happened, says Grace"


def test_run_again_is_one_more_attempt_and_the_first_has_no_say_any_more(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    first = abandoned(saver, effect)
    doubt = saver.effects.begin(effect)
    assert isinstance(doubt, InDoubt)
    second = saver.effects.run_again(doubt, effect, by="Grace")
    assert second is not None
    assert second.attempt == 2
    assert saver.effects.run_again(doubt, effect, by="Alan") is None
    with pytest.raises(EffectTaken):
        saver.effects.finish(first, "late")
    saver.effects.finish(second, "again")
    assert rows(saver, "SELECT state, attempt, decision, decided_by FROM holdfast_effects") == [
        ("done", 2, "run_again", "Grace")
    ]


def test_a_call_that_is_not_committed_is_not_run(saver: HoldfastSaver) -> None:
    effect = replace(begun(saver), checkpoint_id="not there")
    with pytest.raises(EffectNotCommitted, match="durability"):
        saver.effects.begin(effect)
    assert rows(saver, "SELECT * FROM holdfast_effects") == []


def test_a_call_whose_checkpoint_is_on_its_way_waits_for_it(saver: HoldfastSaver) -> None:
    new = checkpoint([HumanMessage("Refund it", id="h1")])
    effect = Effect("ada-1", "key", "refund", b"args", "", new["id"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(saver.effects.begin, effect)
        put(saver, thread(), new)
        assert isinstance(waiting.result(5), Started)


def test_a_call_that_is_committed_is_told_apart_on_a_slow_database(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "CHECKPOINT_WAIT", 0)
    with pytest.raises(EffectNotApproved):
        saver.effects.begin(replace(begun(saver), interrupt_id="unknown", answer_digest=b"yes"))


def test_an_effect_that_needs_an_answer_runs_under_that_answer_alone(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    change(
        saver,
        "INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at,"
        " answered_at, answer_digest) VALUES ('ada-1', 'answered', '', '', '', 0, 1, :digest),"
        " ('ada-1', 'open', '', '', '', 0, NULL, NULL)",
        digest=b"yes",
    )
    for interrupt_id, digest in [("answered", b"other"), ("open", b"yes"), ("unknown", b"yes"), ("answered", None)]:
        with pytest.raises(EffectNotApproved, match="no recorded answer of a person"):
            saver.effects.begin(replace(effect, interrupt_id=interrupt_id, answer_digest=digest))
    assert isinstance(saver.effects.begin(replace(effect, interrupt_id="answered", answer_digest=b"yes")), Started)


def test_other_arguments_are_asked_about(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    saver.effects.finish(abandoned(saver, effect), "with these")
    verdict = saver.effects.begin(replace(effect, args_digest=b"others"))
    assert isinstance(verdict, InDoubt)
    assert (verdict.why, verdict.value) == ("arguments", "with these")


@pytest.mark.parametrize("order", ["copied before", "copied after"])
def test_a_copy_does_not_run_it_a_second_time_unasked(saver: HoldfastSaver, order: str) -> None:
    effect = begun(saver)
    if order == "copied before":
        saver.copy_thread("ada-1", "copy")
        saver.copy_thread("copy", "copy of the copy")
    saver.effects.finish(abandoned(saver, effect), "in the first")
    if order == "copied after":
        saver.copy_thread("ada-1", "copy")
        saver.copy_thread("copy", "copy of the copy")
    for name in ("copy", "copy of the copy"):
        verdict = saver.effects.begin(replace(effect, thread_id=name))
        assert isinstance(verdict, InDoubt)
        assert (verdict.why, verdict.value) == ("elsewhere", "in the first")


def test_a_copy_does_not_run_the_effect_of_its_deleted_original(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    saver.copy_thread("ada-1", "copy")
    saver.effects.finish(abandoned(saver, effect), "a secret")
    saver.delete_thread("ada-1")
    verdict = saver.effects.begin(replace(effect, thread_id="copy"))
    assert isinstance(verdict, InDoubt)
    assert (verdict.why, verdict.value) == ("elsewhere", None)
    saver.delete_thread("copy")
    assert rows(saver, "SELECT * FROM holdfast_effects") == []


def test_a_tool_that_pauses_has_done_nothing(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    saver.effects.release(abandoned(saver, effect))
    assert isinstance(saver.effects.begin(effect), Started)


def test_a_result_that_cannot_be_kept_is_refused_and_nothing_is_said_of_the_outcome(saver: HoldfastSaver) -> None:
    started = abandoned(saver, begun(saver))
    with pytest.raises(NotStorable):
        saver.effects.finish(started, {"connection": threading.Lock()})
    assert saver.effects.finish(started, "a text") == "a text"


def test_who_waits_can_give_up(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    assert isinstance(saver.effects.begin(effect), Started)
    give_up = threading.Event()
    give_up.set()
    with pytest.raises(EffectTaken):
        saver.effects.begin(effect, give_up)


def test_an_outcome_that_cannot_be_written_is_written_when_the_database_is_back(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = begun(saver)
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    writing = saver._backend.writing

    def away() -> Any:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr(saver._backend, "writing", away)
    with pytest.raises(DatabaseUnavailable):
        saver.effects.finish(started, "it happened")
    monkeypatch.setattr(saver._backend, "writing", writing)
    verdict = saver.effects.begin(effect)
    assert isinstance(verdict, Ended)
    assert verdict.value == "it happened"


def test_closing_writes_what_could_not_be_written(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "EFFECT_RENEWAL", 60.0)
    with open_checkpointer(url) as saver:
        effect = begun(saver)
        started = saver.effects.begin(effect)
        assert isinstance(started, Started)
        with monkeypatch.context() as patch:

            def away() -> Iterator[Any]:
                raise DatabaseUnavailable("it is away")

            patch.setattr(saver._backend, "writing", away)
            with pytest.raises(DatabaseUnavailable):
                saver.effects.finish(started, "it happened")
    with open_checkpointer(url) as saver:
        check_ended(saver, saver.effects.begin(effect), "it happened")


def test_a_short_effect_costs_two_transactions(saver: HoldfastSaver) -> None:
    effect = begun(saver)
    commits: list[str] = []
    saver._backend.on_statement = commits.append
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    saver.effects.finish(started, ANSWER)
    saver._backend.on_statement = None
    assert commits.count("commit") == 2
