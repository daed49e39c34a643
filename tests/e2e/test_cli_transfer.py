"""`holdfast db copy`, and conversations in a file, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.checkpoints import NewRun, open_checkpointer
from holdfast.checkpoints import transfer as work
from holdfast.cli.db import transfer
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph, texts, thread

HERE = "sqlite:///here.db"


def talk(url: str, *thread_ids: str) -> None:
    with open_checkpointer(url) as saver:
        for thread_id in thread_ids:
            echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))


@pytest.mark.sweep(on="postgres")
def test_a_database_is_copied_and_what_is_there_is_passed_over(cli: Cli, url: str) -> None:
    talk(HERE, "ada-1", "bob-1", "cy-1")
    with_password = url.replace("postgres:@", "postgres:s3cr3t-word@")
    code, out, err = cli("db", "copy", HERE, with_password, "--thread=bob-1", "--thread=bob-1")
    assert (code, err) == (0, "")
    assert out.startswith("1 conversation copied to ")
    assert out.endswith(" records, verified.\n")
    assert "s3cr3t" not in out
    talk(url, "bob-1")
    code, out, err = cli("db", "copy", HERE, with_password, "--json")
    told = json.loads(out)
    assert (code, told["moved"], told["there"], list(told["problems"])) == (1, 2, 0, ["bob-1"])
    assert "Thread 'bob-1' is there already, and is not the same" in err
    assert "s3cr3t" not in out + err
    code, out, _ = cli("db", "copy", HERE, url)
    assert (code, out.splitlines()[-1].split(", verified. ")[1]) == (
        1,
        "2 were there already. Not copied: 1 conversation.",
    )
    with open_checkpointer(url) as saver:
        assert texts(saver, "cy-1") == ["cy-1", "You said: cy-1"]


@pytest.mark.sweep
def test_a_copy_has_threads_that_never_began_and_says_that_accepted_turns_stay_behind(cli: Cli) -> None:
    with open_checkpointer(HERE) as saver:
        saver.threads.begin("created", {"label": "new"}, owner="ada")
        saver.runs.accept(NewRun("waits", "agent", "message", {}))
    assert cli("db", "copy", HERE, "sqlite:///one.db", "--thread=created")[2] == ""
    code, _, err = cli("db", "copy", HERE, "sqlite:///new.db")
    assert (code, err.startswith("Not copied: 1 accepted turn, not ended yet.")) == (0, True)
    with open_checkpointer("sqlite:///new.db") as saver:
        begun = saver.threads.begun("created")
        assert begun is not None
        assert (begun.user_id, begun.metadata, saver.runs.open()) == ("ada", {"label": "new"}, [])


def test_a_copy_that_makes_no_sense_is_refused_and_makes_nothing(cli: Cli) -> None:
    assert "There are no conversations at sqlite:///nothing.db" in cli.refused(
        "db", "copy", "sqlite:///nothing.db", HERE
    )
    assert list(cli.folder.iterdir()) == []
    talk(HERE, "ada-1")
    Path("link.db").symlink_to("here.db")
    for same in (HERE, "sqlite:///./here.db", "sqlite:///link.db"):
        assert "are the same database" in cli.refused("db", "copy", HERE, same)
    server = "postgresql://ada:s3cr3t@db.example/chat"
    refused = cli.refused("db", "copy", server, "postgresql://grace@db.example/chat")
    assert "the same database" in refused
    assert "s3cr3t" not in refused
    assert "memory:// is gone when a command ends" in cli.refused("db", "copy", HERE, "memory://")
    assert "no thread 'no-such'" in cli.refused("db", "copy", HERE, "sqlite:///new.db", "--thread=no-such")
    assert "Missing argument" in cli.refused("db", "copy", HERE)


@pytest.mark.sweep
def test_two_schemas_of_one_database_are_two_databases(cli: Cli, postgres_url: str) -> None:
    one, two = f"{postgres_url}&schema=holdfast_one", f"{postgres_url}&schema=holdfast_two"
    talk(one, "ada-1")
    code, out, err = cli("db", "copy", one, two)
    assert (code, err) == (0, "")
    assert out.startswith("1 conversation copied to ")
    assert "schema=holdfast_two" in out
    with open_checkpointer(two) as saver:
        assert texts(saver, "ada-1") == ["ada-1", "You said: ada-1"]
    assert cli("db", "expand", "--database", one, "--drop")[0] == 0
    assert cli("db", "compact", "--database", two, "--vacuum")[0] == 0
    assert cli("db", "check", "--database", two, "--deep")[0] == 0
    assert "the same database" in cli.refused("db", "copy", one, one)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA holdfast_one, holdfast_two CASCADE")


def test_ctrl_c_says_what_is_there_and_the_same_command_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(HERE, "ada-1", "bob-1")
    real = work.transfer_thread

    def stop_at_the_second(source: Any, target: Any, thread_id: str) -> Any:
        if thread_id == "bob-1":
            raise KeyboardInterrupt
        return real(source, target, thread_id)

    with monkeypatch.context() as patch:
        patch.setattr(work, "transfer_thread", stop_at_the_second)
        code, _, err = cli("db", "copy", HERE, "sqlite:///there.db")
    assert (code, err) == (130, "Stopped. 1 conversation is done; run the command again to continue.\n")
    assert "1 conversation copied to sqlite:///there.db" in cli("db", "copy", HERE, "sqlite:///there.db")[1]


@pytest.mark.sweep
def test_conversations_go_through_a_file(cli: Cli) -> None:
    talk(HERE, "ada-1", "bob-1")
    with open_checkpointer(HERE) as saver:
        assert transfer.export_threads(saver, None, Path("all.jsonl.gz")) == 2
        assert transfer.export_threads(saver, ["bob-1"], Path("bob.jsonl")) == 1

    def imports(*arguments: str) -> tuple[int, str, str]:
        return cli("threads", "import", *arguments)

    code, out, _ = imports("bob.jsonl", "--database=sqlite:///there.db")
    assert (code, out) == (0, "1 conversation imported into sqlite:///there.db, 9 records, verified.\n")
    code, out, _ = imports("all.jsonl.gz", "--database=sqlite:///there.db", "--json")
    told = json.loads(out)
    assert (code, told["moved"], told["there"], told["problems"]) == (0, 1, 1, {})
    Path("bob.jsonl").write_text(Path("bob.jsonl").read_text()[:-5])
    code, _, err = imports("bob.jsonl", "--database=sqlite:///new.db")
    assert (code, "bob.jsonl, line" in err, "cut off" in err) == (2, True, True)
    assert not Path("new.db").exists()


OWN = """
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from tests.support.kit import echo_graph, thread

