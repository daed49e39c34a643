"""The router needs the packages of its own extra, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from holdfast.server.serve_router import make_app
from holdfast.settings import load
from holdfast.worker.periodic import Periodic

ABSENT: Final = ("langgraph_api", "langgraph_runtime_inmem", "pydantic_settings", "typer", "rich", "prometheus_client")


@pytest.mark.sweep
def test_the_router_is_imported_without_the_packages_of_other_extras() -> None:
    program = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from holdfast.server import create_app, router"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.sweep
async def test_each_router_that_is_served_has_a_worker_for_all_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "retention.toml"
    policy.write_text("[[rules]]\nkeep_days = 365\n")
    begun: list[str] = []
    enter = Periodic.__aenter__

    async def begin(worker: Periodic) -> Periodic:
        begun.append(type(worker).__name__)
        return await enter(worker)

    monkeypatch.setattr(Periodic, "__aenter__", begin)
    monkeypatch.chdir(tmp_path)
    app = make_app(load(database="memory://", retention=policy))
    async with app.router.lifespan_context(app):
        # `Worker` has the recorded answers and the requests that expire; the turns and the dead turns begin with it.
        await app.state.worker.arun_once()
        assert {*begun} == {"Worker", "TurnWorker", "DeadTurns", "RetentionWorker"}
