"""Conversations that other systems wrote are imported: equal in text, role, time and order."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import DriverMissing, UnknownThread, UnreadableHistory
from holdfast.histories import Columns, History, Imported, import_histories, read_file, read_sql
from tests.support.kit import echo_graph, thread

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

NOON = datetime(2021, 3, 1, 12, tzinfo=UTC)


def outcomes(saver: HoldfastSaver, histories: Iterator[History], **arguments: Any) -> list[tuple[str, str, int]]:
    found: list[Imported] = list(import_histories(saver, histories, **arguments))
    assert [one.problem for one in found if one.problem] == []
    return [(one.thread_id, one.outcome, one.messages) for one in found]


def said(saver: HoldfastSaver, thread_id: str) -> list[tuple[str, str, datetime]]:
    return [(entry.role, entry.text, entry.at) for entry in saver.transcript(thread_id) if entry.kind == "message"]


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def table(folder: Path, rows: list[tuple[Any, ...]]) -> str:
    path = folder / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE chat_messages (id, session_id, user_id, role, content, timestamp)")
        connection.executemany("INSERT INTO chat_messages VALUES (?, ?, ?, ?, ?, ?)", rows)
    return f"sqlite:///{path}"


COLUMNS = Columns(thread="session_id", user="user_id", role="role", content="content", time="timestamp", id="id")


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
    problem = "Conversation 's-2': The conversation has no messages. Needed: at least one."
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


# --- what is not understood


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "customer", "content": "Hi"}, "the role 'customer'"),
        ({"role": "user"}, "message 2: the content is NoneType"),
        ({"content": "Hi"}, "message 2: the role is None"),
        ({"role": "wizard", "content": "Hi"}, "conversation 'bad': message 2 cannot be read: found the role 'wizard'"),
        ({"role": "user", "content": "Hi", "timestamp": "soon"}, "message 2: The time is no time"),
        ({"type": "person", "data": {"content": "Hi"}}, "message 2: found the type 'person'"),
        ("Hi", "message 2: found str"),
    ],
)
def test_a_part_that_is_not_understood_is_named_and_its_conversation_is_left(
    saver: HoldfastSaver, tmp_path: Path, message: Any, problem: str
) -> None:
    good = {"role": "user", "content": "Hello"}
    path = written(tmp_path, "a.json", {"bad": [good, message], "good": [good]})
    bad, other = import_histories(saver, read_file(path))
    assert (bad.outcome, other.outcome) == ("left", "added")
    assert problem.lower() in str(bad.problem).lower()
    with pytest.raises(UnknownThread):
        saver.threads.get("bad")


def test_a_problem_ends_with_one_full_stop(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", [{"role": "user", "content": "Hi", "timestamp": "soon"}])
    [history] = read_file(path)
    assert str(history.problem).endswith("a finite number.")
    assert not str(history.problem).endswith("..")


def test_a_call_of_a_tool_without_content_is_read_as_openai_writes_it(saver: HoldfastSaver, tmp_path: Path) -> None:
    call = {"id": "c-1", "type": "function", "function": {"name": "pay", "arguments": '{"order": 1}'}}
    talk = [
        {"role": "user", "content": "Pay"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "Paid", "tool_call_id": "c-1"},
    ]
    assert outcomes(saver, read_file(written(tmp_path, "a.json", talk))) == [("a", "added", 3)]
    [_, asked, _] = saver.threads.messages("a")
    assert isinstance(asked, AIMessage)
    assert (asked.content, asked.tool_calls[0]["args"]) == ("", {"order": 1})


@pytest.mark.parametrize(
    ("parent", "problem"),
    [
        ({"a": 5}, "node 'a' is int"),
        ({}, "node 'a' is missing"),
        ({"a": {"parent": "b"}}, "node 'b' is its own ancestor"),
        ({"a": {"parent": ["b"]}}, "a parent is list"),
    ],
)
def test_an_export_of_openai_with_a_broken_way_is_left_and_the_next_conversation_goes_on(
    saver: HoldfastSaver, tmp_path: Path, parent: dict[str, Any], problem: str
) -> None:
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}
    good = {"conversation_id": "good", "current_node": "a", "mapping": {"a": {"message": message}}}
    mapping = {**parent, "b": {"message": message, "parent": "a"}}
    bad = {"conversation_id": "bad", "current_node": "b", "mapping": mapping}
    found = list(import_histories(saver, read_file(written(tmp_path, "conversations.json", [bad, good]))))
    assert [(one.thread_id, one.outcome) for one in found] == [("bad", "left"), ("good", "added")]
    assert f"'bad': {problem}" in str(found[0].problem)


def test_a_message_in_an_export_of_openai_that_is_not_understood_is_named(tmp_path: Path) -> None:
    node = {"message": {"id": "m-1", "author": "user", "content": {"content_type": "text", "parts": ["Hi"]}}}
    bad = {"conversation_id": "bad", "current_node": "a", "mapping": {"a": node}}
    [history] = read_file(written(tmp_path, "conversations.json", [bad]))
    assert history.problem == "message 'm-1' of 'bad': the author is str, and needed an object."


def test_a_row_that_is_not_understood_is_named(saver: HoldfastSaver, tmp_path: Path) -> None:
    rows = [
        (4, "s-1", None, "user", "Hi", None),
        (5, "s-1", None, "user", "Hi", "yesterday"),
        (6, None, None, "user", "Hi", None),
    ]
    found = list(import_histories(saver, read_sql(table(tmp_path, rows), table="chat_messages", columns=COLUMNS)))
    assert [one.outcome for one in found] == ["left", "left"]
    problems = " ".join(str(one.problem) for one in found)
    assert "table chat_messages, id 5: The time is no time" in problems
    assert "row 1: it does not say which conversation it is of" in problems


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("half.json", '[{"role": "user", "content": "Hi"', "it is no JSON, or only a part of it"),
        ("half.jsonl", '{"session_id": "a", "role": "user", "content": "Hi"}\n{"session', "line 2 is no JSON"),
        ("a.jsonl", '{"role": "user", "content": "Hi"}', "line 1 does not say which conversation"),
        ("a.jsonl", '{"session_id": ["a"], "role": "user", "content": "Hi"}', "line 1 does not say which conversation"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", "[" * 100_000, "line 1 is nested too deeply"),
        ("a.json", "7", "JSON of another form"),
        ("a.json", "{}", "JSON of another form"),
    ],
)
def test_a_file_that_is_none_is_an_error_and_changes_nothing(
    saver: HoldfastSaver, tmp_path: Path, name: str, content: str, problem: str
) -> None:
    with pytest.raises(UnreadableHistory, match=problem):
        list(import_histories(saver, read_file(written(tmp_path, name, content))))
    assert saver.threads.list().threads == []


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    for name in ("a.json", "none.json"):
        with pytest.raises(UnreadableHistory, match="cannot be read"):
            list(read_file(tmp_path / name))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"table": "messages", "columns": COLUMNS}, "table messages cannot be read .*no such table"),
        (
            {"table": "chat_messages", "columns": Columns(thread="session", role="role", content="content")},
            "no such column",
        ),
        ({"query": "SELECT", "columns": COLUMNS}, "the query cannot be read"),
        ({"columns": Columns(thread="session_id")}, "not every column is named"),
        ({}, "table message_store cannot be read"),
    ],
)
def test_a_table_or_column_that_is_not_there_is_an_error(
    tmp_path: Path, arguments: dict[str, Any], problem: str
) -> None:
    url = table(tmp_path, [])
    with pytest.raises(UnreadableHistory, match=problem):
        list(read_sql(url, **arguments))


def test_a_database_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UnreadableHistory, match=r"there is no such file\. Needed: a database"):
        list(read_sql(f"sqlite:///{tmp_path / 'old.db'}"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "url", "extra"),
    [
        ("sqlalchemy", "sqlite://", "histories"),
        ("pymysql", "mysql://a@b/c", "histories"),
        ("psycopg", "postgresql://a@b/c", "postgres"),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: str, url: str, extra: str
) -> None:
    monkeypatch.setattr("holdfast.histories.sql.install_command", "pip install [{}]".format)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DriverMissing, match=rf"{missing}.* Install it: pip install \[{extra}\]"):
        list(read_sql(url))


def test_the_password_of_a_database_is_in_no_error() -> None:
    with pytest.raises(UnreadableHistory) as caught:
        list(read_sql("postgresql://ada:geheim@127.0.0.1:1/old"))
    assert "geheim" not in str(caught.value)
    assert "ada:***@" in str(caught.value)
