"""A worker sweeps in the background of an application or a server."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

from holdfast import open_checkpointer
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.server.langgraph.worker import workers_of
from holdfast.worker import RetentionWorker
from tests.support.retention_kit import MONTH, listed, talk


def swept_once(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> Event:
    """Return an event that is set when a sweep has ended."""
    done, sweep = Event(), saver.sweep

    def and_tell(*args: Any, **kwargs: Any) -> Any:
        try:
            return sweep(*args, **kwargs)
        finally:
            done.set()

    monkeypatch.setattr(saver, "sweep", and_tell)
    return done


def test_a_worker_sweeps_in_a_thread_until_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer("memory://") as saver:
        talk(saver, "old", days=31)
        done = swept_once(saver, monkeypatch)
        with RetentionWorker(saver, MONTH):
            assert done.wait(60)
        assert listed(saver) == set()


async def test_a_worker_sweeps_on_an_event_loop_and_an_outage_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_checkpointer("memory://") as saver:
        talk(saver, "old", days=31)
        tried, done = Event(), Event()
        sweep = saver.sweep

        def fail_once(*args: Any, **kwargs: Any) -> Any:
            if not tried.is_set():
                tried.set()
                raise DatabaseUnavailable("It is away.")
            swept = sweep(*args, **kwargs)
            done.set()
            return swept

        monkeypatch.setattr(saver, "sweep", fail_once)
        async with RetentionWorker(saver, MONTH, period=0.001):
            assert await asyncio.to_thread(done.wait, 60)
        assert "The retention policy could not be carried out: DatabaseUnavailable: It is away." in caplog.text
        assert listed(saver) == set()


def test_the_server_sweeps_if_the_settings_name_a_policy(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer("memory://") as saver:
        assert [type(worker).__name__ for worker in workers_of(saver)] == ["ServerWorker"]
        (tmp_path / "retention.toml").write_text("[[rules]]\nkeep_days = 30\n", "utf-8")
        monkeypatch.setenv("HOLDFAST_RETENTION", str(tmp_path / "retention.toml"))
        monkeypatch.setenv("HOLDFAST_RETENTION_INTERVAL", "60")
        assert [type(worker).__name__ for worker in workers_of(saver)] == ["ServerWorker", "RetentionWorker"]
        (tmp_path / "retention.toml").write_text("", "utf-8")
        with pytest.raises(ValueError, match=r"retention\.toml"):
            workers_of(saver)
