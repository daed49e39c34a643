"""A very long conversation: the messages in its state, those that the model sees, and the summary of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import SystemMessage
from langchain_core.tools import tool

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, Token, build_graph, needs_approval
from holdfast.graph.context import tokens
from holdfast.graph.context.summary import HEADER
from holdfast.graph.messages import EFFECT
from holdfast.graph.shop import shop_tools
from tests.support.graph_kit import THREAD, calls
from tests.support.kit import rows
from tests.support.long_talk import SMALL, Listener, filled, say, summary, talk_of, texts
from tests.support.world import World


@pytest.fixture
def model() -> Listener:
    return Listener()


def steps(saver: HoldfastSaver) -> int:
    found = saver.get_tuple(THREAD)
    return found.metadata["step"] if found else -2  # the first one of a thread is -1


@pytest.mark.sweep
def test_after_sixty_turns_the_state_is_as_small_as_ever_and_nothing_is_lost(
    saver: HoldfastSaver, model: Listener
) -> None:
    talk = talk_of(saver, model)
    said: dict[str, str] = {}
    shortened = 0
    for number in range(60):
        before, noted = steps(saver), len(model.notes)
        say(talk, filled(number), asynchronous=number % 2 == 1)
        state = [message for message in talk.context() if message.name != "summary"]
        said |= {str(message.id): message.text for message in state}
        assert tokens(state) <= SMALL.budget + 60
        assert tokens([m for m in model.seen[-1] if m.type != "system"]) <= SMALL.budget
        # One step more where messages left, and none where none did.
        assert steps(saver) - before == 3 + len(model.notes) - noted
        shortened += len(model.notes) - noted
    assert len(said) == 120
    assert 5 < shortened < 30

    notes = summary(saver)
    assert isinstance(notes, SystemMessage)
    assert notes.text == f"notes {shortened}"
    assert model.seen[-1][0].text == f"{HEADER}\n\n{notes.text}"
    assert "<notes>" not in model.notes[0]
    assert all(f"notes {number}\n</notes>" in model.notes[number] for number in range(1, shortened))
    noted_once = "".join(model.notes) + "".join(texts(talk.context()))
    assert all(noted_once.count(filled(number).strip()) >= 1 for number in range(60)), "no message was left out"

    kept = {
        str(message.id): message.text
        for found in saver.list(THREAD)
        for message in found.checkpoint["channel_values"].get("messages", [])
    }
    assert kept == said, "older checkpoints still have it"
    stored = rows(saver, "SELECT count(*) FROM holdfast_messages WHERE channel = 'messages'")
    assert stored == [(120,)]
    assert rows(saver, "SELECT count(*) FROM holdfast_messages WHERE channel = 'summary'") == [(shortened,)]


@pytest.mark.sweep
def test_the_offline_model_knows_what_has_left_in_another_process_and_says_no_notes_aloud(
    saver: HoldfastSaver, other: HoldfastSaver, tmp_path: Path
) -> None:
    def agent(saver: HoldfastSaver) -> Any:
        return build_graph(tools=shop_tools(tmp_path / "shop.db"), checkpointer=saver, context=SMALL)

    ada = Conversation(agent(saver), "ada-1")
    heard = ""
    for text in ("Hi there.", "My name is Ada.", *map(filled, range(10))):
        heard += "".join(event.text for event in ada.stream(text) if isinstance(event, Token))
    assert "My name is Ada." not in texts(ada.context())
    assert "not a summary" in summary(saver).text
    assert "not a summary" not in heard
    assert heard.count("simple rules, not a language model") == 1

    before = summary(saver)
    for number in range(10, 16):
        told = agent(other).stream({"messages": [("user", filled(number))]}, THREAD, stream_mode="messages")
        assert {where["langgraph_node"] for _, where in told} == {"model"}
    assert summary(saver) != before
    ada = Conversation(agent(other), "ada-1")
    assert ada.send("What is my name?").text == "Your name is Ada."
    assert ada.send("What did I ask first?").text == 'The first thing you wrote was: "Hi there."'


@pytest.mark.sweep(every=2)
@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("again", [False, True])
def test_a_run_that_dies_over_a_summary_is_made_again(saver: HoldfastSaver, model: Listener, again: bool) -> None:
    def die(_: int) -> str:
        raise KeyboardInterrupt

    talk = talk_of(saver, model)
    for number in range(4):
        talk.send(filled(number))
    model.noting = die
    with pytest.raises(KeyboardInterrupt):
        talk.send(filled(4))
    model.noting = "notes {}".format
    reply = talk.retry() if again else talk.send("are you there?")
    assert reply.text == f"answer to {filled(4) if again else 'are you there?'}"
    assert summary(saver) is not None
    assert filled(4) in texts(talk.context())


@pytest.mark.sweep
def test_a_doubt_stays_in_the_state_until_a_person_settles_it_and_the_verdict_takes_its_place(
    saver: HoldfastSaver, model: Listener, world: World
) -> None:
    world.behave = lambda: 1 / 0
    model.wants = [calls(("pay", {"order_id": 1}))]
    talk = talk_of(saver, model, tools=[world.tool()])
    talk.send("pay")
    for number in range(8):
        talk.send(filled(number))
        assert [pending.kind for pending in talk.pending()] == ["doubt"]
    assert tokens(talk.context()) <= SMALL.budget + 200
    assert "pay" not in texts(talk.context())
    assert model.notes

    talk.settle("happened", result="paid, says the bank")
    assert [message.text for message in talk.context() if EFFECT in message.additional_kwargs] == [
        "paid, says the bank"
    ]
    assert world.done == [1]
    for number in range(8, 16):
        assert talk.send(filled(number)).pending == []
    assert "paid, says the bank" not in texts(talk.context())
    assert "paid, says the bank" in "".join(model.notes)


def test_a_call_that_waits_is_closed_before_its_message_may_leave(saver: HoldfastSaver, model: Listener) -> None:
    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund an order."""
        return f"order {order_id} refunded " + "so " * 400

    talk = talk_of(saver, model, tools=[refund])
    model.wants = [calls(("refund", {"order_id": number})) for number in (1, 2)]
    talk.send("Refund order 1")
    noted = len(model.notes)
    assert talk.approve().pending[0].args == {"order_id": 2}
    assert len(model.notes) == noted == 0, "within a turn nothing leaves"
    assert texts(model.seen[-1])[0] == "Refund order 1"
    assert talk.send("Never mind.").text == "answer to Never mind."
    assert "had not been approved" in "".join(model.notes)
    assert texts(talk.context())[1:] == ["Never mind.", "answer to Never mind."]


@pytest.mark.sweep
def test_a_fork_from_before_has_what_was_there_then(saver: HoldfastSaver, model: Listener) -> None:
    talk = talk_of(saver, model)
    for number in range(3):
        talk.send(filled(number))
    agent = build_graph(model=model, tools=[], checkpointer=saver, context=SMALL)
    before = agent.get_state(THREAD)
    for number in range(3, 9):
        talk.send(filled(number))
    assert filled(0) not in texts(talk.context())

    told = agent.invoke({"messages": [("user", "short")]}, before.config)
    assert texts(told["messages"])[:-2] == texts(before.values["messages"])
    assert "summary" not in told
    for _ in range(2):
        agent.invoke({"messages": [("user", "another way " + filled(3))]}, THREAD)
    assert summary(saver).text == f"notes {len(model.notes)}"
    assert "<notes>" not in model.notes[-1]
    assert filled(8).strip() not in model.notes[-1]
