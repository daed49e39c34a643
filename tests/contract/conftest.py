"""Fixtures that tests of the ledger and of outages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from tests.support.outages import Wire, wired
from tests.support.world import World


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example shop keeps its orders in the working directory, and no test must find a refund of another one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners are taken for gone sooner than people can wait."""
    monkeypatch.setattr(times, "EFFECT_TTL", 0.3)
    monkeypatch.setattr(times, "EFFECT_RENEWAL", 0.1)
    monkeypatch.setattr(times, "CHECKPOINT_WAIT", 2.0)  # a busy machine saves slowly


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def line(postgres_url_with_tables: str) -> Iterator[tuple[Wire, str]]:
    """A wire to an empty database, and its URL by way of it."""
    with wired(postgres_url_with_tables) as found:
        yield found


@pytest.fixture
def wire(line: tuple[Wire, str]) -> Wire:
    return line[0]


@pytest.fixture
def uncut(postgres_url_with_tables: str) -> Iterator[HoldfastSaver]:
    """The database behind the wire, as another process has it whose connections are not cut."""
    with open_checkpointer(postgres_url_with_tables) as uncut:
        yield uncut
