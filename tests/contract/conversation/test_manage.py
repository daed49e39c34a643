"""Operations on a conversation as a whole: restart, undo, fork and delete, for its user only."""

from __future__ import annotations

from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NothingToUndo, UnknownThread
from holdfast.graph import Conversation, build_graph
from tests.support.kit import rows


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example shop lies in the working directory."""
    monkeypatch.chdir(tmp_path)


def conversation(saver: HoldfastSaver, user_id: str | None = "ada") -> Conversation:
    return Conversation(build_graph(checkpointer=saver), "ada-1", user_id)


def said(talk: Conversation) -> list[str]:
    return [message.text for message in talk.history() if message.type == "human"]


def test_a_restarted_conversation_goes_on_without_messages(saver: HoldfastSaver) -> None:
    talk = conversation(saver)
    talk.send("My name is Ada.")
    talk.restart(by="Grace")
    assert talk.history() == []
    assert "not told me" in talk.send("What is my name?").text
    assert saver.threads.get("ada-1").messages == 4


def test_undo_removes_a_turn_with_all_that_followed_it(saver: HoldfastSaver) -> None:
    talk = conversation(saver)
    talk.send("My name is Ada.")
    talk.send("Please refund order 1001.")
    assert [waiting.name for waiting in talk.pending()] == ["refund_order"]
    talk.undo()
    assert (said(talk), talk.pending()) == (["My name is Ada."], [])
    assert "Ada" in talk.send("What is my name?").text
    talk.undo()
    talk.undo()
    with pytest.raises(NothingToUndo, match="ada-1"):
        talk.undo()


def test_a_fork_goes_its_own_way(saver: HoldfastSaver) -> None:
    talk = conversation(saver)
    talk.send("My name is Ada.")
    first = talk.history()[-1].id
    talk.send("My name is Grace.")
    fork = talk.fork("ada-2", message_id=first)
    assert (fork.thread_id, fork.user_id) == ("ada-2", "ada")
    assert "Ada" in fork.send("What is my name?").text
    assert "Grace" in talk.send("What is my name?").text


def test_another_user_cannot_read_or_change_it(saver: HoldfastSaver) -> None:
    conversation(saver).send("My name is Ada.")
    stranger = conversation(saver, "eve")
    for method in (stranger.restart, stranger.undo, stranger.fork, stranger.delete):
        with pytest.raises(UnknownThread, match="eve"):
            method()
    assert said(conversation(saver)) == ["My name is Ada."]


@pytest.mark.sweep
async def test_on_an_event_loop_it_is_the_same(saver: HoldfastSaver) -> None:
    talk = conversation(saver)
    await talk.asend("My name is Ada.")
    await talk.asend("Hello")
    await talk.aundo()
    fork = await talk.afork()
    await talk.arestart()
    await talk.adelete()
    assert (said(fork), said(talk)) == (["My name is Ada."], [])
    with pytest.raises(UnknownThread):
        saver.threads.get("ada-1")


def test_over_another_checkpointer_these_operations_are_refused() -> None:
    talk = Conversation(build_graph(checkpointer=InMemorySaver()), "ada-1")
    with pytest.raises(TypeError, match="Holdfast's checkpointer"):
        talk.restart()


def test_the_prompt_in_force_is_put_on_record_when_it_changes(saver: HoldfastSaver) -> None:
    for prompt in ("Be brief.", "Be brief.", "Be long.", None):
        talk = Conversation(build_graph(checkpointer=saver, tools=[], prompt=prompt), "ada-1", "ada")
        talk.send("Hello")
    events = rows(saver, "SELECT no, after_seq, kind, data FROM holdfast_events ORDER BY no")
    assert events == [(1, 1, "prompt", '{"text": "Be brief."}'), (2, 5, "prompt", '{"text": "Be long."}')]
    assert saver.database.prompts == {}
