"""The guarantees in an agent of deepagents, and in its subagents."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.errors import InvalidAnswer
from holdfast.graph import Conversation
from tests.support import children, deep_kit
from tests.support.kit import thread

# It brings the clients of two model providers, 86 MB with what they need, so it is not among the packages of the tests.
pytestmark = [
    pytest.mark.skipif(find_spec("deepagents") is None, reason="needs deepagents: pip install deepagents"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
    pytest.mark.usefixtures("quick"),
]


def approval(by: str) -> Any:
    return {"decisions": [{"type": "approve"}]} if by == "theirs" else {"type": "approve"}


@pytest.mark.parametrize("by", ["ours", "theirs"])
def test_an_approval_in_a_subagent_survives_kills_and_runs_once(url: str, tmp_path: Path, by: str) -> None:
    effects = tmp_path / "effects"
    asked = children.run(deep_kit.begin, url, str(effects), by)
    with open_checkpointer(url) as saver:
        [request] = saver.interrupts.waiting()
        assert [(action.name, action.args) for action in request.actions] == [("refund", {"order": 1})]
        with pytest.raises(InvalidAnswer):
            saver.interrupts.answer("ada-1", asked, {"type": "nonsense"})
        saver.interrupts.answer("ada-1", asked, approval(by), by="Ada")
    assert children.run(deep_kit.carry_out, url, str(effects), by, True) == -9
    children.run(deep_kit.carry_out, url, str(effects), by, False)
    with open_checkpointer(url) as saver:
        [request] = saver.interrupts.waiting()
        assert request.value["type"] == "effect_in_doubt"
        saver.interrupts.answer("ada-1", request.interrupt_id, {"type": "happened", "result": "refunded"}, by="Bob")
    said = children.run(deep_kit.carry_out, url, str(effects), by, False)
    assert (said[-1], effects.read_text()) == ("all done", "refund 1\n")
    with open_checkpointer(url) as saver:
        assert saver.interrupts.waiting() == saver.interrupts.todo() == []


async def test_it_is_the_same_on_an_event_loop(saver: HoldfastSaver, tmp_path: Path) -> None:
    agent = deep_kit.deep_agent(saver, tmp_path / "effects", by="ours", begins=True)
    await agent.ainvoke({"messages": [("user", "go")]}, thread())
    [request] = saver.interrupts.waiting()
    saver.interrupts.answer("ada-1", request.interrupt_id, approval("ours"))
    state = await agent.ainvoke(None, thread())
    assert (state["messages"][-1].text, (tmp_path / "effects").read_text()) == ("all done", "refund 1\n")


@pytest.mark.parametrize("by", ["ours", "theirs"])
def test_a_conversation_with_a_deep_agent_shows_and_answers_what_a_subagent_asks(
    saver: HoldfastSaver, tmp_path: Path, by: str
) -> None:
    effects = tmp_path / "effects"
    ada = Conversation(deep_kit.deep_agent(saver, effects, by=by, begins=True), "ada-1")
    [asked] = ada.send("go").pending
    assert [(action.name, action.args) for action in asked.actions] == [("refund", {"order": 1})]
    assert ada.approve(by="Grace").text == "all done"
    assert effects.read_text() == "refund 1\n"
    ada.undo()
    assert ada.history() == []
