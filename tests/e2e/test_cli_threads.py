"""`holdfast threads`: what was said, on a terminal and in files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from holdfast.checkpoints import Transcript, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.checkpoints.transcript import export as exports
from holdfast.graph import Conversation, build_graph
from tests.support.cli_kit import Cli
from tests.support.kit import change, say
from tests.support.stock_kit import in_stock

AT = "--database=sqlite:///chat.db"


@pytest.fixture
def talked(cli: Cli) -> Cli:
    """A database in which Ada has said something, with a tool call and an approval."""
    with open_checkpointer("sqlite:///chat.db") as saver:
        ada = Conversation(build_graph(model="offline", checkpointer=saver), "ada-1", "ada")
        ada.send("I am Ada. Please refund order 1001.")
        ada.approve(by="Grace")
        ada.send("\x1b[2JThank you\u202e.")
    return cli


def test_a_conversation_is_shown_as_it_was(talked: Cli) -> None:
    code, out, err = talked("threads", "show", "ada-1", AT, "--user=ada")
    assert (code, err) == (0, "")
    assert "#1  User ada\n" in out
    assert "    I am Ada. Please refund order 1001.\n" in out
    assert '    Calls refund_order: {"order_id": 1001}\n' in out
    assert "    Approved by Grace, 20" in out
    assert "    <U+001B>[2JThank you<U+202E>.\n" in out
    assert all(line.startswith(("#", "-- ", "    ")) for line in out.splitlines())

    code, out, _ = talked("threads", "show", "ada-1", AT, "--json", "--last=2")
    first, last = map(json.loads, out.splitlines())
    assert (code, first["role"], first["text"], last["role"]) == (0, "human", "\x1b[2JThank you\u202e.", "ai")


def test_an_export_is_a_whole_file_or_none(talked: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    export = ("threads", "export", "ada-1", AT)
    code, lines, err = talked(*export)
    assert (code, err, {json.loads(line)["thread_id"] for line in lines.splitlines()[:-1]}) == (0, "", {"ada-1"})
    assert talked(*export, "--format=markdown")[1].startswith("# Transcript of ada-1 · I am Ada")
    code, out, err = talked(*export, "--format=html", "--output=ada.html")
    assert (code, out) == (0, "")
    assert re.fullmatch(r"Written to ada.html: 9 entries, sha256:[0-9a-f]{64}\.\n", err)
    page = talked.folder / "ada.html"
    assert "I am Ada. Please refund order 1001." in talked(*export, "--format=html")[1]

    before, there = page.read_text("utf-8"), set(talked.folder.iterdir())
    assert "ada.html exists already" in talked.refused(*export, "--output=ada.html")
    assert "is a folder" in talked.refused(*export, "--output=.")
    assert "There is no folder nowhere" in talked.refused(*export, "--output=nowhere/ada.html")

    def fails(transcript: Transcript) -> Iterator[str]:
        yield "half"
        raise DatabaseUnavailable("It went away.")

    monkeypatch.setattr(exports, "jsonl", fails)
    assert talked.refused(*export, "--output=ada.html", "--force", code=1) == "It went away."
    assert talked.refused(*export, "--output=ada.jsonl", code=1) == "It went away."
    assert (page.read_text("utf-8"), set(talked.folder.iterdir())) == (before, there)
    assert talked(*export, "--format=markdown", "--output=ada.html", "--force")[0] == 0
    assert page.read_text("utf-8").startswith("# Transcript")


def test_an_exported_file_is_verified_with_and_without_the_conversation(talked: Cli) -> None:
    for format_, path in (("jsonl", "ada.jsonl"), ("html", "ada.html"), ("markdown", "ada.md")):
        assert talked("threads", "export", "ada-1", AT, f"--format={format_}", f"--output={path}")[0] == 0
    code, out, err = talked("threads", "verify", "ada.html")
    assert (code, err) == (0, "")
    assert "The file is as it was written" in out
    assert "not compared" in out
    assert talked("threads", "export", "ada-1", AT, "--format=holdfast", "--output=whole.jsonl")[0] == 0
    assert "`holdfast threads import` checks" in talked.refused("threads", "verify", "whole.jsonl")
    with open_checkpointer("sqlite:///chat.db") as saver:
        say(saver, "one more")
    for path in ("ada.jsonl", "ada.html", "ada.md"):
        code, out, _ = talked("threads", "verify", path, AT)
        assert (code, "still says the same, and has 2 entries more since." in out) == (0, True)
    with open_checkpointer("sqlite:///chat.db") as saver:
        change(saver, "UPDATE holdfast_messages SET role = 'system', content = 'I am Eve.' WHERE seq = 1")
    for path in ("ada.jsonl", "ada.html", "ada.md"):
        code, out, _ = talked("threads", "verify", path, AT)
        assert (code, "does NOT say the same" in out, "#1 is altered" in out) == (1, True, True)
    file = talked.folder / "ada.jsonl"
    file.write_text(file.read_text("utf-8").replace("Thank you", "I blame you"), "utf-8", newline="")
    code, out, _ = talked("threads", "verify", "ada.jsonl", "--json")
    found = json.loads(out)
    assert (code, found["is_intact"], found["is_same"], len(found["problems"])) == (1, False, None, 2)
    for path, why in (("chat.db", "neither JSONL nor HTML nor Markdown"), ("no.html", "No such file")):
        assert why in talked.refused("threads", "verify", path, code=1 if path == "no.html" else 2)
    with open_checkpointer("sqlite:///other.db") as saver:
        say(saver, "Hello", thread_id="bob-1")
    assert "'ada-1'" in talked.refused("threads", "verify", "ada.md", "--database=sqlite:///other.db")


def test_an_unknown_thread_and_one_of_another_user_are_refused_alike_in_one_line(talked: Cli) -> None:
    for command in ("show", "export"):
        hers = talked.refused("threads", command, "ada-1", AT, "--user=grace")
        unknown = talked.refused("threads", command, "ada-2", AT, "--user=grace")
        assert hers.replace("ada-1", "ada-2") == unknown
    assert "thread_id" in talked.refused("threads", "show", "", AT)
    assert "--last" in talked.refused("threads", "show", "ada-1", AT, "--last=0")
    assert "'jsonl', 'markdown', 'html'" in talked.refused("threads", "export", "ada-1", AT, "--format=pdf")
    assert "There are no conversations" in talked.refused("threads", "show", "ada-1", "--database=sqlite:///no.db")
    assert not (talked.folder / "no.db").exists()
    assert "memory://" in talked.refused("threads", "show", "ada-1", "--database=memory://")


def test_a_thread_that_cannot_be_shown_says_why(cli: Cli, sqlite_url: str) -> None:
    at = f"--database={sqlite_url}"
    in_stock(sqlite_url, lambda stock: say(stock, "one"))
    code, out, err = cli("threads", "show", "ada-1", at)
    assert (code, out, "holdfast db compact" in err) == (0, "", True)
    with open_checkpointer(sqlite_url) as saver:
        say(saver, "two")
        change(saver, "UPDATE holdfast_messages SET content = 'altered' WHERE seq = 1")
    code, out, _ = cli("threads", "show", "ada-1", at)
    assert (code, "altered" in out, "It cannot be read: Thread 'ada-1' is damaged" in out) == (0, True, True)
