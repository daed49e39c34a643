"""Several people in one conversation: its members, who spoke, and people who decide and may not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NotPermitted, UnknownThread
from holdfast.graph import Conversation, build_graph, needs_approval
from holdfast.graph.conversation import NothingWaits
from tests.support.graph_kit import ScriptedModel

Talk = Callable[..., Conversation]


@needs_approval
@tool
def refund(order_id: int, config: RunnableConfig) -> str:
    """Refund an order."""
    return f"Refunded {order_id} for {config['configurable']['user_id']}."


CALL = AIMessage("", tool_calls=[{"name": "refund", "args": {"order_id": 7}, "id": "call-1"}])


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(lines=[CALL, AIMessage("Done."), AIMessage("Later.")])


@pytest.fixture
def talk(saver: HoldfastSaver, model: ScriptedModel) -> Talk:
    agent = build_graph(model=model, tools=[refund], checkpointer=saver)
    return lambda user, **more: Conversation(agent, "ada-1", user, **more)


def test_a_new_conversation_is_shared_with_its_members_from_its_first_turn(saver: HoldfastSaver, talk: Talk) -> None:
    ada, grace = talk("ada", members=["grace"]), talk("grace")
    ada.send("Please refund order 7.")
    assert saver.threads.members("ada-1") == ["grace"]
    assert [entry.kind for entry in saver.transcript("ada-1")] == ["message", "message"]
    assert len(grace.pending()) == 1
    grace.approve()
    grace.send("Thanks from me, too.")
    spoken = [(m.text, m.additional_kwargs.get("user_id")) for m in ada.history() if m.type == "human"]
    assert spoken == [("Please refund order 7.", "ada"), ("Thanks from me, too.", "grace")]
    with pytest.raises(UnknownThread):
        talk("mallory").history()
    with pytest.raises(NotPermitted):
        grace.delete()
    assert [request.thread_id for request in saver.threads.list(user_id="grace").threads] == ["ada-1"]


@pytest.mark.sweep
async def test_the_same_on_an_event_loop(saver: HoldfastSaver, talk: Talk) -> None:
    await talk("ada", members=["grace"]).asend("Please refund order 7.")
    assert await saver.threads.amembers("ada-1") == ["grace"]
    assert [event async for event in talk("grace").astream_answer({"type": "approve"})]


def test_the_model_is_told_who_speaks_and_only_in_a_shared_thread(talk: Talk, model: ScriptedModel) -> None:
    talk("ada").send("Hello")
    assert model.seen[-1][-1].text == "Hello"
    threads: Any = talk("ada")._threads
    threads.share("ada-1", "grace")
    talk("grace").send([{"type": "text", "text": "And I am Grace."}])
    assert [m.text for m in model.seen[-1] if m.type == "human"] == ["Hello", "grace: And I am Grace."]
    own = HumanMessage("My turn.", id="own")
    talk("ada").send(own)
    assert model.seen[-1][-1].text == "ada: My turn."
    assert own.additional_kwargs == {}, "the caller's message is not changed"


def test_a_turn_goes_on_for_the_user_whose_turn_it_is_whoever_decides(saver: HoldfastSaver, talk: Talk) -> None:
    talk("ada", members=["grace"]).send("Please refund order 7.")
    reply = talk("grace").approve()
    assert reply.messages[1].text == "Refunded 7 for ada."
    [result] = [entry for entry in saver.transcript("ada-1") if entry.kind == "message" and entry.role == "tool"]
    assert (result.user_id, result.approval and result.approval["by"]) == ("ada", "grace")


@pytest.mark.sweep
@pytest.mark.parametrize("way", ["send", "stream", "retry"])
def test_a_decision_on_record_is_carried_out_for_the_user_whose_turn_it_is(
    saver: HoldfastSaver, talk: Talk, way: str
) -> None:
    talk("ada", members=["grace"]).send("Please refund order 7.")
    [request] = saver.interrupts.waiting()
    saver.interrupts.answer("ada-1", request.interrupt_id, {"type": "approve"}, by="Linus")
    found = getattr(talk("grace"), way)(*([] if way == "retry" else ["And?"]))
    assert found if way != "stream" else list(found)
    [result] = [m.text for m in talk("ada").history() if m.type == "tool"]
    assert result == "Refunded 7 for ada."


def test_an_approver_decides_in_a_thread_that_is_not_theirs_and_reads_none_of_it(
    saver: HoldfastSaver, talk: Talk
) -> None:
    talk("ada").send("Please refund order 7.")
    linus = talk("linus", approver=True)
    assert [pending.name for pending in linus.pending()] == ["refund"]
    for reads in (linus.history, linus.context, linus.transcript, linus.retry, linus.undo, linus.restart, linus.delete):
        with pytest.raises(UnknownThread):
            reads()
    for writes in (lambda: linus.send("Hello"), lambda: list(linus.stream("Hello")), lambda: linus.fork("mine")):
        with pytest.raises(UnknownThread):
            writes()
    reply = linus.approve()
    assert (reply.text, reply.messages, reply.pending) == ("", [], [])
    [result] = [entry for entry in saver.transcript("ada-1") if entry.kind == "message" and entry.role == "tool"]
    assert (result.text, result.approval and result.approval["by"]) == ("Refunded 7 for ada.", "linus")


def test_the_events_of_an_approvers_answer_show_nothing_of_the_thread(talk: Talk) -> None:
    talk("ada").send("Please refund order 7.")
    [done] = talk("linus", approver=True).stream_answer({"type": "reject", "message": "No."})
    assert (done.text, done.reply.messages) == ("", [])
    assert talk("ada").history()[-1].text == "Done."


def test_without_being_said_a_user_decides_nothing_in_a_thread_that_is_not_theirs(talk: Talk) -> None:
    talk("ada").send("Please refund order 7.")
    with pytest.raises(UnknownThread):
        talk("linus").approve(by="linus")
    assert talk(None).approve(by="linus").messages, "the application vouches"
    with pytest.raises(NothingWaits):
        talk("linus", approver=True).approve()


def test_an_approver_may_also_be_a_user_of_the_thread(talk: Talk) -> None:
    talk("ada", members=["grace"]).send("Please refund order 7.")
    grace = talk("grace", approver=True)
    assert grace.approve().text == "Done."
    assert len(grace.history()) == 4


def test_over_another_checkpointer_an_approver_decides_and_members_are_refused(tmp_path: Path) -> None:
    agent = build_graph(
        model=ScriptedModel(lines=[CALL, AIMessage("Done.")]), tools=[refund], checkpointer=InMemorySaver()
    )
    with pytest.raises(TypeError, match="Holdfast's checkpointer"):
        Conversation(agent, "ada-1", "ada", members=["grace"])
    Conversation(agent, "ada-1", "ada").send("Please refund order 7.")
    assert Conversation(agent, "ada-1", "linus", approver=True).approve().text == ""
    assert Conversation(agent, "ada-1", "ada").history()[-1].text == "Done."


def test_members_and_approvers_that_cannot_be_are_refused(talk: Talk) -> None:
    with pytest.raises(TypeError, match=r"members is a str\. Needed: a Sequence of texts"):
        talk("ada", members="grace")
    with pytest.raises(ValueError, match="no user_id"):
        talk(None, members=["grace"])
    with pytest.raises(ValueError, match="user_id is None"):
        talk(None, approver=True)
