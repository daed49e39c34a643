"""What tests of the ledger share."""

from __future__ import annotations

import pytest

from checkpoints import effects, heartbeat
from tests.contract.world import World


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners are taken for gone sooner than people can wait."""
    monkeypatch.setattr(heartbeat, "TTL", 0.3)
    monkeypatch.setattr(heartbeat, "PERIOD", 0.1)
    monkeypatch.setattr(effects, "_COMMITTING", 0.3)


@pytest.fixture
def world() -> World:
    return World()
