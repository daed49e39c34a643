"""An application talks to the agent through a `Conversation`."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from holdfast import (
    Context,
    Conversation,
    Done,
    HoldfastSaver,
    Paused,
    Token,
    ToolAnswered,
    ToolCalled,
    build_graph,
)
from holdfast.errors import ThreadBusy, UnknownThread
from tests.support.cli_kit import Run
from tests.support.graph_kit import ScriptedModel, says


@pytest.fixture
def agent(checkpointer: HoldfastSaver) -> Any:
    """The example agent, with its offline model and its shop."""
    return build_graph(checkpointer=checkpointer)


@pytest.fixture
def ada(agent: Any) -> Conversation:
    return Conversation(agent, "ada-1", user_id="ada")


def test_a_conversation_goes_on_in_another_process(ada: Conversation, another_process: Run) -> None:
    ada.send("My name is Ada.")
    tomorrow = another_process("""
from holdfast import Conversation, build_graph, open_checkpointer
with open_checkpointer("sqlite:///agent.db") as checkpointer:
    print(Conversation(build_graph(checkpointer=checkpointer), "ada-1").send("What is my name?").text)
""")
    assert tomorrow.stdout == "Your name is Ada.\n"


def test_the_agent_may_be_any_graph_with_messages_also_one_that_asks_a_question(checkpointer: HoldfastSaver) -> None:
    def greet(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Hello, {interrupt('Your name?')}.")]}

    graph = StateGraph(MessagesState).add_node("greet", greet).add_edge(START, "greet")
    talk = Conversation(graph.compile(checkpointer=checkpointer), "greeting-1")
    [question] = talk.send("Hello").pending
    assert (question.kind, question.description) == ("question", "Your name?")
    assert talk.answer("Ada", by="Ada").text == "Hello, Ada."


async def test_each_method_has_an_asynchronous_twin(ada: Conversation) -> None:
    await ada.asend("My name is Ada.")
    assert (await ada.asend("What is my name?")).text == "Your name is Ada."
    assert await ada.ahistory() == ada.history()


def test_another_users_thread_is_unknown(agent: Any, ada: Conversation) -> None:
    ada.send("My name is Ada.")
    mallory = Conversation(agent, "ada-1", user_id="mallory")
    for method in (mallory.history, mallory.pending, mallory.retry, lambda: mallory.send("What is my name?")):
        with pytest.raises(UnknownThread):
            method()


def test_a_stream_yields_text_calls_and_results_a_pause_to_be_answered_in_the_loop_and_its_end(
    ada: Conversation,
) -> None:
    kinds = []
    for event in ada.stream("Please refund order 1001."):
        kinds.append(type(event))
        if isinstance(event, Paused):
            assert "Order 1001 is refunded" in ada.approve(event.pending.interrupt_id).text
    assert set(kinds) == {Token, ToolCalled, ToolAnswered, Paused, Done}
    assert kinds[-2:] == [Paused, Done]


def test_after_a_failure_the_message_is_kept_and_retry_goes_on(checkpointer: HoldfastSaver) -> None:
    class AwayAtFirst(ScriptedModel):
        away: bool = True

        def line(self, messages: Any) -> AIMessage:
            if self.away:
                self.away = False
                raise ConnectionError("The model is away.")
            return super().line(messages)

    model = AwayAtFirst(lines=[says("Here I am.")])
    ada = Conversation(build_graph(model=model, tools=[], checkpointer=checkpointer), "ada-1")
    with pytest.raises(ConnectionError):
        ada.send("Are you there?")
    assert [message.text for message in ada.history()] == ["Are you there?"]
    assert ada.retry().text == "Here I am."


def test_a_new_message_never_blocks_a_thread_that_waits_for_a_person(ada: Conversation) -> None:
    ada.send("My name is Ada. Please refund order 1001.")
    reply = ada.send("What is my name?")
    assert (reply.text, reply.pending) == ("Your name is Ada.", [])
    closed = [message for message in ada.history() if isinstance(message, ToolMessage)][-1]
    assert "Not run" in closed.text


def test_a_caller_that_waits_too_long_for_a_thread_is_told_who_has_it(agent: Any, ada: Conversation) -> None:
    impatient = Conversation(agent, "ada-1", wait=0.01)
    turn = ada.stream("Hello")
    next(turn)
    with pytest.raises(ThreadBusy, match="ada-1") as busy:
        impatient.send("Hello!")
    assert "process" in str(busy.value)
    list(turn)
    assert impatient.send("Hello!").text


def test_a_long_conversation_is_summarised_and_its_old_messages_leave_the_state(checkpointer: HoldfastSaver) -> None:
    notes = "Ada likes long talks."
    model = ScriptedModel(lines=[says("Noted. " * 50), says(notes), says("Noted. " * 50), says(notes), says("Yes.")])
    agent = build_graph(model=model, tools=[], context=Context(budget=200), checkpointer=checkpointer)
    ada = Conversation(agent, "ada-1")
    for text in ("One. " * 50, "Two. " * 50, "Do you remember me?"):
        ada.send(text)
    assert next(message.text for message in ada.context()) == notes
    assert len(ada.context()) < len(ada.history()) == 6
    first_seen = model.seen[-1][0]
    assert isinstance(first_seen, SystemMessage)
    assert notes in first_seen.text
