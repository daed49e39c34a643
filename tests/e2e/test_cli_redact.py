"""`holdfast threads redact`, and the settings that redact before anything is stored."""

from __future__ import annotations

import json

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph, texts, thread

CARD = "4111 1111 1111 1111"


@pytest.mark.sweep
def test_conversations_are_redacted_looked_at_first_and_recorded(
    cli: Cli, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_checkpointer(sqlite_url) as saver:
        for user, thread_id in (("ada", "ada-1"), ("bob", "bob-1")):
            echo_graph(saver).invoke({"messages": [("user", f"card {CARD}")]}, thread(thread_id, user_id=user))

    def redact(*words: str) -> str:
        code, out, err = cli("threads", "redact", f"--database={sqlite_url}", *words)
        assert code == 0, err
        return out

    assert "would be redacted" in redact("ada-1", "--named=card", "--dry-run")
    out = redact("ada-1", "--named", "card, email", "--user=ada", "--reason=asked for", "--by=eve")
    assert "of 1 conversation were redacted." in out
    assert redact("ada-1", "--named=card") == "Nothing to redact was found.\n"
    monkeypatch.setattr("builtins.input", lambda: "n")
    command = ("threads", "redact", f"--database={sqlite_url}")
    assert cli.refused(*command, "--everywhere", "--named=card").endswith("[y/N] Nothing was redacted.")
    assert "Needed" in cli.refused(*command, "ada-1")
    assert "position 0" in cli.refused(*command, "ada-1", "--pattern=(")
    done = json.loads(redact("--everywhere", "--pattern=4[0-9 ]+", "--yes", "--json"))
    assert (done["threads"], done["found"].keys()) == (["bob-1"], {"pattern"})
    assert json.loads(redact("bob-1", "--number=1", "--json"))["places"]["messages"] == 1
    with open_checkpointer(sqlite_url) as saver:
        assert texts(saver) == ["card [redacted: card]", "You said: card [redacted: card]"]
        assert texts(saver, "bob-1")[0] == "[redacted]"
        [event] = [entry for entry in saver.transcript("ada-1") if getattr(entry, "event", "") == "redacted"]
        assert (event.by, event.data["reason"], event.data["patterns"]) == ("eve", "asked for", ["card", "email"])


def test_a_setting_redacts_what_is_said_before_it_is_stored(
    cli: Cli, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_REDACT", "card, email")
    monkeypatch.setenv("HOLDFAST_REDACT_PATTERN", "sk-[a-z]+")
    said = f"My card is {CARD}, my key sk-abc.\n".encode()
    code, _, err = cli("chat", "--thread=ada-1", "--model=offline", f"--database={sqlite_url}", said=said)
    assert code == 0, err
    with open_checkpointer(sqlite_url) as saver:
        assert texts(saver)[0] == "My card is [redacted: card], my key [redacted]."
    refused = cli.refused("chat", "--thread=ada-1", "--model=offline", "--database=redis://localhost", said=b"Hi\n")
    assert "HOLDFAST_REDACT" in refused
