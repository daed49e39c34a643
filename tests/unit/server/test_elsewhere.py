"""Runs of one thread that two servers have accepted: each server begins its own when no earlier one is in front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from holdfast import open_checkpointer
from holdfast.checkpoints import Claimed, HoldfastSaver, NewRun, Run
from holdfast.server.langgraph import elsewhere, hooks, runtime
from holdfast.server.langgraph.record import agent_of, current, recording
from tests.support.kit import change

THREAD = "3f1f8a52-5a0e-4c5e-8f0a-0b3a5a2f9d11"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs in the registry."""
    runs: list[Any] = []
    monkeypatch.setattr(runtime, "runs", lambda: runs)
    monkeypatch.setattr(runtime, "graphs", lambda: {"agent": None})
    monkeypatch.setattr(runtime, "assistant_of", lambda _: uuid4())
    return runs


def accepted(saver: HoldfastSaver, number: int) -> list[Run]:
    """Return new runs, accepted a second after one another."""
    rows = [saver.runs.accept(NewRun(THREAD, agent_of("agent"), "message", {})) for _ in range(number)]
    return [replace(row, accepted_at=row.accepted_at + timedelta(seconds=place)) for place, row in enumerate(rows)]


def enter_here(registry: list[Any], row: Run) -> dict[str, Any]:
    """Let this server have a run that it had begun to accept a moment before the database had it."""
    record = current()
    assert record is not None
    record._held[row.run_id] = Claimed(row, {}, "this server")
    entry = {"run_id": UUID(row.run_id), "thread_id": UUID(THREAD), "status": "pending"}
    registry.append({**entry, "created_at": row.accepted_at - timedelta(seconds=1)})
    return registry[-1]


def begun_next(registry: list[Any]) -> list[str]:
    """The open runs that the runtime's queue sees, in its order; it waits while one is running."""
    open_runs = (run for run in registry if run["status"] in runtime.ACTIVE)
    return [
        f"{run['run_id']} {run['status']}" for run in sorted(open_runs, key=lambda run: run["status"], reverse=True)
    ]


async def test_a_run_that_ended_here_a_moment_ago_is_not_taken_for_another_servers(registry: list[Any]) -> None:
    async with open_checkpointer("memory://") as saver, recording(saver):
        record = current()
        assert record is not None
        claimed = saver.runs.accept_for(record._claims.owner, NewRun(THREAD, agent_of("agent"), "message", {}))
        row = claimed.run
        entry = enter_here(registry, row)
        record._held[row.run_id] = claimed
        await record.end(row.run_id, "done")
        assert saver.runs.get(row.run_id).state == "done"
        elsewhere.enter([row])  # a request has read it before
        assert (registry, elsewhere.shown(UUID(THREAD))) == ([entry], [])


async def test_a_run_that_was_claimed_here_is_shown_before_it_is_entered(registry: list[Any]) -> None:
    async with open_checkpointer("memory://") as saver, recording(saver):
        [row] = accepted(saver, 1)
        record = current()
        assert record is not None
        [claimed] = await record.claim()
        assert record.has(row.run_id)
        elsewhere.enter([claimed.run])
        assert begun_next(registry) == [f"{row.run_id} running"]
        await record.end(row.run_id, "cancelled")  # it cannot be gone on with
        elsewhere.enter([saver.runs.get(row.run_id)])
        assert [(str(run["run_id"]), run["status"]) for run in registry] == [(row.run_id, "interrupted")]


async def test_a_run_waits_for_no_later_run_of_another_server(registry: list[Any]) -> None:
    async with open_checkpointer("memory://") as saver, recording(saver):
        first, second, third = accepted(saver, 3)
        entry, _ = enter_here(registry, first), enter_here(registry, third)
        elsewhere.enter([second])
        assert begun_next(registry) == [f"{first.run_id} pending", f"{third.run_id} pending"]
        assert [str(run["run_id"]) for run in elsewhere.shown(UUID(THREAD))] == [second.run_id]
        entry["status"] = "success"
        elsewhere.arrange(UUID(THREAD))
        assert begun_next(registry) == [f"{second.run_id} running", f"{third.run_id} pending"]
        assert elsewhere.shown(UUID(THREAD)) == []


async def test_a_run_waits_for_an_earlier_run_of_another_server(registry: list[Any]) -> None:
    async with open_checkpointer("memory://") as saver, recording(saver):
        first, second = accepted(saver, 2)
        enter_here(registry, second)
        elsewhere.enter([first])
        assert begun_next(registry) == [f"{first.run_id} running", f"{second.run_id} pending"]
        elsewhere.enter([replace(first, state="done")])
        assert begun_next(registry) == [f"{second.run_id} pending"]


async def test_a_run_is_found_also_if_the_lists_are_arranged_anew_meanwhile(
    registry: list[Any],
) -> None:
    async def get(connection: Any, run_id: Any, **_: Any) -> AsyncIterator[Any]:
        return (run async for run in _each(connection.store["runs"]) if run["run_id"] == run_id)

    async with open_checkpointer("memory://") as saver, recording(saver):
        [row] = accepted(saver, 1)
        elsewhere.enter([row])
        [entry] = registry
        found = await hooks._get_run(get, SimpleNamespace(store={"runs": registry}), entry["run_id"], thread_id=THREAD)
        registry.clear()
        assert [run async for run in found] == [entry]


@pytest.mark.parametrize("owner", [None, "a server that has died"], ids=["not begun", "begun"])
async def test_a_rollback_is_done_also_if_no_server_has_the_run(registry: list[Any], owner: str | None) -> None:
    async with open_checkpointer("memory://") as saver, recording(saver):
        record = current()
        assert record is not None
        new = NewRun(THREAD, agent_of("agent"), "message", {})
        _ = saver.runs.accept(new) if owner is None else saver.runs.accept_for(owner, new)
        config: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
        saver.put(config, empty_checkpoint(), {"run_id": new.run_id}, {})  # type: ignore[typeddict-unknown-key]
        await record.cancel(UUID(new.run_id), has_begun=True, rolls_back=True)
        if owner is not None:
            change(saver, "UPDATE holdfast_runs SET alive_until = 0")
            [claimed] = await record.claim()
            assert claimed.run.is_cancelled
            await record.end(new.run_id, "cancelled")
        assert (saver.runs.list(THREAD), saver.get_tuple(config)) == ([], None)


async def _each(runs: list[Any]) -> AsyncIterator[Any]:
    for run in runs:
        yield run
