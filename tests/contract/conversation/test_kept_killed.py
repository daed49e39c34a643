"""A call that waits while people talk runs once after one request, whichever process dies in between."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import Conversation, NothingWaits
from tests.support import children, kept_kit
from tests.support.kept_kit import in_file
from tests.support.kit import change

APPROVE = {"type": "approve"}


def asked_in(saver: HoldfastSaver, effects: Path, name: str) -> tuple[Conversation, str]:
    ada = in_file(saver, str(effects), name)
    [asked] = ada.send("Refund order 1").pending
    return ada, asked.interrupt_id


def bury(saver: HoldfastSaver) -> None:
    """Let the leases of dead processes expire."""
    change(saver, "DELETE FROM holdfast_leases")
    change(saver, "UPDATE holdfast_effects SET alive_until = 0")


def check_done(saver: HoldfastSaver, ada: Conversation, effects: Path) -> None:
    [answer] = [message for message in ada.context() if message.type == "tool"]
    assert answer.text == "order 1 refunded"
    assert ada.history()[-1].text.startswith("I am told: ")
    assert effects.read_text() == "refund 1\n"
    assert saver.interrupts.todo() == saver.interrupts.waiting() == ada.pending() == []


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("database", "decided_first"),
    [
        ("sqlite", True),
        ("sqlite", False),
        ("postgres", True),
    ],
)
def test_a_message_that_is_killed_at_any_commit_leaves_the_request_open_under_its_id(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, decided_first: bool
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    with open_checkpointer(url) as saver:
        for commit in range(100):
            effects = tmp_path / f"{commit}"
            ada, asked = asked_in(saver, effects, f"t{commit}")
            came_to = children.run(kept_kit.talk_or_die, url, f"t{commit}", str(effects), commit)
            bury(saver)
            if decided_first:
                assert [request.interrupt_id for request in ada.pending()] == [asked]
                saver.interrupts.answer(f"t{commit}", asked, APPROVE)
                ada.retry()
            else:
                with suppress(NothingWaits):
                    ada.retry()
                assert [request.interrupt_id for request in ada.pending()] == [asked]
                ada.approve(asked)
            check_done(saver, ada, effects)
            if came_to != -SIGKILL:
                break
    assert came_to == "I am fine."
    assert commit > 10


@pytest.mark.sweep
def test_an_approval_of_a_kept_call_that_is_killed_at_any_commit_is_carried_out_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    with open_checkpointer(sqlite_url) as saver:
        for commit in range(100):
            effects = tmp_path / f"{commit}"
            ada, asked = asked_in(saver, effects, f"t{commit}")
            assert ada.send("How are you?").text == "I am fine."
            came_to = children.run(kept_kit.approve_or_die, sqlite_url, f"t{commit}", str(effects), commit)
            if came_to != -SIGKILL:
                break
            bury(saver)
            if not saver.interrupts.recorded(f"t{commit}", asked):
                assert not effects.exists()
                ada.approve(asked)
            with suppress(NothingWaits):
                ada.retry()
            for doubt in ada.pending():  # recorded as started, and not as done
                assert doubt.kind == "doubt"
                ada.settle(*(("happened",) if effects.exists() else ("run_again",)), result="order 1 refunded")
            check_done(saver, ada, effects)
    assert "order 1 refunded" in came_to
    assert commit > 3
