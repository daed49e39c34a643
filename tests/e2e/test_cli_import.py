"""`holdfast threads import`: conversations of other systems, on the command line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.cli.output.progress import Bar
from tests.support.cli_kit import Cli

COLUMNS = "thread=session,user=who,role=role,content=words,time=at"


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A database with a table of messages, one of which has no time that can be read."""
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("CREATE TABLE talks (session, who, role, words, at)")
        rows = [
            ("s-1", "ada", "user", "Good day", "2021-03-01 12:00"),
            ("s-1", "ada", "assistant", "Hello", "2021-03-01 12:01"),
            ("s-2", "bob", "user", "Hi", "soon"),
        ]
        connection.executemany("INSERT INTO talks VALUES (?, ?, ?, ?, ?)", rows)
    return f"sqlite:///{tmp_path / 'old.db'}"


def test_a_table_is_imported_in_its_time_zone_and_again_nothing_is(cli: Cli, sqlite_url: str, old: str) -> None:
    words = ["threads", "import", old, "--table=talks", f"--columns={COLUMNS}", f"--database={sqlite_url}"]
    words += ["--timezone=Europe/Berlin"]
    code, out, err = cli(*words, "--dry-run")
    assert (code, out.partition(" into ")[0]) == (1, "1 conversation would be imported")
    with open_checkpointer(sqlite_url) as saver:
        assert saver.threads.list().threads == []
    code, out, err = cli(*words)
    assert (code, out.partition(" into ")[0]) == (1, "1 conversation imported")
    assert out.endswith(", 2 messages. Not imported: 1 conversation.\n")
    assert err.startswith("table talks, conversation 's-2', row 3: The time is no time: found str 'soon'.")
    code, out, _ = cli(*words, "--json")
    assert (code, json.loads(out)["there"], json.loads(out)["added"]) == (1, 1, 0)
    with open_checkpointer(sqlite_url) as saver:
        [thread] = saver.threads.list().threads
        assert (thread.user_id, thread.created_at.isoformat()) == ("ada", "2021-03-01T11:00:00+00:00")


def test_several_files_of_any_form_are_imported_for_a_user(cli: Cli, sqlite_url: str, tmp_path: Path) -> None:
    message = {"role": "user", "content": "Hi"}
    (tmp_path / "s-1.json").write_text(json.dumps([message]))
    (tmp_path / "b.jsonl").write_text(json.dumps({"session_id": "s-2", **message}))
    files = [str(tmp_path / name) for name in ("s-1.json", "b.jsonl")]
    code, out, err = cli("threads", "import", *files, "--user=ada", f"--database={sqlite_url}")
    assert (code, err) == (0, "")
    assert out.startswith("2 conversations imported into ")
    with open_checkpointer(sqlite_url) as saver:
        assert {thread.thread_id for thread in saver.threads.all(user_id="ada")} == {"s-1", "s-2"}


def test_the_progress_bar_knows_how_many_conversations_there_are(
    cli: Cli, sqlite_url: str, old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(Bar, "set", lambda _, done, total: shown.append((done, total)))
    message = {"role": "user", "content": "Hi"}
    (tmp_path / "a.json").write_text(json.dumps({"t-1": [message], "t-2": [message], "t-3": [message]}))
    words = ["--table=talks", f"--columns={COLUMNS}", f"--database={sqlite_url}"]
    cli("threads", "import", old, str(tmp_path / "a.json"), *words)
    assert shown == [(1, 3), (2, 3), (3, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["old.db", "--columns=who"], "--columns has 'who'. Needed: PART=NAME, with a part of role, content, time"),
        (["old.db", "--timezone=Mars"], "There is no time zone 'Mars'."),
        (["old.db", "--table=a", "--query=b"], "Both --table and --query are given. Needed: one of them."),
        (["none.json"], "none.json: there is no such file. Needed: a file of conversations, or a database's URL."),
        (["OLD", "--table=talks", "--columns=thread=session,role=role,content=text"], "no such column"),
        (["mysql://ada:geheim@127.0.0.1:1/old"], "mysql+pymysql://ada:***@127.0.0.1:1/old: table message_store cannot"),
        (["archive.jsonl", "--dry-run"], "archive.jsonl is a file of threads export --format holdfast. It is imported"),
    ],
)
def test_what_cannot_be_imported_is_told_in_one_line(
    cli: Cli, sqlite_url: str, old: str, words: list[str], line: str
) -> None:
    (cli.folder / "archive.jsonl").write_text('{"format": "holdfast-threads", "version": 1}\n')
    words = [old if word == "OLD" else word for word in words]
    code, out, err = cli("threads", "import", *words, f"--database={sqlite_url}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert line in err
    assert "geheim" not in err
