"""LangChain's chat message history over a thread: one conversation for its old programs and for LangGraph's."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import UnknownThread
from holdfast.checkpoints.threads import reset
from holdfast.histories import HoldfastChatMessageHistory
from tests.support.kit import echo_graph, thread


def chain(saver: HoldfastSaver) -> Any:
    """The program of LangChain's tutorial, with one line changed."""

    def answer(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(f"I have read {len(messages)} messages.")

    def history(session_id: str) -> BaseChatMessageHistory:
        return HoldfastChatMessageHistory(session_id, saver, user_id="ada")

    return RunnableWithMessageHistory(RunnableLambda(answer), history)


SESSION: Any = {"configurable": {"session_id": "ada-1"}}


def texts(saver: HoldfastSaver) -> list[str]:
    return [entry.text for entry in saver.transcript("ada-1", user_id="ada") if entry.kind == "message"]


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
async def test_old_turns_new_turns_and_those_of_an_agent_are_one_conversation(saver: HoldfastSaver) -> None:
    saver.threads.add("ada-1", [("user", "In 2021"), ("assistant", "Yes")], user_id="ada", at=["2021-03-01"] * 2)
    program = chain(saver)
    assert program.invoke([HumanMessage("Now")], SESSION).text == "I have read 3 messages."
    assert (await program.ainvoke([HumanMessage("And now")], SESSION)).text == "I have read 5 messages."
    echo_graph(saver).invoke({"messages": [("user", "From a graph")]}, thread("ada-1", user_id="ada"))
    assert texts(saver) == [
        "In 2021", "Yes", "Now", "I have read 3 messages.", "And now", "I have read 5 messages.",
        "From a graph", "You said: From a graph",
    ]  # fmt: skip
    assert [hit.thread_id for hit in saver.search.find("2021", user_id="ada")] == ["ada-1"]
    assert saver.threads.get("ada-1", user_id="ada").messages == 8


def test_it_is_a_table_of_messages_for_who_wants_no_more(saver: HoldfastSaver) -> None:
    history = HoldfastChatMessageHistory("ada-1", saver)
    assert history.load_conversation() == []
    history.save_message("system", "Be kind.")
    history.save_message("user", "Hello")
    history.add_ai_message("Hi")
    history.add_messages([])
    assert history.load_conversation() == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
    ]
    with pytest.raises(ValueError, match="the role 'customer'"):
        history.save_message("customer", "Hello?")
    assert len(history.messages) == 3


async def test_clear_empties_the_state_and_keeps_the_record(saver: HoldfastSaver) -> None:
    history = HoldfastChatMessageHistory("ada-1", saver, user_id="ada")
    history.clear()  # there is no thread yet
    for clear in (history.clear, history.aclear):
        history.save_message("user", "Hello")
        done = clear()
        if done is not None:
            await done
        assert (history.messages, await history.aget_messages()) == ([], [])
    assert texts(saver) == ["Hello", "Hello"]


async def test_clear_goes_on_when_another_program_adds_at_the_same_time(
    saver: HoldfastSaver, other: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = HoldfastChatMessageHistory("ada-1", saver)
    meanwhile = ["Meanwhile", "And now"]
    put = reset._put

    def put_after_another(*arguments: Any) -> None:
        if meanwhile:
            HoldfastChatMessageHistory("ada-1", other).save_message("user", meanwhile.pop())
        put(*arguments)

    monkeypatch.setattr(reset, "_put", put_after_another)
    history.save_message("user", "Hello")
    history.clear()
    assert history.messages == []
    meanwhile.append("Once more")
    history.save_message("user", "Hello")
    await history.aclear()
    assert (history.messages, meanwhile) == ([], [])


async def test_a_thread_of_another_user_is_unknown_to_every_method(saver: HoldfastSaver) -> None:
    HoldfastChatMessageHistory("ada-1", saver, user_id="ada").save_message("user", "Hello")
    hers = HoldfastChatMessageHistory("ada-1", saver, user_id="mallory")
    for call in (lambda: hers.messages, hers.clear, hers.load_conversation, lambda: hers.save_message("user", "x")):
        with pytest.raises(UnknownThread):
            call()
    for twin in (hers.aget_messages, hers.aclear, lambda: hers.aadd_messages([HumanMessage("x")])):
        with pytest.raises(UnknownThread):
            await twin()
    assert texts(saver) == ["Hello"]


def test_the_messages_are_those_that_a_model_sees(saver: HoldfastSaver) -> None:
    history = HoldfastChatMessageHistory("ada-1", saver)
    history.add_messages([HumanMessage([{"type": "text", "text": "see"}], id="h"), AIMessage("seen", id="a")])
    assert history.messages == [HumanMessage([{"type": "text", "text": "see"}], id="h"), AIMessage("seen", id="a")]
    assert repr(history) == "HoldfastChatMessageHistory('ada-1', user_id=None)"
