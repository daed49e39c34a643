"""Tokens in a file: hashes only, of its owner only, and each refusal at the next request."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.server.access import Authenticator, InvalidAccess, Principal, Role, TokenFile


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.jsonl")


def test_a_token_is_its_users_and_the_file_holds_only_its_hash(tokens: TokenFile, tmp_path: Path) -> None:
    token = tokens.add("ada", [Role.APPROVER])
    assert tokens.find(token) == Principal("ada", frozenset({Role.APPROVER}))
    file = tmp_path / "tokens.jsonl"
    assert token.rpartition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change", [lambda token: token[:-1], lambda token: token.upper(), lambda _: "", lambda _: "\ud800"]
)
def test_another_token_is_no_callers(tokens: TokenFile, change: Callable[[str], str]) -> None:
    assert tokens.find(change(tokens.add("ada"))) is None


def test_a_revoked_token_is_refused_by_a_server_that_runs_and_an_expired_one(tokens: TokenFile, tmp_path: Path) -> None:
    token, expired = tokens.add("ada"), tokens.add("ada", expires=datetime(2026, 1, 1, tzinfo=UTC))
    served = TokenFile(tmp_path / "tokens.jsonl")
    assert (served.find(token), served.find(expired)) == (Principal("ada"), None)
    tokens.revoke(tokens.all()[0].id)
    assert served.find(token) is None


def test_a_file_that_others_can_read_is_refused(tokens: TokenFile, tmp_path: Path) -> None:
    token = tokens.add("ada")
    (tmp_path / "tokens.jsonl").chmod(0o640)
    for refused in (lambda: TokenFile(tmp_path / "tokens.jsonl").find(token), lambda: tokens.add("bob")):
        with pytest.raises(InvalidAccess, match=r"can be read by others. Needed: .* Run: chmod 600"):
            refused()


def test_a_file_that_is_none_is_refused_and_lets_no_one_in(tokens: TokenFile, tmp_path: Path) -> None:
    token = tokens.add("ada")
    with (tmp_path / "tokens.jsonl").open("a") as file:
        file.write('{"token": "1"}\n')
    with pytest.raises(InvalidAccess, match=r"Line 2 of .* is none"):
        tokens.find(token)
    assert Authenticator(tokens).find(token) is None


async def test_a_token_is_taken_from_two_headers_and_never_from_a_cookie(tokens: TokenFile) -> None:
    token = tokens.add("ada").encode()
    caller = Authenticator(tokens).principal
    ada = Principal("ada")
    assert await caller([(b"authorization", b"Bearer " + token)]) == ada
    assert await caller([(b"x-api-key", token), (b"authorization", b"bearer " + token)]) == ada
    for headers in (
        [(b"cookie", b"authorization=Bearer " + token)],
        [(b"authorization", b"Basic " + token)],
        [(b"x-api-key", token), (b"authorization", b"Bearer other")],
    ):
        assert await caller(headers) is None
