"""`holdfast db`: a database of LangGraph's own savers, in and out, on the command line."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import convert, open_checkpointer
from holdfast.checkpoints.backends import migrations
from holdfast.cli.db.convert import sized
from tests.support.cli_kit import Cli
from tests.support.kit import change, checkpoint, echo_graph, put, texts, thread
from tests.support.migration_kit import EARLIER, empty, open_as_version
from tests.support.stock_kit import in_stock


def talk(saver: Any) -> None:
    for thread_id, turns in (("ada-1", 6), ("bob-1", 1)):
        for turn in range(turns):
            echo_graph(saver).invoke({"messages": [("user", f"{turn} {'x' * 500}")]}, thread(thread_id))


def said(saver: Any) -> int:
    return len(echo_graph(saver).get_state(thread()).values["messages"])


@pytest.mark.sweep(on="postgres")
def test_a_database_goes_in_and_out_on_the_command_line(cli: Cli, bare_url: str) -> None:
    at = f"--database={bare_url}"
    in_stock(bare_url, talk)

    code, out, _ = cli("db", "compact", at, "--thread=bob-1")
    assert (code, out.splitlines()[0][:16]) == (0, "bob-1: 3 values,")
    assert "To give it back to the disk: holdfast db compact --vacuum --database" in out
    code, out, _ = cli("db", "compact", at, "--vacuum", "--json")
    done = json.loads(out)
    assert (code, done["threads"], done["changed"], done["problems"], done["vacuumed"]) == (0, 2, 1, {}, True)
    assert done["saved"] == done["bytes_before"] - done["bytes_after"] > 0
    assert cli("db", "compact", at) == (0, "Nothing had to be done: 2 conversations.\n", "")

    code, out, _ = cli("db", "stats", at)
    assert (code, "2 conversations, 21 checkpoints, " in out, "holdfast_messages" in out) == (0, True, True)
    _, out, _ = cli("db", "stats", at, "--json", "--largest=1")
    measured = json.loads(out)
    assert ([size["thread_id"] for size in measured["largest"]], measured["messages"]) == (["ada-1"], 14)
    assert measured["ratio"] == measured["bytes"] / measured["text"]
    assert cli("db", "check", at, "--deep")[1].endswith("The schema is up to date.\nEverything can be loaded.\n")

    code, out, _ = cli("db", "expand", at)
    assert (code, "2 of 2 conversations expanded" in out) == (0, True)
    assert in_stock(bare_url, said) == 12
    code, out, _ = cli("db", "expand", at, "--drop")
    assert (code, "Holdfast's tables are removed." in out) == (0, True)
    _, out, _ = cli("db", "check", at, "--json")
    assert (json.loads(out)["found"], len(json.loads(out)["pending"])) == (0, migrations.KNOWN_VERSION)
    in_stock(bare_url, talk)
    with open_checkpointer(bare_url) as saver:
        assert len(texts(saver)) == 24


@pytest.mark.sweep(on="postgres")
def test_a_thread_that_stays_as_it_is_is_named(cli: Cli, bare_url: str) -> None:
    at = f"--database={bare_url}"
    with open_checkpointer(bare_url) as saver:
        put(saver, thread("odd"), checkpoint([("user", "x"), {"role": "user", "content": "half \ud800"}]))
        put(saver, thread("fine"), checkpoint([]))
        put(saver, thread("broken"), checkpoint([{"role": "user", "content": "gone"}]))
        change(saver, "DELETE FROM holdfast_messages WHERE thread_id = 'broken'")
    code, out, err = cli("db", "expand", at, "--drop")
    assert code == 1
    assert "'broken' is damaged" in err
    assert "the stock savers have no form for 1 of its values" in err
    assert "removed" not in out
    code, out, _ = cli("db", "check", at, "--deep", "--json")
    assert (code, list(json.loads(out)["damaged"])) == (1, ["broken"])
    code, out, _ = cli("db", "check", at, "--deep")
    assert (code, out.splitlines()[-1]) == (1, "1 conversation damaged.")
    assert cli("db", "check", at, "--thread=fine")[0] == 0
    assert "no thread 'no-such'" in cli.refused("db", "check", at, "--thread=no-such")


@pytest.mark.sweep(every=9)
@pytest.mark.parametrize("version", EARLIER)
def test_a_database_of_an_earlier_version_is_checked_and_upgraded(
    cli: Cli, bare_url: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f"--database={bare_url}"
    with open_checkpointer(bare_url) as saver:
        empty(saver)
    open_as_version(bare_url, version, monkeypatch).close()
    known = migrations.KNOWN_VERSION
    code, out, _ = cli("db", "check", at)
    assert (code, f"has schema version {version}; this version of Holdfast knows {known}." in out) == (0, True)
    assert re.search(r"Not applied yet: 00\d\d_\w+.*holdfast db upgrade --database", out)
    assert "First: holdfast db upgrade" in cli.refused("db", "check", at, "--deep")
    code, out, _ = cli("db", "upgrade", at)
    assert (code, out.endswith(f" has schema version {known}. It was {version}.\n")) == (0, True)
    assert len(out.splitlines()) == known - version + 1
    code, out, _ = cli("db", "upgrade", at, "--json")
    assert json.loads(out) == {"found": known, "version": known, "applied": [], "listed": 0, "damaged": {}}


def test_a_database_that_is_newer_is_refused_with_what_to_do(cli: Cli, bare_url: str) -> None:
    at = f"--database={bare_url}"
    with open_checkpointer(bare_url) as saver:
        change(saver, "INSERT INTO holdfast_schema VALUES (99, 'later', 1, 0)")
    assert "The database is newer, and this version can still use it." in cli("db", "check", at)[1]
    with open_checkpointer(bare_url) as saver:
        change(saver, "UPDATE holdfast_schema SET min_reader = 99 WHERE version = 99")
    for command in ("check", "upgrade", "stats", "compact", "expand"):
        line = cli.refused("db", command, at, code=1)
        assert "schema version 99" in line
        assert f"this code knows version {migrations.KNOWN_VERSION}. Upgrade Holdfast." in line


def test_nothing_is_made_by_looking(cli: Cli) -> None:
    for command in ("check", "stats", "compact", "expand"):
        assert "There are no conversations at sqlite:///nothing.db" in cli.refused(
            "db", command, "--database=sqlite:///nothing.db"
        )
    assert list(cli.folder.iterdir()) == []
    assert "memory:// is gone when a command ends" in cli.refused("db", "stats", "--database=memory://")
    assert "Give one of them" in cli.refused("db", "expand", "--drop", "--thread=ada-1")
    assert cli("db", "upgrade", "--database=sqlite:///new.db")[0] == 0
    assert "--allow Voice is not the name of a class" in cli.refused(
        "db", "compact", "--database=sqlite:///new.db", "--allow=Voice"
    )
    sqlite3.connect(cli.folder / "other.db").execute("CREATE TABLE theirs (id)")
    assert "There are no conversations" in cli.refused("db", "check", "--database=sqlite:///other.db")
    (cli.folder / "text.db").write_text("no database at all, and longer than the header of one is" * 99)
    assert "file is not a database" in cli.refused("db", "check", "--database=sqlite:///text.db", code=1)


def test_ctrl_c_says_what_is_done(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    in_stock("sqlite:///stock.db", talk)
    real = convert.compact_thread

    def stop_at_the_second(store: Any, thread_id: str) -> Any:
        if thread_id == "bob-1":
            raise KeyboardInterrupt
        return real(store, thread_id)

    with monkeypatch.context() as patch:
        patch.setattr(convert, "compact_thread", stop_at_the_second)
        code, _, err = cli("db", "compact", "--database=sqlite:///stock.db")
    assert (code, err) == (130, "Stopped. 1 conversation is done; run the command again to continue.\n")
    assert "1 of 2 conversations compacted" in cli("db", "compact", "--database=sqlite:///stock.db")[1]


def test_sizes_are_said_for_people() -> None:
    assert [sized(size) for size in (0, 999, 1000, 1_500_000, 2 * 10**15)] == [
        "0 bytes",
        "999 bytes",
        "1.0 KB",
        "1.5 MB",
        "2000.0 TB",
    ]


def test_check_names_types_that_the_command_does_not_have_as_a_remark(cli: Cli, bare_url: str) -> None:
    gone: Any = dataclasses.make_dataclass("Gone", ["x"], namespace={"__module__": "nowhere"})
    with open_checkpointer(bare_url) as saver:
        put(saver, thread(), checkpoint([HumanMessage("a", id="1")], parcel=gone(1)))
    code, out, _ = cli("db", "check", "--deep", f"--database={bare_url}")
    assert code == 0
    assert "Everything can be loaded." in out
    assert "Remark: values of the type nowhere.Gone are loaded here as what they consist of" in out
    assert "--allow nowhere:Gone" in out
