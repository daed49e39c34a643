"""A little of `make chaos`, so that it still works when it is needed; and that it finds what it looks for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from holdfast.checkpoints import open_checkpointer
from holdfast.graph.tools.once import RunPolicy
from tests.chaos.cost import MOST, count
from tests.chaos.crowd import Crowd, End, Job
from tests.chaos.failover.failovers import fail_over
from tests.chaos.journal import Place
from tests.chaos.kills import kill
from tests.chaos.outages import break_off
from tests.chaos.report import Report
from tests.chaos.rush import rush
from tests.chaos.servers.trial import Trial, try_out
from tests.chaos.servers.verdict import judge_served
from tests.chaos.talks.playing import play
from tests.chaos.talks.verdict import judge
from tests.support.kit import change
from tests.support.servers import Server


def soon() -> float:
    return time.monotonic() + 20


@pytest.mark.sweep
def test_processes_that_are_killed_leave_nothing_undone(sqlite_url: str, tmp_path: Path) -> None:
    place = Place(sqlite_url, tmp_path, 5)  # one of those that are soon over
    done = kill(place, 2, soon(), width=2, per_mark=0, per_life=1)
    report = Report(5, kills={place.backend: done})
    assert report.broken() == []
    assert done.total >= 2
    assert "killed with SIGKILL" in report.table()
    assert report.figures()[f"kills_{place.backend}"]["kills"] == done.total


@pytest.mark.sweep
def test_of_those_who_answer_at_once_one_is_heard_and_the_others_are_told(
    postgres_url_with_tables: str, tmp_path: Path
) -> None:
    place = Place(postgres_url_with_tables, tmp_path, 1)
    done = rush([place], 4, soon(), processes=3)  # two with the agent of `create_agent`
    assert Report(1, rush=done).broken() == []
    # Of three answers one is taken. Without a lease, its run may be refused, and another one carries it out.
    assert done.answers == 24
    assert 16 <= sum(done.told.values()) <= 20


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_servers_that_are_killed_leave_nothing_undone(sqlite_url: str, tmp_path: Path) -> None:
    place = Place(sqlite_url, tmp_path, 1)
    done = try_out(Trial(place, "router", kills=1, rounds=1, clients=2), time.monotonic() + 200)
    report = Report(1, served=[done])
    assert report.broken() == []
    assert (done.kills, done.rounds.answers, done.rounds.told) == (1, 16, 14)
    assert "Two servers of one database" in report.table()
    assert report.figures()["servers, router, sqlite"]["turns accepted"] == done.verdict.counts["runs"]

    with open_checkpointer(sqlite_url) as saver:
        change(saver, "UPDATE holdfast_runs SET ended_at = ended_at + 300 WHERE number = 1")
        change(saver, "UPDATE holdfast_effects SET interrupt_id = 'another' WHERE tool = 'pay'")
        change(saver, "UPDATE holdfast_runs SET state = 'accepted', ended_at = NULL WHERE kind = 'answer'")
    broken = "\n".join(what for _, what in judge_served(place).broken)
    assert "s after it was accepted, and 0 processes died" in broken
    assert "which no client has answered" in broken
    assert "was accepted, and is accepted at the end" in broken


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_two_of_langgraphs_servers_take_one_of_eight_answers(sqlite_url: str, tmp_path: Path) -> None:
    place = Place(sqlite_url, tmp_path, 1)
    done = try_out(Trial(place, "dev server", kills=0, rounds=2), time.monotonic() + 200)
    assert Report(1, served=[done]).broken() == []
    assert (done.rounds.answers, done.rounds.told) == (32, 28)


@pytest.mark.sweep
def test_processes_outlive_a_restart_of_their_database(own_server: Server, tmp_path: Path) -> None:
    place = Place(own_server.database("chaos"), tmp_path, 1)
    done = break_off(own_server, place, 1, 1, soon(), children=2)
    assert Report(1, outages=done).broken() == []
    assert done.connections


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_a_standby_takes_over_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    done = fail_over(tmp_path, 1, 1, time.monotonic() + 120)
    report = Report(1, failovers=done)
    assert report.broken() == []
    assert "its standby takes over" in report.table()
    assert report.figures()["failover"]["failovers"] == 1
    assert done.accepted


@pytest.mark.sweep
def test_the_ledger_costs_two_transactions_and_a_safe_tool_none(url: str, tmp_path: Path) -> None:
    assert count(Place(url, tmp_path, 1)).added == {**MOST, "safe, approved": 0}


# --- it finds what it looks for: the house is broken on purpose


def without_ledger(tool: BaseTool) -> RunPolicy:
    return RunPolicy(once=False)


def without_approval(tool: BaseTool) -> None:
    return None


class Played:
    """A process that plays a thread of a house that was changed."""

    def __init__(self, place: Place, thread: str, *, mark: str | None = None, **changed: Any) -> None:
        self._ends: list[End] = []
        self._crowd = Crowd({name.replace("__", "."): value for name, value in changed.items()})
        self._crowd.start(Job(play, (place, thread, "conversation", (mark, 0))), self._ends.append)

    def end(self) -> End:
        """How it ended."""
        self._crowd.finish()
        assert self._ends[0].error is None
        return self._ends[0]


def found(place: Place) -> dict[str, str]:
    """Return the damage that the verdict finds, by thread."""
    broken: dict[str, str] = {}
    for thread, what in judge(place).broken:
        broken[thread] = f"{broken.get(thread, '')}{what}\n"
    return broken


@pytest.mark.sweep
def test_the_verdict_finds_every_kind_of_damage(sqlite_url: str, tmp_path: Path) -> None:
    place = Place(sqlite_url, tmp_path, 1)
    twice = Played(place, "twice", mark="tool:after", holdfast__graph__tools__execute__run_policy=without_ledger)
    unasked = Played(place, "unasked", holdfast__graph__tools__guard__approval_policy=without_approval)
    whole = Played(place, "whole")
    assert twice.end().killed
    Played(place, "twice", holdfast__graph__tools__execute__run_policy=without_ledger).end()
    assert not unasked.end().killed
    assert not whole.end().killed
    broken = found(place)
    assert "took effect 2 times, and 0 times a person said: run it again" in broken["twice"]
    assert "no person approved that" in broken["unasked"]
    assert "whole" not in broken

    place.journal.write(acknowledged="whole:m9", thread="whole")
    with open_checkpointer(sqlite_url) as saver:
        change(saver, "UPDATE holdfast_effects SET state = 'in_doubt' WHERE thread_id = 'whole' AND tool = 'note'")
    broken = found(place)
    assert "acknowledged message whole:m9 is lost" in broken["whole"]
    assert "is in doubt, and no person is or was asked" in broken["whole"]
