"""The commands over the database of another checkpointer: some work for a named thread, the others name the way out."""

from __future__ import annotations

import json

import pytest

from holdfast.graph.shop import Shop
from holdfast.savers import by_url
from tests.support.cli_commands import NEED_ONE
from tests.support.cli_kit import Cli
from tests.support.stand_in import SHOWN, URL, stand_in


def test_a_chat_over_it_pauses_names_a_command_that_works_and_can_be_copied(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch)
    database = f"--database={URL}"
    chat = ("chat", database, "--thread=ada-1", "--user=ada", "--model=offline")
    code, out, err = cli(*chat, said=b"Refund order 1001\n")
    assert code in {0, 3}, err
    assert f" --thread ada-1 --database '{SHOWN}'" in err.partition("To approve: holdfast approvals approve ")[2]
    assert "s3cr3t" not in err + out.replace(URL, "")
    assert "of user 'bob'" in cli.refused(
        "chat", database, "--thread=ada-1", "--user=bob", "--model=offline", said=b"Hi"
    )
    assert "A list of conversations needs" in cli.refused(
        "chat", database, "--continue", "--model=offline", said=b"Hi", code=1
    )
    code, out, err = cli("db", "copy", URL, "sqlite:///here.db")
    assert (code, err) == (0, "")
    assert out.startswith("1 conversation copied to sqlite:///here.db")
    assert "Refund order 1001" in cli("approvals", "list", "--database=sqlite:///here.db")[1]


def test_a_call_of_a_named_thread_is_listed_shown_and_decided(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    named = (f"--database={URL}", "--thread=ada-1")
    cli("chat", *named, "--user=ada", "--model=offline", said=b"Refund order 1001\n")
    code, out, _ = cli("approvals", "list", *named, "--json")
    [call] = json.loads(out)
    assert (code, call["thread_id"], call["user_id"], call["name"]) == (0, "ada-1", "ada", "refund_order")
    shown = cli("approvals", "show", *named)[1]
    assert f"holdfast approvals reject {call['interrupt_id'][:8]} --thread ada-1 --database '{SHOWN}'" in shown
    approve = ("approvals", "approve", call["interrupt_id"], *named, "--model=offline", "--by=Grace")
    code, out, err = cli(*approve)
    assert (code, "1001 is refunded" in out) == (0, True), err
    assert "No call waits under the id" in cli.refused(*approve)
    assert cli("approvals", "list", *named)[1] == "No call waits for a decision.\n"
    assert Shop(cli.folder / "shop.db").count("refunds") == 1


def test_every_other_command_is_refused_before_it_connects(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(by_url.OPENERS, "redis", lambda url: pytest.fail("it connects"))
    others = {**NEED_ONE, "db upgrade": [], "threads import": ["threads.jsonl.gz"]}
    (cli.folder / "threads.jsonl.gz").touch()
    for command, arguments in others.items():
        given = ["sqlite:///target.db", URL] if command == "db copy" else [*arguments, f"--database={URL}"]
        refused = cli.refused(*command.split(), *given)
        assert f"{SHOWN} is a database of another checkpointer" in refused, command
        assert f"holdfast db copy {SHOWN} sqlite:///chat.db" in refused, command
    assert [path.name for path in cli.folder.iterdir()] == ["threads.jsonl.gz"]
