"""The commands of the pages about histories and databases work as they stand: into Holdfast, and back out."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from holdfast.checkpoints import open_checkpointer
from holdfast.savers import by_url
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph, texts, thread
from tests.support.reader import commands_of

pytestmark = pytest.mark.sweep

TALK = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello, Ada."}]
OLD = "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)"


def does(cli: Cli, command: str, **places: str) -> str:
    """Run a command of a page, with other databases in the places of some, and return what it prints."""
    program, *words = shlex.split(command)
    code, out, err = cli(*(places.get(word, word) for word in words))
    assert (program, code, err) == ("holdfast", 0, ""), (command, out)
    return out


def talked(saver: BaseCheckpointSaver[Any], thread_id: str = "ada-1") -> None:
    echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread(thread_id))


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the URLs of Redis and Valkey open one checkpointer, which has a thread."""
    saver = InMemorySaver()
    talked(saver)

    @contextmanager
    def opener(_: str) -> Iterator[BaseCheckpointSaver[Any]]:
        yield saver

    for scheme in ("redis", "valkey"):
        monkeypatch.setitem(by_url.OPENERS, scheme, opener)


def write_histories(folder: Path) -> None:
    """Write the files that the page names."""
    (folder / "chats").mkdir()
    (folder / "chats" / "ada-1.json").write_text(json.dumps(TALK))
    (folder / "sessions.json").write_text(json.dumps({"s-1": TALK}))
    (folder / "log.jsonl").write_text("\n".join(json.dumps({"thread_id": "s-2", **one}) for one in TALK))
    content = {"content_type": "text", "parts": ["Hi"]}
    mapping = {"a": {"message": {"author": {"role": "user"}, "content": content}}}
    (folder / "conversations.json").write_text(json.dumps([{"id": "o-1", "mapping": mapping, "current_node": "a"}]))
    with sqlite3.connect(folder / "old.db") as connection:
        connection.execute(OLD)
        message = json.dumps({"type": "human", "data": {"content": "Hi"}})
        connection.execute("INSERT INTO message_store VALUES (1, 'l-1', ?)", [message])


def write_table(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE chat_messages (id bigint, session_id text, user_id text, role text, content text,"
            " created_at timestamp)"
        )
        connection.execute("INSERT INTO chat_messages VALUES (7, 'p-1', 'ada', 'user', 'Hi', '2021-03-01 12:00')")


def test_the_commands_of_the_page_about_histories_work(
    cli: Cli, postgres_database: str, others: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_histories(cli.folder)
    write_table(postgres_database)
    (cli.folder / "my_app").mkdir()
    (cli.folder / "my_app" / "saving.py").write_text(
        "from langgraph.checkpoint.memory import InMemorySaver\n"
        "from tests.support.kit import echo_graph, thread\n"
        "saver = InMemorySaver()\n"
        "echo_graph(saver).invoke({'messages': [('user', 'Hello')]}, thread('theirs-1'))\n"
    )
    monkeypatch.syspath_prepend(str(cli.folder))
    *imports, theirs, redis = commands_of("guides/histories.md")
    places = {"postgresql://ada@db/shop": postgres_database}
    printed = [does(cli, command, **places) for command in imports]
    assert [line.partition(" into ")[0] for line in printed] == [
        "1 conversation imported",
        "1 conversation imported",
        "1 conversation imported",
        "2 conversations would be imported",
        "1 conversation imported",
    ]
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        assert {one.thread_id: one.user_id for one in saver.threads.all()} == {
            "ada-1": "ada", "l-1": None, "o-1": None, "p-1": "ada",
        }  # fmt: skip
    for command in (theirs, redis):
        assert does(cli, command).startswith("1 conversation copied to sqlite:///chat.db")
    with open_checkpointer("sqlite:///chat.db") as saver:
        assert texts(saver, "theirs-1") == texts(saver, "ada-1") == ["Hello", "You said: Hello"]


def test_the_commands_of_the_page_about_databases_work_and_the_stock_saver_goes_on(cli: Cli, others: None) -> None:
    compact, expand, stats, check, redis, valkey = commands_of("guides/databases.md")
    with SqliteSaver.from_conn_string("chat.db") as stock:
        talked(stock, "bob-1")
    assert "1 of 1 conversation compacted" in does(cli, compact)
    with open_checkpointer("sqlite:///chat.db") as saver:
        talked(saver, "bob-1")
    assert "1 of 1 conversation expanded" in does(cli, expand)
    with SqliteSaver.from_conn_string("chat.db") as stock:
        talked(stock, "bob-1")
        assert len(echo_graph(stock).get_state(thread("bob-1")).values["messages"]) == 6
    assert "1 conversation" in does(cli, stats)
    assert "Everything can be loaded." in does(cli, check)
    assert does(cli, redis).startswith("1 conversation copied to sqlite:///chat.db")
    assert "1 was there already" in does(cli, valkey)
