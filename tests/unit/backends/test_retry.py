"""How long a database is waited for is counted for an outage, and not for each who waits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from holdfast.checkpoints.backends import retry
from holdfast.checkpoints.backends.retry import Patience, persist
from holdfast.checkpoints.errors import Unreachable


class Clock:
    """A clock that goes on only when a caller waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: self.now))


class Database:
    """A database that is out of reach until a time."""

    def __init__(self, clock: Clock, limit: float) -> None:
        self.clock = clock
        self.patience = Patience(limit)
        self.back_at = 0.0
        self.attempts: list[float] = []
        self.patience.wait = self.wait  # type: ignore[method-assign]

    def wait(self, seconds: float, *_: object) -> bool:
        self.clock.now += seconds
        return True

    def work(self) -> str:
        self.attempts.append(self.clock.now)
        if self.clock.now < self.back_at:
            raise Unreachable("It is away.", maybe_saved=False)
        return "done"


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    return Database(Clock(monkeypatch), 30.0)


def test_who_is_cut_off_tries_again_at_once_and_then_ever_less_often(database: Database) -> None:
    database.back_at = 110
    assert persist(database, database.work) == "done"
    pauses = [later - sooner for sooner, later in zip(database.attempts, database.attempts[1:], strict=False)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert max(pauses) == 1


def test_ten_who_come_one_after_the_other_wait_no_longer_than_one(database: Database) -> None:
    database.back_at = float("inf")
    for _ in range(10):
        with pytest.raises(Unreachable, match="out of reach for 30 s"):
            persist(database, database.work)
    assert database.attempts[-1] == database.attempts[-9] == 130


def test_another_outage_is_waited_for_anew(database: Database) -> None:
    for back_at in (120, 150, 190):
        database.back_at = back_at
        database.clock.now = max(database.clock.now, back_at - 20)
        assert persist(database, database.work) == "done"

    database.back_at = float("inf")
    with pytest.raises(Unreachable):
        persist(database, database.work)
    database.clock.now += 3600  # it is unknown when it came back
    database.back_at = database.clock.now + 20
    assert persist(database, database.work) == "done"


def test_who_wants_to_wait_for_less_does(database: Database) -> None:
    database.back_at = float("inf")
    with pytest.raises(Unreachable, match="for 2 s"):
        persist(database, database.work, limit=2)


def test_an_attempt_that_may_have_been_saved_is_reported_although_a_later_one_was_not(database: Database) -> None:
    attempts = 0

    def work() -> None:
        nonlocal attempts
        attempts += 1
        raise Unreachable("It is away.", maybe_saved=attempts == 1)

    with pytest.raises(Unreachable, match="It is unknown whether this step was saved"):
        persist(database, work)
    assert attempts > 1


def test_work_that_must_run_once_is_repeated_as_long_as_it_has_not_run(database: Database) -> None:
    database.back_at = 105
    assert persist(database, database.work, repeatable=False) == "done"