saver = InMemorySaver()
for name in ("ada-1", "bob-1"):
    echo_graph(saver).invoke({"messages": [("user", name)]}, thread(name))


def opened():
    return SqliteSaver.from_conn_string("stock.db")


def failing():
    raise RuntimeError("no line")
"""


def test_any_checkpointer_is_copied_by_its_name(cli: Cli, sqlite_url: str) -> None:
    (cli.folder / "own_savers.py").write_text(OWN)
    code, out, err = cli("db", "copy", "own_savers:saver", sqlite_url, "--thread=bob-1")
    assert (code, err, out.partition(" to ")[0]) == (0, "", "1 conversation copied")
    code, out, _ = cli("db", "copy", "own_savers:saver", sqlite_url, "--json")
    assert (code, json.loads(out)["moved"], json.loads(out)["there"]) == (0, 1, 1)
    with open_checkpointer(sqlite_url) as saver:
        assert texts(saver, "ada-1") == ["ada-1", "You said: ada-1"]
    assert cli("db", "copy", "own_savers:opened", sqlite_url)[:2] == (
        0,
        f"0 conversations copied to {sqlite_url}, 0 records, verified.\n",
    )
    for name, line in (
        ("own_savers:none", "The module 'own_savers' has no 'none'."),
        ("own_savers:failing", "'own_savers:failing' fails with RuntimeError: no line."),
        ("own_savers:thread", "is of the type dict. Needed: a checkpointer"),
        ("no_such_module:x", "There is no module 'no_such_module'."),
        ("./sub/my_app.py:x", "'./sub/my_app.py' is a file. Needed: the name of its module, such as sub.my_app."),
        ("own_savers", "is not named. Needed: module:name"),
    ):
        code, out, err = cli("db", "copy", name, sqlite_url)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert line in err
