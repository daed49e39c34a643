"""Deleting many conversations, and old checkpoints, on the command line; and what Tab completes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import Threads, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread, UnknownThread
from holdfast.cli.completion import thread_ids
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph


@pytest.fixture
def filled(cli: Cli, sqlite_url: str) -> str:
    """The option --database of a file with two conversations of Ada's, and one of Grace's that is shared with Ada."""
    with open_checkpointer(sqlite_url) as saver:
        for thread_id, user in (("ada-1", "ada"), ("ada-2", "ada"), ("grace-1", "grace")):
            config = {"configurable": {"thread_id": thread_id}, "metadata": {"user_id": user}}
            for text in ("Hello", "Again"):
                echo_graph(saver).invoke({"messages": [("user", text)]}, config)
        saver.threads.share("grace-1", "ada")
    return f"--database={sqlite_url}"


def listed(cli: Cli, at: str) -> list[str]:
    return [thread["thread_id"] for thread in json.loads(cli("threads", "list", at, "--json")[1])["threads"]]


def test_all_conversations_of_a_user_are_deleted_and_those_only_shared_stay(cli: Cli, filled: str) -> None:
    code, out, _ = cli("threads", "delete", "--user", "ada", "--dry-run", filled)
    assert code == 0
    assert re.findall("(?:ada|grace)-[0-9]", out) == ["ada-2", "ada-1"]
    assert out.endswith("2 conversations with 8 messages would be deleted. Nothing was deleted.\n")
    assert listed(cli, filled) == ["grace-1", "ada-2", "ada-1"]

    assert cli("threads", "delete", "--user", "ada", "--yes", filled) == (
        0,
        "2 conversations with 8 messages deleted.\n",
        "",
    )
    assert listed(cli, filled) == ["grace-1"]


@pytest.mark.sweep
def test_conversations_of_a_time_are_deleted_if_the_person_confirms(
    cli: Cli, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("threads", "delete", "--until", "1d", filled, "--yes")[1] == "No conversations deleted.\n"
    monkeypatch.setattr("builtins.input", lambda: "n")
    code, _, err = cli("threads", "delete", "--until", "2100-01-01", filled)
    assert (code, "Delete 3 conversations with 12 messages for good? [y/N] Nothing was deleted." in err) == (2, True)
    assert len(listed(cli, filled)) == 3

    code, out, _ = cli("threads", "delete", "--until", "2100-01-01", "--user", "grace", filled, "--yes", "--json")
    assert json.loads(out) == {"deleted": ["grace-1"], "messages": 4, "failed": {}}


@pytest.mark.sweep
def test_what_to_delete_has_to_be_said(cli: Cli, filled: str) -> None:
    assert "Needed: THREAD, --user NAME, or --until WHEN" in cli.refused("threads", "delete", "--yes", filled)
    assert "Needed: one of them" in cli.refused("threads", "delete", "ada-1", "--until", "1d", "--yes", filled)
    assert cli("threads", "delete", "ada-1", "--dry-run", filled)[1].endswith("Nothing was deleted.\n")
    assert len(listed(cli, filled)) == 3


def test_old_checkpoints_are_pruned_and_the_conversations_go_on(cli: Cli, filled: str, sqlite_url: str) -> None:
    code, out, _ = cli("db", "prune", "--dry-run", "--json", filled)
    before = json.loads(out)
    assert (code, before["threads"]) == (0, 3)

    code, out, err = cli("db", "prune", "--json", filled)
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "deleted": before["checkpoints"] - 3,
        "checkpoints": 3,
        "vacuumed": False,
        "failed": {},
    }
    assert cli("db", "prune", filled)[1] == "0 checkpoints deleted; 3 stay.\n"
    with open_checkpointer(sqlite_url) as saver:
        config = {"configurable": {"thread_id": "ada-1"}}
        found = echo_graph(saver).invoke({"messages": [("user", "Still there?")]}, config)
    assert len(found["messages"]) == 6


@pytest.mark.sweep
def test_tab_completes_the_ids_of_threads_and_creates_nothing(cli: Cli, filled: str, sqlite_url: str) -> None:
    assert thread_ids(sqlite_url, "ada") == ["ada-2", "ada-1"]
    assert thread_ids(sqlite_url, "") == ["grace-1", "ada-2", "ada-1"]

    assert thread_ids(f"sqlite:///{cli.folder}/missing.db", "") == []
    assert not Path(cli.folder, "missing.db").exists()
    assert thread_ids("nonsense://", "") == []
    assert thread_ids("memory://", "") == []


@pytest.mark.sweep
@pytest.mark.parametrize("words", ["holdfast threads show gra", "holdfast chat --thread gra"])
def test_a_shell_is_given_the_ids(
    cli: Cli,
    filled: str,
    sqlite_url: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE", sqlite_url)
    monkeypatch.setenv("_HOLDFAST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))

    with pytest.raises(SystemExit):
        cli()

    assert capsys.readouterr().out.split() == ["grace-1"]


def test_what_cannot_be_deleted_is_named_and_the_others_are_deleted(
    cli: Cli, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = Threads.delete

    def troubled(self: Threads, thread_id: str, **how: Any) -> None:
        if thread_id == "ada-1":
            raise DamagedThread(thread_id, "a row is missing")
        delete(self, thread_id, **how)
        if thread_id == "ada-2":  # as if another command had been first
            raise UnknownThread(thread_id)

    monkeypatch.setattr(Threads, "delete", troubled)
    code, out, err = cli("threads", "delete", "--until", "2100-01-01", "--yes", filled)
    assert (code, out) == (1, "1 conversation with 4 messages deleted.\n")
    assert err.startswith("Not deleted: ada-1: ")
    assert listed(cli, filled) == ["ada-1"]
    monkeypatch.undo()
    assert cli("threads", "delete", "ada-1", "--yes", filled)[:2] == (0, "ada-1 was deleted.\n")
