"""A worker that is killed at any commit loses no accepted turn, says nothing twice and books nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.worker import Worker
from tests.support import children
from tests.support.runs_kit import accept_and_work_or_die, booking, let_claims_expire, work_or_die


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_at_any_commit_is_followed_by_another(url: str, tmp_path: Path) -> None:
    with open_checkpointer(url) as saver:
        for commit in range(200):
            effects = tmp_path / f"{commit}"
            talk = booking(saver, effects, f"t{commit}")
            run = talk.submit("room 7")
            came_to = children.run(work_or_die, url, str(effects), commit)
            let_claims_expire(saver)
            Worker(talk._agent).run_once()
            assert saver.runs.get(run.run_id).state == "done", commit
            for doubt in talk.pending():  # recorded as started, and not as done
                assert doubt.kind == "doubt"
                talk.settle("happened" if effects.exists() else "run_again", result="done")
            history = talk.history()
            assert [m.text for m in history if isinstance(m, HumanMessage)] == ["room 7"], commit
            assert (effects.read_text(), history[-1].text) == ("room 7\n", "booked"), commit
            if came_to != -9:
                break
        else:
            pytest.fail("it never came to its end")
    assert commit > 10


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_a_process_that_is_killed_while_it_accepts_and_begins_a_turn_is_followed_by_another(
    url: str, tmp_path: Path
) -> None:
    with open_checkpointer(url) as saver:
        for commit in range(200):
            effects = tmp_path / f"{commit}"
            came_to = children.run(accept_and_work_or_die, url, str(effects), commit)
            let_claims_expire(saver)
            talk = booking(saver, effects, effects.name)
            Worker(talk._agent).run_once()
            runs = saver.runs.list(effects.name)
            assert runs or not Path(f"{effects}.accepted").exists(), commit
            assert all(run.state == "done" for run in runs), commit
            for _ in talk.pending():  # recorded as started, and not as done
                talk.settle("happened" if effects.exists() else "run_again", result="done")
            history = talk.history()
            assert [m.text for m in history if isinstance(m, HumanMessage)] == ["room 7"] * len(runs), commit
            assert (effects.read_text() if runs else "") == "room 7\n" * len(runs), commit
            if came_to != -9:
                break
        else:
            pytest.fail("it never came to its end")
    assert came_to == "done"
    assert commit > 10
