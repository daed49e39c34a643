"""Messages in a `DeltaChannel` are in the transcript, the counts and the search like all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph.types import Command, Send, interrupt

from holdfast.checkpoints import HoldfastSaver, MessageEntry, convert
from holdfast.checkpoints.errors import DamagedThread, ThreadConflict
from tests.support.dialects import WRITES, dialect_of
from tests.support.index_kit import assert_counted, of_run
from tests.support.kit import change, checkpoint, put, rows, thread
from tests.support.stock_kit import holdfast, in_stock


class Plain(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Delta(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=10)]


class Nothing(Exception):
    pass


def desk(saver: Any, state: type[Any]) -> Any:
    """A graph that calls two tools at once; one may ask a person, or fail, while the other has a result already."""

    def call(state: Any) -> dict[str, Any]:
        number, text = len(state["messages"]), state["messages"][-1].text
        calls = [{"name": "look", "args": {"at": text}, "id": f"c{number}{n}", "type": "tool_call"} for n in "ab"]
        return {"messages": [AIMessage("", id=f"call-{number}", tool_calls=calls)]}

    def to_tools(state: Any) -> list[Send]:
        return [Send("look", call) for call in state["messages"][-1].tool_calls]

    def look(call: Any) -> dict[str, Any]:
        found = text = call["args"]["at"]
        if call["id"].endswith("b"):
            if text == "ask":
                found = interrupt(text)
            if text == "fail":
                raise Nothing
        return {"messages": [ToolMessage(f"seen {found}", id=f"seen-{call['id']}", tool_call_id=call["id"])]}

    def answer(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("Done.", id=f"done-{len(state['messages'])}")]}

    builder = StateGraph(state)
    for node in (call, look, answer):
        builder.add_node(node)
    builder.add_edge(START, "call")
    builder.add_conditional_edges("call", to_tools, ["look"])
    builder.add_edge("look", "answer")
    return builder.compile(checkpointer=saver)


Step = Callable[[Any, Any, Any], Any]


def say(text: str) -> Step:
    def step(graph: Any, at: Any, durability: Any) -> None:
        try:
            graph.invoke(
                {"messages": [{"role": "user", "content": text, "id": f"say-{text}"}]}, at, durability=durability
            )
        except Nothing:
            return

    return step


def update(*messages: Any) -> Step:
    return lambda graph, at, _: graph.update_state(at, {"messages": list(messages)}, as_node="answer")


STEPS: list[Step] = [
    say("one"),
    say("ask"),
    lambda graph, at, durability: graph.invoke(Command(resume="this"), at, durability=durability),
    update(HumanMessage("One!", id="say-one"), RemoveMessage(id="call-1")),
    say("fail"),
    say("two"),  # in place of what failed
    update(AIMessage("By the way.", id="aside")),
]


def said(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[Any]:
    return [(e.role, e.message_id, e.text) for e in saver.transcript(thread_id) if isinstance(e, MessageEntry)]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_messages_that_tasks_wrote_to_a_delta_channel_are_said_as_with_a_plain_one(
    saver: HoldfastSaver, durability: str
) -> None:
    plain, delta = (desk(saver, state) for state in (Plain, Delta))
    for step in STEPS:
        step(plain, thread("plain"), durability)
        step(delta, thread("delta"), durability)
        # Tasks that run at once are done in any order.
        assert sorted(said(saver, "delta")) == sorted(said(saver, "plain"))

    both = [saver.threads.get(name) for name in ("plain", "delta")]
    assert {(found.messages, found.title, found.bytes) for found in both} == {(19, "one", both[0].bytes)}
    assert len(saver.search.find("seen", thread_id="delta")) == 6
    channels = rows(saver, "SELECT DISTINCT channel FROM holdfast_messages WHERE checkpoint_id IS NOT NULL")
    assert channels == [("messages",)]
    before = said(saver, "delta")
    saver.prune(["delta"])
    assert said(saver, "delta") == before
    assert_counted(saver)


def test_a_delta_thread_is_forked_undone_and_taken_back_as_a_plain_one(saver: HoldfastSaver) -> None:
    for name, state in (("plain", Plain), ("delta", Delta)):
        graph = desk(saver, state)
        for number, text in enumerate(("one", "two", "three")):
            say(text)(graph, of_run(name, f"{name}-{number}", user_id="ada"), "sync")
        saver.threads.fork(name, f"{name}-copy", message_id="seen-c6b")
        graph.update_state(thread(f"{name}-copy"), {"messages": [AIMessage("on", id="on")]}, as_node="answer")
        saver.threads.undo(name)
        saver.delete_for_runs([f"{name}-2"])
        assert_counted(saver)

    assert sorted(said(saver, "delta-copy")) == sorted(said(saver, "plain-copy"))
    assert [text for role, _, text in said(saver, "delta-copy") if role != "tool"][-3:] == ["two", "", "on"]
    assert sorted(said(saver, "delta")) == sorted(said(saver, "plain"))
    assert [text for *_, text in said(saver, "delta")][-2:] == ["seen two", "Done."]
    whose = "SELECT DISTINCT thread_id, run_id, user_id FROM holdfast_transcript WHERE thread_id IN ('plain', 'delta')"
    assert len(rows(saver, whose)) == 4


async def test_a_write_that_no_checkpoint_is_made_of_is_not_said(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    graph = desk(saver, Delta)
    say("one")(graph, thread(), "sync")
    before, head = said(saver), saver.get_tuple(thread())
    assert head is not None
    lost = [("messages", [AIMessage("a lost message", id="lost")])]
    saver.put_writes(head.config, lost, "00000000-0000-0000-0000-0000000000aa")
    assert said(saver) == before, "a process that was killed here"

    say("ask")(graph, thread(), "sync")
    assert said(saver)[len(before) :] == [("human", "say-ask", "ask"), ("ai", "call-6", "")]
    await desk(other, Delta).ainvoke(Command(resume="this"), thread())
    assert [text for *_, text in said(saver)][-3:] == ["seen ask", "seen this", "Done."]

    late = saver.get_tuple(thread())
    assert late is not None
    before = said(saver)
    update(AIMessage("first", id="first"))(graph, thread(), "sync")
    saver.put_writes(late.config, lost, "00000000-0000-0000-0000-0000000000bb")
    with pytest.raises(ThreadConflict):
        put(saver, late.config, checkpoint([]), counters_since_delta_snapshot={"messages": [1, 1]})
    assert said(saver) == [*before, ("ai", "first", "first")]
    assert_counted(saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("made_by", ["stock", "an older version"])
def test_earlier_writes_are_said_as_soon_as_the_thread_is_in_the_index(url: str, made_by: str) -> None:
    def talk(saver: Any) -> None:
        for step in STEPS[:3]:
            step(desk(saver, Delta), thread(), "sync")

    if made_by == "stock":
        in_stock(url, talk)
    with holdfast(url) as saver:
        if made_by == "stock":
            saver.threads.index("ada-1")  # as an upgrade does
            convert.compact_thread(saver.database, "ada-1")
        else:
            talk(saver)
            before = said(saver)
            change(saver, "UPDATE holdfast_messages SET checkpoint_id = NULL WHERE role <> 'human'")
            change(saver, "UPDATE holdfast_threads SET head = NULL")
            assert len(said(saver)) == 2
            saver.threads.index("ada-1")
            assert said(saver) == before
        assert [text for _, _, text in said(saver)].count("Done.") == 2
        found = saver.threads.get("ada-1")
        assert (found.title, found.messages, len(said(saver))) == ("one", 10, 10)
        assert_counted(saver)


def test_a_checkpoint_is_not_saved_over_a_write_that_is_damaged(saver: HoldfastSaver) -> None:
    graph = desk(saver, Delta)
    say("ask")(graph, thread(), "sync")
    table, column = WRITES[dialect_of(saver)]
    config = graph.get_state(thread()).config
    change(saver, f"UPDATE {table} SET {column} = :cut WHERE type = 'holdfast-1' AND channel = 'messages'", cut=b"\x81")
    with pytest.raises(DamagedThread, match="channel 'messages'"):
        put(saver, config, checkpoint([]), counters_since_delta_snapshot={"messages": [1, 1]})
