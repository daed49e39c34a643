"""JSON Web Tokens: only what the named service has signed, for us, and in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from holdfast.server.access import Authenticator, InvalidAccess, JwtVerifier, Principal, Role, TokenIssuer

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(key: Any = KEY, algorithm: str = "EdDSA", headers: dict[str, str] | None = None, **claims: Any) -> str:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    all_claims = {"sub": "ada", "aud": "holdfast", "iss": "https://login.example", "exp": soon, **claims}
    given = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "keys.pem").write_bytes(PEM)
    return tmp_path / "keys.pem"


def verifier(keys: Path) -> JwtVerifier:
    return JwtVerifier(TokenIssuer(str(keys), "holdfast", "https://login.example"))


def test_the_subject_is_the_user_and_a_claim_has_the_roles(keys: Path) -> None:
    found = verifier(keys).find
    assert found(signed()) == Principal("ada")
    assert found(signed(roles=["approver", "chef"])) == Principal("ada", frozenset({Role.APPROVER}))
    assert found(signed(roles="auditor chef")) == Principal("ada", frozenset({Role.AUDITOR}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": OTHER},
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"exp": datetime.now(UTC) - timedelta(minutes=1)},
        {"nbf": datetime.now(UTC) + timedelta(days=1)},
        {"sub": " "},
        {"exp": None},
        {"sub": None},
        {"aud": None},
        {"iss": None},
        {"key": "", "algorithm": "none"},
        {"key": "a secret that is long enough for the hash", "algorithm": "HS256"},
    ],
    # Not `str`: the workers of pytest-xdist would find other times, and so other tests.
    ids=[
        "key",
        "audience",
        "issuer",
        "expired",
        "not yet",
        "no subject",
        "without exp",
        "without sub",
        "without aud",
        "without iss",
        "algorithm none",
        "shared secret",
    ],
)
def test_a_token_that_says_anything_else_is_no_callers(keys: Path, wrong: dict[str, Any]) -> None:
    assert verifier(keys).find(signed(**wrong)) is None


def test_a_clock_may_be_half_a_minute_late(keys: Path) -> None:
    assert verifier(keys).find(signed(exp=datetime.now(UTC) - timedelta(seconds=10))) == Principal("ada")


def test_the_key_of_a_set_is_found_by_its_id(tmp_path: Path) -> None:
    keys = tmp_path / "jwks.json"
    key = {
        name: json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(name_key.public_key()))
        for name, name_key in (("1", KEY), ("2", OTHER))
    }
    keys.write_text(json.dumps({"keys": [{**found, "kid": kid} for kid, found in key.items()]}))
    found = verifier(keys).find
    assert found(signed(headers={"kid": "1"})) == found(signed(OTHER, headers={"kid": "2"})) == Principal("ada")
    assert found(signed(headers={"kid": "2"})) is None
    assert found(signed(headers={"kid": "3"})) is None
    assert found(signed()) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "has a private key"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "shared secret"),
        (b"nothing", "has no public keys"),
    ],
    ids=["private", "secret", "none"],
)
def test_keys_that_are_not_public_are_refused(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "keys").write_bytes(text)
    with pytest.raises(InvalidAccess, match=words):
        verifier(tmp_path / "keys")


def test_keys_are_fetched_and_an_outage_of_their_service_lets_no_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    key = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key()))
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda _: {"keys": [{**key, "kid": "1"}]})
    issuer = TokenIssuer("https://login.example/jwks", "holdfast", "https://login.example")
    found = JwtVerifier(issuer).find
    assert found(signed(headers={"kid": "1"})) == Principal("ada")
    assert found(signed(headers={"kid": "2"})) is None
    assert found(signed()) is None

    def fail(_: Any) -> None:
        raise jwt.PyJWKClientConnectionError

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fail)
    verifier = JwtVerifier(issuer)
    with pytest.raises(InvalidAccess, match="cannot be fetched"):
        verifier.find(signed(headers={"kid": "1"}))
    assert Authenticator(verifier=verifier).find(signed(headers={"kid": "1"})) is None


def test_keys_are_fetched_over_https_only() -> None:
    with pytest.raises(InvalidAccess, match="begins with https"):
        JwtVerifier(TokenIssuer("http://login.example/jwks", "holdfast", "https://login.example"))
