"""A conversation from elsewhere becomes a thread, with its own times."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import AlreadyAdded, NotStorable, ThreadNotEmpty, UnknownThread
from holdfast.checkpoints.transfer import export_thread, import_thread
from tests.support.kit import echo_graph, rows, thread

BEGAN = datetime(2021, 3, 1, 9, 30, tzinfo=UTC)
TALK: list[Any] = [
    ("system", "You are kind."),
    {"role": "user", "content": "Hello, I am Ada."},
    {"role": "assistant", "content": "Hello, Ada."},
    ("system", "You are brief."),
    ("user", "Who am I?"),
    ("assistant", "Ada."),
]
TIMES = [BEGAN + timedelta(minutes=number) for number in range(len(TALK))]


def add(saver: HoldfastSaver, thread_id: str = "ada-1", **arguments: Any) -> Any:
    return saver.threads.add(thread_id, TALK, **{"user_id": "ada", "at": TIMES, **arguments})


def said(saver: HoldfastSaver, thread_id: str = "ada-1") -> list[tuple[str, str, datetime]]:
    return [(entry.role, entry.text, entry.at) for entry in saver.transcript(thread_id) if entry.kind == "message"]


def test_it_is_in_the_list_the_transcript_and_the_search_at_its_own_times(saver: HoldfastSaver) -> None:
    found = add(saver, metadata={"plan": "gold"})
    assert (found.title, found.status, found.messages, found.metadata) == (
        "Hello, I am Ada.",
        "idle",
        4,
        {"plan": "gold"},
    )
    assert (found.created_at, found.updated_at) == (TIMES[0], TIMES[-1])
    assert saver.threads.list(user_id="ada", until=BEGAN + timedelta(days=1)).threads == [found]
    assert said(saver) == [
        ("human", "Hello, I am Ada.", TIMES[1]),
        ("ai", "Hello, Ada.", TIMES[2]),
        ("human", "Who am I?", TIMES[4]),
        ("ai", "Ada.", TIMES[5]),
    ]
    assert {hit.thread_id for hit in saver.search.find("Ada", user_id="ada")} == {"ada-1"}


def test_a_system_message_is_the_prompt_from_its_place_on(saver: HoldfastSaver) -> None:
    add(saver)
    prompts = [entry for entry in saver.transcript("ada-1") if entry.kind == "event" and entry.event == "prompt"]
    assert [(entry.seq, entry.at, entry.data["text"]) for entry in prompts] == [
        (0, TIMES[0], "You are kind."),
        (2, TIMES[3], "You are brief."),
    ]
    assert saver.threads.prompt("ada-1") == "You are brief."
    assert rows(saver, "SELECT user_id, role, content FROM holdfast_transcript ORDER BY seq, role") == [
        ("ada", "system", "You are kind."),
        ("ada", "human", "Hello, I am Ada."),
        ("ada", "ai", "Hello, Ada."),
        ("ada", "system", "You are brief."),
        ("ada", "human", "Who am I?"),
        ("ada", "ai", "Ada."),
    ]


def test_any_agent_goes_on_with_it(saver: HoldfastSaver) -> None:
    add(saver)
    graph = echo_graph(saver)
    state = graph.get_state(thread("ada-1"))
    assert (state.next, [message.text for message in state.values["messages"]]) == (
        (),
        ["Hello, I am Ada.", "Hello, Ada.", "Who am I?", "Ada."],
    )
    graph.invoke({"messages": [("user", "Thank you.")]}, thread("ada-1", user_id="ada"))
    assert [text for _, text, _ in said(saver)][-2:] == ["Thank you.", "You said: Thank you."]
    assert [at for *_, at in said(saver)][:4] == [TIMES[number] for number in (1, 2, 4, 5)]
    assert saver.threads.get("ada-1", user_id="ada").messages == 6


def test_every_kind_of_message_arrives_as_it_is(saver: HoldfastSaver) -> None:
    call = {"name": "pay", "args": {"order": 1}, "id": "c-1", "type": "tool_call"}
    messages: list[BaseMessage] = [
        HumanMessage([{"type": "text", "text": "see"}, {"type": "image", "url": "data:image/png;base64,AA=="}], id="h"),
        AIMessage("", tool_calls=[call], additional_kwargs={"why": "asked"}, id="a"),
        ToolMessage("paid\0twice", tool_call_id="c-1", artifact={"receipt": 7}, id="t"),
        HumanMessage("x" * 5_000_000, id="long"),
    ]
    saver.threads.add("ada-1", messages)
    assert echo_graph(saver).get_state(thread("ada-1")).values["messages"] == messages


def test_those_who_spoke_are_on_record(saver: HoldfastSaver) -> None:
    saver.threads.add("team", [("user", "I am Ada."), ("user", "I am Bob.")], user_id="ada", users=["ada", "bob"])
    assert [entry.user_id for entry in saver.transcript("team") if entry.kind == "message"] == ["ada", "bob"]


def test_it_is_the_same_thread_in_another_database(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    add(saver)
    records = list(export_thread(saver._database, "ada-1"))
    saver.delete_thread("ada-1")
    import_thread(other._database, "ada-1", records)
    assert list(export_thread(other._database, "ada-1")) == records


@pytest.mark.parametrize("went_on", [False, True])
def test_the_same_conversation_again_is_told_and_not_doubled(saver: HoldfastSaver, *, went_on: bool) -> None:
    add(saver)
    if went_on:
        echo_graph(saver).invoke({"messages": [("user", "More.")]}, thread("ada-1", user_id="ada"))
    before = said(saver)
    with pytest.raises(AlreadyAdded, match="has this conversation already"):
        add(saver)
    with pytest.raises(AlreadyAdded):
        add(saver, at=None)
    assert said(saver) == before


def test_another_conversation_under_the_same_id_is_refused(saver: HoldfastSaver) -> None:
    add(saver)
    with pytest.raises(ThreadNotEmpty, match="is not empty"):
        saver.threads.add("ada-1", [("user", "Something else.")])
    with pytest.raises(ThreadNotEmpty):
        saver.threads.add("ada-1", [*TALK, ("user", "One more.")])


def test_a_deleted_conversation_can_be_added_again(saver: HoldfastSaver) -> None:
    add(saver)
    saver.threads.delete("ada-1")
    assert add(saver).messages == 4


def test_a_message_of_the_future_does_not_stop_the_next_turn(saver: HoldfastSaver) -> None:
    later = datetime.now(UTC) + timedelta(days=400)
    saver.threads.add("ada-1", [("user", "Hello from the future.")], at=[later])
    echo_graph(saver).invoke({"messages": [("user", "Now.")]}, thread("ada-1"))
    assert [text for _, text, _ in said(saver)] == ["Hello from the future.", "Now.", "You said: Now."]


async def test_it_has_a_twin_for_event_loops(saver: HoldfastSaver) -> None:
    assert (await saver.threads.aadd("ada-1", TALK, at=TIMES)).messages == 4


class Opaque:
    """A type of a program that is gone."""


@pytest.mark.parametrize(
    ("messages", "arguments", "error", "words"),
    [
        ([], {}, ValueError, "no messages"),
        ("Hello", {}, TypeError, "messages is a str"),
        ([("user", "a"), {"role": "customer", "content": "b"}], {}, ValueError, "Message 2 .* the role 'customer'"),
        (
            [{"role": "user", "content": [None]}],
            {},
            ValueError,
            "Message 1 .* the role 'user' with .*None.* in its content",
        ),
        ([{"role": "tool", "content": "a"}], {}, ValueError, "Message 1 .* the role 'tool' without a tool_call_id"),
        ([("user", "a"), 7], {}, ValueError, "Message 2 .* found int"),
        ([RemoveMessage("a")], {}, ValueError, "Message 1 .* found RemoveMessage"),
        ([HumanMessage("a", id="1"), HumanMessage("b", id="1")], {}, ValueError, "Message 2 has the id"),
        ([("user", "a")], {"at": []}, ValueError, "at has 0 entries for 1 messages"),
        ([("user", "a")], {"at": ["soon"]}, ValueError, "The time of message 1 is no time"),
        ([("user", "a")], {"at": [datetime(2021, 1, 1)]}, ValueError, "without an offset"),
        ([("user", "a")], {"at": "2021-01-01"}, TypeError, "at is a str"),
        ([("user", "a")], {"users": ["ada", "bob"]}, ValueError, "users has 2 entries"),
        ([("user", "a")], {"metadata": "gold"}, TypeError, "metadata is a str"),
        ([("user", "a")], {"title": " "}, ValueError, "A title has 1 to 200 characters"),
        ([("user", "a")], {"user_id": "a\0b"}, ValueError, "user"),
        ([HumanMessage("a", additional_kwargs={"of": Opaque})], {}, NotStorable, "Opaque|type"),
    ],
)
def test_what_is_no_conversation_is_told_and_nothing_is_written(
    saver: HoldfastSaver, messages: Any, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        saver.threads.add("ada-1", messages, **arguments)
    with pytest.raises(UnknownThread):
        saver.threads.get("ada-1")


def test_half_a_character_is_kept_and_the_title_does_without_it(saver: HoldfastSaver) -> None:
    thread = saver.threads.add("ada-1", [("user", "Hi \ud83d"), ("assistant", "Hello")])
    assert thread.title == "Hi ?"
    assert [message.text for message in saver.threads.messages("ada-1")] == ["Hi \ud83d", "Hello"]


def test_the_import_is_on_record(saver: HoldfastSaver) -> None:
    add(saver)
    *_, last = saver.transcript("ada-1")
    assert (last.kind, last.event, json.loads(json.dumps(last.data))) == ("event", "import", {"messages": 4})
