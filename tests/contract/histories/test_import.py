"""Conversations that other systems wrote are imported: equal in text, role, time and order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.histories import Columns, import_histories, read_file, read_sql
from tests.support.histories_kit import COLUMNS, NOON, outcomes, said, table, written
from tests.support.kit import echo_graph, thread

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


# --- what LangChain's own classes wrote


def test_a_file_of_langchain_becomes_a_thread_and_goes_on(saver: HoldfastSaver, tmp_path: Path) -> None:
    from langchain_community.chat_message_histories import FileChatMessageHistory

    old = FileChatMessageHistory(str(tmp_path / "ada-1.json"))
    call = {"name": "pay", "args": {"order": 1}, "id": "c-1", "type": "tool_call"}
    messages = [
        HumanMessage([{"type": "text", "text": "Pay"}], id="h"),
        AIMessage("", tool_calls=[call], id="a"),
        ToolMessage("paid", tool_call_id="c-1", id="t"),
        AIMessage("It is paid: €5", id="b"),
    ]
    old.add_messages(messages)
    assert outcomes(saver, read_file(tmp_path / "ada-1.json"), user_id="ada") == [("ada-1", "added", 4)]
    graph = echo_graph(saver)
    assert graph.get_state(thread("ada-1")).values["messages"] == messages
    graph.invoke({"messages": [("user", "Thanks")]}, thread("ada-1", user_id="ada"))
    assert [text for _, text, _ in said(saver, "ada-1")][-2:] == ["Thanks", "You said: Thanks"]


@pytest.mark.sweep
def test_a_table_of_langchain_becomes_threads(saver: HoldfastSaver, tmp_path: Path) -> None:
    from langchain_community.chat_message_histories import SQLChatMessageHistory

    url = f"sqlite:///{tmp_path / 'old.db'}"
    for session in ("Ada", "ada", "bob"):
        old = SQLChatMessageHistory(session, connection=url)
        old.add_messages([SystemMessage("Be kind."), HumanMessage(f"I am {session}"), AIMessage("Hello")])
    assert outcomes(saver, read_sql(url)) == [("Ada", "added", 3), ("ada", "added", 3), ("bob", "added", 3)]
    assert [text for _, text, _ in said(saver, "ada")] == ["I am ada", "Hello"]
    assert saver.threads.prompt("bob") == "Be kind."


# --- tables and files of one's own


def test_a_table_of_messages_becomes_threads_with_times_users_and_roles(saver: HoldfastSaver, tmp_path: Path) -> None:
    rows = [
        (2, "s-1", "ada", "assistant", "Hello, Ada", "2021-03-01 12:00:05"),
        (1, "s-1", "ada", "user", "I am Ada", "2021-03-01 12:00:00"),
        (3, "s-2", "bob", "user", "I am Bob\0", NOON.timestamp()),
    ]
    found = outcomes(saver, read_sql(table(tmp_path, rows), table="chat_messages", columns=COLUMNS))
    assert found == [("s-1", "added", 2), ("s-2", "added", 1)]
    assert said(saver, "s-1") == [
        ("human", "I am Ada", NOON),
        ("ai", "Hello, Ada", NOON.replace(second=5)),
    ]
    assert [one.thread_id for one in saver.threads.list(user_id="bob").threads] == ["s-2"]
    assert echo_graph(saver).get_state(thread("s-2")).values["messages"][0].content == "I am Bob\0"


def test_messages_of_a_table_are_in_the_order_of_their_times_however_each_is_written(
    saver: HoldfastSaver, tmp_path: Path
) -> None:
    rows = [
        (1, "s-1", None, "user", "one", "2021-03-01T11:00:00"),
        (2, "s-1", None, "assistant", "two", "2021-03-01 12:00:00"),
        (3, "s-1", None, "user", "three", "2021-03-01T13:30:00+01:00"),
        (4, "s-1", None, "assistant", "four", NOON.timestamp() + 3600),
    ]
    assert outcomes(saver, read_sql(table(tmp_path, rows), table="chat_messages", columns=COLUMNS))
    assert [text for _, text, _ in said(saver, "s-1")] == ["one", "two", "three", "four"]


def test_a_session_that_is_here_a_number_and_there_a_text_is_one_conversation(
    saver: HoldfastSaver, tmp_path: Path
) -> None:
    rows = [(place, name, None, "user", str(name), None) for place, name in enumerate([7, 8, "7", b"7"])]
    [seven, eight] = read_sql(table(tmp_path, rows), table="chat_messages", columns=COLUMNS)
    assert (seven.of, len(seven.messages), len(eight.messages)) == (2, 3, 1)


def test_a_colon_in_a_query_names_no_parameter(tmp_path: Path) -> None:
    url = table(tmp_path, [(1, 7, "ada", "user", "Meet :ada at 10:20, 5 %", None)])
    query = "SELECT * FROM chat_messages WHERE content LIKE '% :ada at 10:20, _ %' AND session_id = CAST(' 7' AS int)"
    [found] = read_sql(url, query=query, columns=COLUMNS)
    assert found.messages[0]["content"] == "Meet :ada at 10:20, 5 %"


def test_a_query_is_as_good_as_a_table(saver: HoldfastSaver, tmp_path: Path) -> None:
    rows = [(1, 7, "ada", "user", "kept", None), (2, 7, "ada", "user", "deleted", None)]
    query = "SELECT 'chat-' || session_id AS chat, role, content AS words FROM chat_messages WHERE content = 'kept';"
    columns = Columns(thread="chat", role="role", content="words")
    found = read_sql(table(tmp_path, rows), query=query, columns=columns)
    assert outcomes(saver, found, user_id="ada") == [("chat-7", "added", 1)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", {"s-1": [{"role": "user", "content": "Hi", "timestamp": NOON.isoformat()}], "s-2": []}, "s-1"),
        ("s-1.json", [{"role": "user", "content": "Hi", "created_at": NOON.timestamp()}], "s-1"),
        ("b.jsonl", {"session_id": "s-1", "role": "user", "text": "Hi", "time": NOON.timestamp() * 1000}, "s-1"),
        ("c.txt", '{"thread_id": "s-1", "type": "user", "content": "Hi", "at": "2021-03-01T12:00"}\n\n', "s-1"),
    ],
)
def test_the_form_of_a_file_is_found_out(
    saver: HoldfastSaver, tmp_path: Path, name: str, content: Any, expected: str
) -> None:
    found = list(import_histories(saver, read_file(written(tmp_path, name, content))))
    assert (found[0].thread_id, found[0].outcome) == (expected, "added")
    assert said(saver, "s-1") == [("human", "Hi", NOON)]
    problem = f"{tmp_path / name}, session 's-2': The conversation has no messages. Needed: at least one."
    assert [one.problem for one in found[1:]] == [problem] * (len(found) - 1)


def test_the_lines_of_conversations_may_be_anywhere(saver: HoldfastSaver, tmp_path: Path) -> None:
    lines = [{"session": number % 2, "role": "user", "content": f"message {number}"} for number in range(6)]
    path = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert outcomes(saver, read_file(path)) == [("0", "added", 3), ("1", "added", 3)]
    assert [text for _, text, _ in said(saver, "1")] == ["message 1", "message 3", "message 5"]


def test_a_line_ends_where_json_lines_end(saver: HoldfastSaver, tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    line = json.dumps({"session_id": "s-1", "role": "user", "content": text}, ensure_ascii=False)
    path = tmp_path / "a.jsonl"
    path.write_bytes(f"{line}\r\n{line}".encode())
    assert outcomes(saver, read_file(path)) == [("s-1", "added", 2)]
    assert [message.text for message in saver.threads.messages("s-1")] == [text, text]


def test_an_export_of_openai_gives_the_way_to_its_current_node(saver: HoldfastSaver, tmp_path: Path) -> None:
    def node(name: str, parent: str | None, role: str, text: str, **content: Any) -> dict[str, Any]:
        parts = {"content_type": "text", "parts": [text], **content}
        message = {"id": name, "author": {"role": role}, "create_time": NOON.timestamp(), "content": parts}
        return {"id": name, "message": message, "parent": parent, "children": []}

    mapping = {
        "root": {"id": "root", "message": None, "parent": None},
        "s": node("s", "root", "system", ""),
        "q": node("q", "s", "user", "What is it?", content_type="multimodal_text",
                  parts=[{"content_type": "image_asset_pointer", "asset_pointer": "file-1"}, "What is it?"]),
        "old": node("old", "q", "assistant", "A dog."),
        "tool": node("tool", "q", "tool", "searched"),
        "new": node("new", "tool", "assistant", "A cat."),
    }  # fmt: skip
    export = [{"conversation_id": "c-1", "title": "The picture", "mapping": mapping, "current_node": "new"}]
    path = written(tmp_path, "conversations.json", export)
    assert outcomes(saver, read_file(path)) == [("c-1", "added", 2)]
    assert said(saver, "c-1") == [
        ("human", "[image_asset_pointer: file-1]\nWhat is it?", NOON),
        ("ai", "A cat.", NOON),
    ]
    assert saver.threads.get("c-1").title == "The picture"


# --- again, and only to see


def test_an_import_that_was_stopped_is_repeated_as_a_whole(saver: HoldfastSaver, tmp_path: Path) -> None:
    sessions = {f"s-{number}": [{"role": "user", "content": f"{number}"}] for number in range(3)}
    path = written(tmp_path, "a.json", sessions)
    stopped = import_histories(saver, read_file(path))
    assert next(stopped).outcome == "added"
    stopped.close()
    assert [one[1] for one in outcomes(saver, read_file(path))] == ["there", "added", "added"]


def test_a_dry_run_says_the_same_and_writes_nothing(saver: HoldfastSaver, tmp_path: Path) -> None:
    sessions = {"s-1": [{"role": "user", "content": "1"}], "s-2": [{"role": "user", "content": "2"}]}
    path = written(tmp_path, "a.json", sessions)
    assert outcomes(saver, read_file(path), dry_run=True) == [("s-1", "added", 1), ("s-2", "added", 1)]
    assert saver.threads.list().threads == []
    saver.threads.add("s-1", [("user", "1")])
    saver.threads.add("s-2", [("user", "something else")])
    found = list(import_histories(saver, read_file(path), dry_run=True))
    assert [one.outcome for one in found] == ["there", "left"]
    assert "is not empty" in str(found[1].problem)
