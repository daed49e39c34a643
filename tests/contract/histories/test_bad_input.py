"""What an import does not understand is named with its file and place, and nothing of its conversation is written."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import DriverMissing, UnknownThread, UnreadableHistory
from holdfast.histories import Columns, import_histories, read_file, read_sql
from tests.support.histories_kit import COLUMNS, outcomes, table, written


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "customer", "content": "Hi"}, "a.json, session 'bad', message 2: the role is 'customer', and needed"),
        ({"role": "user"}, "message 2: the content is NoneType"),
        ({"content": "Hi"}, "message 2: the role is None"),
        ({"role": "tool", "content": "Hi"}, "a.json, session 'bad': message 2 cannot be read: found the role 'tool'"),
        (
            {"role": "assistant", "content": "", "tool_calls": "no"},
            "the role 'assistant' with tool_calls that are none",
        ),
        ({"role": "user", "content": "Hi", "timestamp": "soon"}, "message 2: The time is no time"),
        ({"role": "user", "content": "Hi", "at": "9999-12-31"}, "message 2: The time is 9999-12-31. Needed: a time of"),
        ({"role": "user", "content": "Hi", "at": "0001-01-01T00:00:00+05:00"}, "message 2: The time is 0001-01-01T00:"),
        ({"role": "user", "content": "Hi", "at": 10**400}, "message 2: The time is no time: found an integer of 1,329"),
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
    where = tmp_path / "conversations.json"
    assert history.problem == f"{where}: message 'm-1' of 'bad': the author is str, and needed an object."


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        (
            "a.json",
            '{"s": [{"role": "user", "content": "1"}], "t": [], "s": [{"role": "user", "content": "2"}]}',
            "session",
        ),
        (
            "a.json",
            [{"id": "s", "mapping": {}}, {"id": "t", "mapping": {}}, {"id": "s", "mapping": {}}],
            "conversation",
        ),
    ],
)
def test_a_conversation_that_is_twice_in_a_file_is_named_and_left(
    tmp_path: Path, name: str, content: Any, place: str
) -> None:
    problem = f"{place} 's': it is in the file more than once, and none of them is imported. Needed: one."
    found = [
        (one.thread_id, str(one.problem).rpartition(", ")[2]) for one in read_file(written(tmp_path, name, content))
    ]
    assert set(found) == {("s", problem.rpartition(", ")[2]), ("t", "None")}


def test_a_field_that_is_twice_in_a_message_is_named(tmp_path: Path) -> None:
    [history] = read_file(
        written(tmp_path, "a.jsonl", '{"session": "s", "role": "user", "content": "1", "content": "2"}')
    )
    assert history.problem == f"{tmp_path / 'a.jsonl'}, line 1: it has 'content' twice, and needed each field once."


def test_texts_that_are_long_or_have_a_nul_and_marks_of_editors_are_read_as_they_are(
    saver: HoldfastSaver, tmp_path: Path
) -> None:
    texts = ["x" * 5_000_000, "a\0b\r\n\ud800"]
    path = tmp_path / "s.json"
    lines = json.dumps([{"role": "user", "content": text} for text in texts], indent=1).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert outcomes(saver, read_file(path)) == [("s", "added", 2)]
    assert [message.content for message in saver.threads.messages("s")] == texts


def test_a_row_that_is_not_understood_is_named(saver: HoldfastSaver, tmp_path: Path) -> None:
    rows = [
        (4, "s-1", None, "user", "Hi", None),
        (5, "s-1", None, "user", "Hi", "yesterday"),
        (6, None, None, "user", "Hi", None),
        (7, b"\xff", None, "user", "Hi", None),
        (8, "s-2", None, None, "Hi", None),
        (9, "s-3", None, "user", "Hi", None),
    ]
    found = list(import_histories(saver, read_sql(table(tmp_path, rows), table="chat_messages", columns=COLUMNS)))
    assert [one.outcome for one in found] == ["left", "left", "left", "left", "added"]
    problems = " ".join(str(one.problem) for one in found)
    assert "table chat_messages, conversation 's-1', id 5: The time is no time" in problems
    assert "row 1: it does not say which conversation it is of" in problems
    assert "row 6: its conversation is the 1 bytes ff" in problems
    assert "table chat_messages, conversation 's-2', id 8: the role is None" in problems


def test_a_text_that_is_no_utf8_is_named_and_the_other_rows_are_read(saver: HoldfastSaver, tmp_path: Path) -> None:
    url = table(tmp_path, [(1, "s-1", None, "user", "Hi", None), (2, "s-2", None, "user", "Hi", None)])
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("UPDATE chat_messages SET content = CAST(x'ff41' AS TEXT) WHERE id = 1")
    bad, good = import_histories(saver, read_sql(url, table="chat_messages", columns=COLUMNS))
    assert (bad.outcome, good.outcome) == ("left", "added")
    assert "table chat_messages, conversation 's-1', id 1: the content is bytes" in str(bad.problem)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("half.json", '[{"role": "user", "content": "Hi"', "it is no JSON, or only a part of it"),
        (
            "half.jsonl",
            '{"session_id": "a", "role": "user", "content": "Hi"}\n{"session',
            "line 2 is no JSON.* at character 2",
        ),
        ("a.jsonl", '{"role": "user", "content": "Hi"}', "line 1 does not say which conversation"),
        ("a.jsonl", '{"session_id": ["a"], "role": "user", "content": "Hi"}', "line 1 does not say which conversation"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", "[" * 100_000, "line 1 is nested too deeply"),
        ("a.json", "7", "JSON of another form"),
        ("a.json", "{}", "JSON of another form"),
        ("a.jsonl", " \n\n", "it is empty"),
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
        with pytest.raises(UnreadableHistory, match=r"cannot be read.* in UTF-8\. .*sqlite:///chat"):
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
