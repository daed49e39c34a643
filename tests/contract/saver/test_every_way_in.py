"""A conversation goes on where it stopped, by every way in."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import InvalidThread, NotOpen
from tests.support.kit import change, echo_graph, rows, texts, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


def say(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_a_conversation_goes_on_where_it_stopped(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)

    graph.invoke(say("one"), thread())
    graph.invoke(say("two"), thread())

    assert texts(saver) == ["one", "You said: one", "two", "You said: two"]


async def test_the_same_object_serves_invoke_and_ainvoke(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)

    await graph.ainvoke(say("one"), thread())
    await asyncio.to_thread(graph.invoke, say("two"), thread())
    await graph.ainvoke(say("three"), thread())

    assert texts(saver)[::2] == ["one", "two", "three"]


@pytest.mark.sweep
def test_one_object_serves_several_threads_and_event_loops_at_once(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)

    def talk(number: int) -> None:
        for turn in range(3):
            if number % 2:
                graph.invoke(say(f"{number}.{turn}"), thread(f"t{number}"))
            else:
                asyncio.run(graph.ainvoke(say(f"{number}.{turn}"), thread(f"t{number}")))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(talk, range(6)))

    for number in range(6):
        assert texts(saver, f"t{number}")[::2] == [f"{number}.{turn}" for turn in range(3)]


async def test_a_checkpointer_opens_and_closes_on_an_event_loop(url: str) -> None:
    async with open_checkpointer(url) as saver:
        await echo_graph(saver).ainvoke(say("one"), thread())
        assert [item async for item in saver.alist(thread(), limit=1)]

    with pytest.raises(NotOpen, match="with open_checkpointer"):
        await saver.aget_tuple(thread())


def test_a_checkpointer_that_was_closed_says_how_to_open_it(url: str) -> None:
    saver = open_checkpointer(url)
    saver.close()
    with pytest.raises(NotOpen, match="with open_checkpointer"):
        saver.get_tuple(thread())


def test_a_file_or_a_server_remembers_after_the_checkpointer_was_closed(shared_url: str) -> None:
    with open_checkpointer(shared_url) as saver:
        echo_graph(saver).invoke(say("one"), thread())
    with open_checkpointer(shared_url) as saver:
        echo_graph(saver).invoke(say("two"), thread())
        assert texts(saver) == ["one", "You said: one", "two", "You said: two"]


@pytest.mark.parametrize("form", ["object", "dict", "tuple"])
def test_each_message_is_one_row_in_the_order_it_was_said(saver: HoldfastSaver, form: str) -> None:
    graph = echo_graph(saver, reply=lambda message: f"answer to {message.text}")
    for turn in range(3):
        text = f"question {turn} " * 20
        message: Any = {
            "object": HumanMessage(text),
            "dict": {"role": "user", "content": text},
            "tuple": ("user", text),
        }[form]
        # With "async" a task's write may be saved before the input that it answers.
        graph.invoke({"messages": [message]}, thread(), durability="sync")

    found = rows(saver, "SELECT role, content, ns, channel FROM holdfast_messages ORDER BY seq")
    assert [(role, ns, channel) for role, _, ns, channel in found] == [
        (role, "", "messages") for _ in range(3) for role in ("human", "ai")
    ]
    assert [content for _, content, *_ in found] == texts(saver)


def test_the_same_words_said_twice_are_two_messages(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver, reply=lambda _: "ok")
    for _ in range(3):
        graph.invoke({"messages": [HumanMessage("yes")]}, thread())

    assert texts(saver) == ["yes", "ok"] * 3
    found = saver.get_tuple(thread())
    assert found is not None
    assert len({message.id for message in found.checkpoint["channel_values"]["messages"]}) == 6


def test_every_load_gives_objects_of_its_own(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke(say("one"), thread())
    first, second = saver.get_tuple(thread()), saver.get_tuple(thread())
    assert first is not None
    assert second is not None

    first.checkpoint["channel_values"]["messages"][0].content = "changed"

    assert second.checkpoint["channel_values"]["messages"][0].content == "one"
    assert texts(saver)[0] == "one"


def test_a_message_changed_in_place_is_noticed(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke(say("one"), thread())

    def rewrite(state: dict[str, Any]) -> dict[str, Any]:
        state["messages"][0].content = "rewritten"
        state["messages"][1].additional_kwargs["seen"] = True
        return {"messages": [AIMessage("done")]}

    from langgraph.graph import START, MessagesState, StateGraph

    builder = StateGraph(MessagesState)
    builder.add_node("model", rewrite)
    builder.add_edge(START, "model")
    builder.compile(checkpointer=saver).invoke(say("two"), thread())

    found = saver.get_tuple(thread())
    assert found is not None
    messages = found.checkpoint["channel_values"]["messages"]
    assert [message.text for message in messages] == ["rewritten", "You said: one", "two", "done"]
    assert messages[1].additional_kwargs == {"seen": True}


def test_the_threads_that_were_written_last_come_first(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    for thread_id in ["t1", "t2", "t3", "t1"]:
        graph.invoke(say("hello"), thread(thread_id))

    heads = saver.heads(2)

    assert [head.thread_id for head in heads] == ["t1", "t3"]
    assert [head.checkpoint_id for head in heads] == [
        graph.get_state(thread(name)).config["configurable"]["checkpoint_id"] for name in ["t1", "t3"]
    ]
    change(saver, "UPDATE holdfast_threads SET head = NULL WHERE thread_id = 't2'")  # as a saver of LangGraph leaves it
    assert [head.thread_id for head in saver.heads(3)] == ["t1", "t3", "t2"]
    assert saver.heads(thread_id="t1") == heads[:1]
    assert heads[0].first_id == min(item.checkpoint["id"] for item in saver.list(thread("t1")))
    assert saver.heads(thread_id="t9") == []


@pytest.mark.parametrize("bad", ["", "x" * 1025, "a\0b", "\udc80"])
def test_a_thread_id_that_cannot_be_a_key_is_refused(saver: HoldfastSaver, bad: str) -> None:
    with pytest.raises(InvalidThread, match="1 to 1024 bytes of text without NUL"):
        saver.get_tuple(thread(bad))
    with pytest.raises(InvalidThread):
        echo_graph(saver).invoke(say("hello"), thread(bad))


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("odd", ["x" * 1024, "o'br\"ien", "../../etc", "\u200fright", "a\nb", "%s :x ?"])
def test_any_other_thread_id_is_just_a_key(saver: HoldfastSaver, odd: str) -> None:
    graph = echo_graph(saver)
    graph.invoke(say("hello"), thread("other"))
    graph.invoke(say("odd"), thread(odd))
    assert texts(saver, odd) == ["odd", "You said: odd"]
    assert [head.thread_id for head in saver.heads(10)] == [odd, "other"]
