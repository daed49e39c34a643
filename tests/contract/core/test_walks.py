"""Whichever ways the saves of a walk go, the same is stored, and it loads as it was saved."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from holdfast.checkpoints.core import conflicts
from tests.support.sweep import Sweep
from tests.support.walks import World, walk

LENGTH = 60


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ids of the same moment have an order, so that walks do not differ by chance."""
    numbers = count()
    monkeypatch.setattr(conflicts, "getrandbits", lambda _: next(numbers))


@pytest.mark.sweep
def test_a_save_at_once_stores_what_one_with_the_thread_locked_does(url: str, tmp_path: Path, sweep: Sweep) -> None:
    with World(url, exact=True) as at_once, World(f"sqlite:///{tmp_path / 'locked.db'}", locked=True) as locked:
        for seed in range(2, sweep(3, 42)):
            for number, step in enumerate(walk(seed, LENGTH)):
                assert at_once.take(step) == locked.take(step), (seed, number, step)
                loaded = number % 6 == 5
                assert at_once.picture(loaded=loaded) == locked.picture(loaded=loaded), (seed, number, step)


@pytest.mark.sweep
def test_savers_that_know_nothing_of_each_other_store_what_they_are_given(url: str, sweep: Sweep) -> None:
    with World(url) as world:
        for seed in range(1000, sweep(1002, 1040)):
            for step in walk(seed, LENGTH):
                world.take(step)
                world.check()
            world.picture(loaded=True)
