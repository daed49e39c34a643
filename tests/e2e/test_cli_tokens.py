"""`holdfast tokens`: who may call the server."""

from __future__ import annotations

import json

from holdfast.server.access import Principal, Role, TokenFile
from tests.support.cli_kit import Cli


def test_a_token_is_made_listed_without_itself_and_revoked(cli: Cli) -> None:
    code, token, err = cli("tokens", "add", "--user", "grace", "--role", "approver", "--role", "metrics")
    assert (code, "Its hash is in tokens.jsonl. Serve with HOLDFAST_TOKENS=tokens.jsonl" in err) == (0, True)
    tokens = TokenFile(cli.folder / "tokens.jsonl")
    assert tokens.find(token.strip()) == Principal("grace", frozenset({Role.APPROVER, Role.METRICS}))

    [listed] = json.loads(cli("tokens", "list", "--json")[1])
    assert (listed["user"], listed["roles"], listed["revoked"]) == ("grace", ["approver", "metrics"], None)
    assert "grace  approver, metrics  valid" in cli("tokens", "list")[1]

    assert cli("tokens", "revoke", listed["id"])[1] == f"Token {listed['id']} of grace is revoked.\n"
    assert tokens.find(token.strip()) is None
    assert "revoked 2" in cli("tokens", "list")[1]


def test_what_cannot_be_a_token_is_refused_in_one_line(cli: Cli) -> None:
    assert "There is no file of tokens tokens.jsonl" in cli.refused("tokens", "list")
    assert "--role 'chef' is no role. Needed: approver, auditor, metrics." in cli.refused(
        "tokens", "add", "--user=ada", "--role=chef"
    )
    assert "is not a time" in cli.refused("tokens", "add", "--user=ada", "--expires=never")
    assert "'' is no user" in cli.refused("tokens", "add", "--user=")
    assert cli("tokens", "add", "--user=ada")[0] == 0
    assert "There is no token '12'" in cli.refused("tokens", "revoke", "12")
