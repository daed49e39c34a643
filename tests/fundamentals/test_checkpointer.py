"""Any LangGraph graph gets Holdfast by changing one line."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from holdfast import HoldfastSaver, open_checkpointer
from holdfast.errors import DamagedThread, ThreadConflict
from tests.support.cli_kit import Run

THREAD: Any = {"configurable": {"thread_id": "ada-1"}}

TWO_STEPS = """
import os, signal
from langgraph.graph import START, MessagesState, StateGraph
from holdfast import open_checkpointer

def first(state):
    print("first runs")
    return {"messages": [("ai", "The first step is done.")]}

def second(state):
    if DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"messages": [("ai", "The second step is done.")]}

builder = StateGraph(MessagesState).add_sequence([first, second]).add_edge(START, "first")
with open_checkpointer("sqlite:///chat.db") as checkpointer:
    graph = builder.compile(checkpointer=checkpointer)
    asked = {"messages": [("user", "Hello")]} if DIES else None
    found = graph.invoke(asked, {"configurable": {"thread_id": "ada-1"}}, durability="sync")
    print(*(message.text for message in found["messages"]), sep="\\n")
"""

SAYS_ME_TOO = """
from langgraph.graph import START, MessagesState, StateGraph
from holdfast import open_checkpointer

def model(state):
    return {"messages": [("ai", "So do I.")]}

builder = StateGraph(MessagesState).add_node(model).add_edge(START, "model")
with open_checkpointer("sqlite:///agent.db") as checkpointer:
    thread = {"configurable": {"thread_id": "ada-1"}}
    builder.compile(checkpointer=checkpointer).invoke({"messages": [("user", "Me too!")]}, thread)
"""


def chat(checkpointer: Any) -> Any:
    """A graph that answers what it is told."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [AIMessage(f"You said: {state['messages'][-1].text}")]})
    builder.add_edge(START, "model")
    return builder.compile(checkpointer=checkpointer)


def say(checkpointer: Any, text: str) -> list[str]:
    """Say something in thread `ada-1`. Return all that was said in it."""
    found = chat(checkpointer).invoke({"messages": [("user", text)]}, THREAD)
    return [message.text for message in found["messages"]]


def test_a_conversation_goes_on_when_the_database_is_opened_again() -> None:
    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        say(checkpointer, "Hello")
    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        assert say(checkpointer, "Still there?") == [
            "Hello",
            "You said: Hello",
            "Still there?",
            "You said: Still there?",
        ]


async def test_the_same_object_serves_invoke_and_ainvoke() -> None:
    async with open_checkpointer("sqlite:///chat.db") as checkpointer:
        graph = chat(checkpointer)
        await graph.ainvoke({"messages": [("user", "Hello")]}, THREAD)
        assert len(say(checkpointer, "Still there?")) == 4


def test_each_message_is_one_row_that_sql_can_read() -> None:
    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        say(checkpointer, "Hello")
        say(checkpointer, "Still there?")
    with sqlite3.connect("chat.db") as database:
        assert database.execute("SELECT role, content FROM holdfast_messages ORDER BY seq").fetchall() == [
            ("human", "Hello"),
            ("ai", "You said: Hello"),
            ("human", "Still there?"),
            ("ai", "You said: Still there?"),
        ]
    database.close()


def test_every_old_checkpoint_stays_complete(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "Hello")
    say(checkpointer, "Still there?")
    states = chat(checkpointer).get_state_history(THREAD)
    assert [len(state.values["messages"]) for state in states] == [4, 3, 2, 2, 1, 0]


def test_a_run_that_was_killed_goes_on_in_another_process_where_it_stopped(another_process: Run) -> None:
    killed = another_process(f"DIES = True\n{TWO_STEPS}")
    assert killed.returncode == -9
    resumed = another_process(f"DIES = False\n{TWO_STEPS}")
    assert resumed.stdout.splitlines() == ["Hello", "The first step is done.", "The second step is done."]


def test_two_writers_never_lose_a_message(checkpointer: HoldfastSaver, another_process: Run) -> None:
    def model(_: MessagesState) -> dict[str, Any]:
        assert another_process(SAYS_ME_TOO).returncode == 0
        return {"messages": [AIMessage("I know nothing of the other one.")]}

    slow = StateGraph(MessagesState).add_node(model).add_edge(START, "model").compile(checkpointer=checkpointer)
    with pytest.raises(ThreadConflict, match="ada-1"):
        slow.invoke({"messages": [("user", "Hello")]}, THREAD, durability="sync")
    said = [message.text for message in chat(checkpointer).get_state(THREAD).values["messages"]]
    assert said == ["Hello", "Me too!", "So do I."]


def test_a_message_row_that_is_missing_is_an_error_and_never_a_shorter_conversation() -> None:
    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        say(checkpointer, "Hello")
    with sqlite3.connect("chat.db") as database:
        database.execute("DELETE FROM holdfast_messages WHERE content = 'Hello'")
    database.close()
    with open_checkpointer("sqlite:///chat.db") as checkpointer, pytest.raises(DamagedThread, match="ada-1"):
        chat(checkpointer).get_state(THREAD)


def test_a_database_of_langgraphs_own_saver_opens_as_it_is() -> None:
    with SqliteSaver.from_conn_string("chat.db") as stock:
        say(stock, "Hello")
    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        assert say(checkpointer, "Still there?")[:3] == ["Hello", "You said: Hello", "Still there?"]
