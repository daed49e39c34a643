"""An answer to any agent is carried out, and no person is asked again, whichever process dies in between."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from langchain_core.messages import ToolMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import NothingWaits
from tests.support import agents_kit, children
from tests.support.agents_kit import KINDS, Refunds
from tests.support.graph_kit import says
from tests.support.kit import change

pytestmark = pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")

WITHOUT_LEDGER = ["langchain", "own", "asking"]
"""The agents whose tool runs again if its process is killed, as LangGraph has it."""


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_survives_kills_in_other_processes_and_is_carried_out_once(
    url: str, kind: str, tmp_path: Path
) -> None:
    effects = str(tmp_path / "effects")
    assert children.run(agents_kit.ask_and_die, url, kind, effects) == -9
    assert children.run(agents_kit.answer_and_die, url, kind, effects) == -9
    assert not Path(effects).exists()
    assert children.run(agents_kit.go_on, url, kind, effects) == "done"
    assert Path(effects).read_text() == "refund 1\n"


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_killed_at_any_commit_is_carried_out_and_not_asked_for_again(
    url: str, kind: str, tmp_path: Path
) -> None:
    with open_checkpointer(url) as saver:
        for commit in range(200):
            name, effects = f"t{commit}", tmp_path / f"{commit}"
            agents_kit.in_file(kind, saver, str(effects), begun=False, thread_id=name).send("Refund order 1")
            came_to = children.run(agents_kit.answer_or_die, url, kind, name, str(effects), commit)
            if came_to != -9:
                break
            change(saver, "DELETE FROM holdfast_leases")  # they expire: their holder is dead
            change(saver, "UPDATE holdfast_effects SET alive_until = 0")
            ada = agents_kit.in_file(kind, saver, str(effects), begun=True, thread_id=name)
            recorded, ran = saver.interrupts.waiting(thread_id=name) == [], effects.exists()
            assert bool(ada.pending()) == (not recorded)
            if not recorded:
                assert not ran
                ada.answer(agents_kit.YES[kind], by="Grace")
            with suppress(NothingWaits):
                ada.retry()
            for doubt in ada.pending():  # recorded as started, and not as done
                assert doubt.kind == "doubt"
                ada.settle("happened" if ran else "run_again")
            assert ada.history()[-1].text == "done"
            made = len(effects.read_text().splitlines()) if effects.exists() else 0
            assert made == 1 or (ran and kind in WITHOUT_LEDGER and made == 2)
            assert saver.interrupts.todo() == saver.interrupts.waiting() == []
    assert came_to == "done"
    assert commit > 5


@pytest.mark.sweep
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["middleware"])
def test_a_call_in_doubt_is_left_to_the_middleware_that_recorded_it(url: str, saver: HoldfastSaver, kind: str) -> None:
    Refunds(kind, saver).ada.send("Refund order 1")
    assert children.run(agents_kit.die_in_tool, url, kind) == -9
    refunds = Refunds(kind, saver, says("so be it"), says("later"))
    assert refunds.ada.send("And?").text == "so be it"
    [closed] = [message for message in refunds.ada.history() if isinstance(message, ToolMessage)]
    assert closed.additional_kwargs["effect"]["state"] == "in_doubt"
    assert ([found.tool for found in saver.effects.in_doubt()], refunds.made) == (["refund"], [])
