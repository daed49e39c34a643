"""The commands over the database of another checkpointer: `chat` and `db copy` work, the others name the way out."""

from __future__ import annotations

import pytest

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
    assert f"To approve: holdfast chat --thread ada-1 --database '{SHOWN}'" in out + err
    assert "s3cr3t" not in err + out.replace(URL, "")
    assert "of user 'bob'" in cli.refused(
        "chat", database, "--thread=ada-1", "--user=bob", "--model=offline", said=b"Hi"
    )
    for command in (("threads", "list"), ("approvals", "list"), ("db", "stats")):
        refused = cli.refused(*command, database)
        assert f"{SHOWN} is a database of another checkpointer" in refused
        assert f"holdfast db copy {SHOWN} sqlite:///chat.db" in refused
    assert "A list of conversations needs" in cli.refused(
        "chat", database, "--continue", "--model=offline", said=b"Hi", code=1
    )
    code, out, err = cli("db", "copy", URL, "sqlite:///here.db")
    assert (code, err) == (0, "")
    assert out.startswith("1 conversation copied to sqlite:///here.db")
    assert "Refund order 1001" in cli("approvals", "list", "--database=sqlite:///here.db")[1]
