"""`history` is what was said, and `context` what the model is shown."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Context, Conversation, build_graph
from tests.support.graph_kit import ScriptedModel, says

SMALL = Context("trim", budget=40)
"""Room for the newest turn."""


def talk_of(saver: Any, lines: int, context: Context = SMALL) -> Conversation:
    model = ScriptedModel(lines=[says(f"Answer {number}. " * 5) for number in range(lines)])
    return Conversation(build_graph(model=model, tools=[], context=context, checkpointer=saver), "ada-1", "ada")


def asked(messages: list[Any]) -> list[str]:
    return [message.text.strip() for message in messages if message.type == "human"]


def ask(ada: Conversation, *numbers: int) -> None:
    for number in numbers:
        ada.send(f"Question {number}.")


def test_the_history_has_the_messages_that_have_left_the_state(saver: HoldfastSaver) -> None:
    ada = talk_of(saver, 4)
    ask(ada, 0, 1, 2, 3)
    assert len(ada.context()) < 8
    assert [message.type for message in ada.history()] == ["human", "ai"] * 4
    assert asked(ada.history()) == [f"Question {number}." for number in range(4)]


def test_the_summary_is_in_the_context_and_not_in_the_history(saver: HoldfastSaver) -> None:
    lines = [says("Noted. " * 50), says("Ada talks."), says("Noted. " * 50), says("Ada talks.")]
    agent = build_graph(model=ScriptedModel(lines=lines), tools=[], context=Context(budget=200), checkpointer=saver)
    ada = Conversation(agent, "ada-1")
    ada.send("One. " * 50)
    ada.send("Two. " * 50)
    first, *rest = ada.context()
    assert isinstance(first, SystemMessage)
    assert first.text == "Ada talks."
    assert not any(isinstance(message, SystemMessage) for message in ada.history())
    assert rest == ada.history()[-len(rest) :]


@pytest.mark.sweep
def test_what_was_undone_is_not_in_the_history_also_when_what_came_later_has_left_the_state(
    saver: HoldfastSaver,
) -> None:
    ada = talk_of(saver, 9)
    ask(ada, 0, 1)
    ada.undo()
    ask(ada, 2, 3)
    ada.undo()
    ada.undo()
    ask(ada, 4, 5, 6)
    assert asked(ada.history()) == [f"Question {number}." for number in (0, 4, 5, 6)]


def test_a_message_whose_turn_was_stopped_before_its_first_step_is_in_the_context_of_the_next_one(
    saver: HoldfastSaver,
) -> None:
    ada = talk_of(saver, 2, Context())
    given, config = (
        {"messages": [HumanMessage("Question 0.")]},
        {"configurable": {"thread_id": "ada-1", "user_id": "ada"}},
    )
    with closing(ada._agent.stream(given, config, stream_mode="checkpoints", durability="sync")) as steps:
        next(steps)  # the input is saved, and no step has read it
    assert asked(ada.history()) == ["Question 0."]
    ask(ada, 1)
    assert asked(ada.context()) == asked(ada.history()) == ["Question 0.", "Question 1."]
    ask(ada, 2)
    assert len(ada.context()) == 5


def test_an_input_of_several_messages_is_undone_as_one_turn(saver: HoldfastSaver) -> None:
    ada, config = talk_of(saver, 3), {"configurable": {"thread_id": "ada-1", "user_id": "ada"}}
    ask(ada, 0)
    ada._agent.invoke({"messages": [HumanMessage("Question 1."), HumanMessage("Question 2.")]}, config)
    ada.undo()
    assert asked(ada.history()) == ["Question 0."]


def test_after_a_restart_the_history_begins_anew(saver: HoldfastSaver) -> None:
    ada = talk_of(saver, 3)
    ask(ada, 0, 1)
    ada.restart()
    ask(ada, 2)
    assert asked(ada.history()) == ["Question 2."]


def test_an_edited_message_keeps_its_place_and_a_removed_one_was_said(saver: HoldfastSaver) -> None:
    ada, config = talk_of(saver, 2, Context("off")), {"configurable": {"thread_id": "ada-1", "user_id": "ada"}}
    ask(ada, 0, 1)
    first, second, third, _ = ada.history()
    edited = AIMessage("Another answer.", id=second.id)
    ada._agent.update_state(config, {"messages": [edited, RemoveMessage(id=third.id or "")]}, as_node="model")
    assert [message.id for message in ada.history()][:3] == [first.id, second.id, third.id]
    assert ada.history()[1].text == "Another answer."


async def test_the_answer_to_a_call_that_was_closed_later_is_behind_its_call(saver: HoldfastSaver) -> None:
    ada = Conversation(build_graph(checkpointer=saver), "ada-1")
    ada.send("Please refund order 1001.")
    ada.send("What is my name?")
    assert ada.history() == ada.context() == await ada.ahistory() == await ada.acontext()
    assert [message.type for message in ada.history()][-4:] == ["ai", "tool", "human", "ai"]


@pytest.mark.parametrize("context", [SMALL, Context("off")])
def test_over_another_checkpointer_the_history_is_what_the_state_has(context: Context) -> None:
    ada = talk_of(InMemorySaver(), 3, context)
    ask(ada, 0, 1, 2)
    assert ada.history() == ada.context()


def test_a_conversation_that_has_not_begun_has_no_history(saver: HoldfastSaver) -> None:
    ada = talk_of(saver, 0)
    assert (ada.history(), ada.context()) == ([], [])
