"""JSON Web Tokens of another service, whose subject is the user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.checkpoints.extras import install_command
from holdfast.server.access.principal import Principal, Role
from holdfast.server.access.tokens import InvalidAccess

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""The algorithms that a token may be signed with: those of key pairs. A shared secret (HS256) is not among them: with
it, a public key that is taken for a secret would let anyone sign."""

LEEWAY: Final = 30
"""Seconds by which the clocks of the service and of this machine may differ."""

# Seconds that a request waits for the keys of the service.
_TIMEOUT: Final = 5


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """A service that signs tokens, and what they must say."""

    keys: str
    """Where its public keys are: a file in PEM or a JWKS, or the HTTPS address of a JWKS."""
    audience: str
    issuer: str
    roles_claim: str = "roles"
    """The claim with the roles: a list of texts, or one text with spaces. Roles that are unknown here are ignored."""
    algorithms: tuple[str, ...] = ALGORITHMS
    leeway: int = LEEWAY


class JwtVerifier:
    """Verifies tokens.

    Args:
        issuer: the service that signs them.

    Raises:
        InvalidAccess: the keys cannot be read, an algorithm is not for key pairs, or PyJWT is not installed.
    """

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer
        if unknown := set(issuer.algorithms).difference(ALGORITHMS):
            raise InvalidAccess(f"{min(unknown)} cannot be used for tokens. Needed: some of {', '.join(ALGORITHMS)}.")
        try:
            import jwt
        except ImportError:
            raise InvalidAccess(f"PyJWT is not installed. Install it: {install_command('server')}") from None
        self._jwt = jwt
        self._remote = self._fetched() if "://" in issuer.keys else None
        self._keys = {} if self._remote else _read_keys(Path(issuer.keys))

    def find(self, token: str) -> Principal | None:
        """Return the caller that a token was issued to; `None` if it is not valid. May fetch keys, so it blocks.

        Raises:
            InvalidAccess: the keys cannot be fetched.
        """
        try:
            key = self._key(self._jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = self._jwt.decode(
                token,
                key,
                algorithms=list(self._issuer.algorithms),
                audience=self._issuer.audience,
                issuer=self._issuer.issuer,
                leeway=self._issuer.leeway,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except self._jwt.PyJWKClientConnectionError as error:
            raise InvalidAccess(
                f"The keys of {self._issuer.issuer} cannot be fetched from {self._issuer.keys}."
            ) from error
        except (self._jwt.PyJWTError, ValueError, TypeError):
            return None
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject.strip() or "\0" in subject:
            return None
        return Principal(subject, _roles(claims.get(self._issuer.roles_claim)))

    def _fetched(self) -> Any:
        if not self._issuer.keys.startswith("https://"):
            raise InvalidAccess(
                f"The keys are to be fetched from {self._issuer.keys}, where others could replace them. "
                "Needed: an address that begins with https://, or a file."
            )
        # It keeps keys for five minutes, and an unknown id makes it ask again at most every half a minute.
        return self._jwt.PyJWKClient(self._issuer.keys, timeout=_TIMEOUT)

    def _key(self, key_id: str | None) -> Any:
        if self._remote is not None:
            return self._remote.get_signing_key(key_id)
        found = self._keys.get(key_id, next(iter(self._keys.values())) if len(self._keys) == 1 else None)
        if found is None:
            raise self._jwt.InvalidKeyError
        return found


def _read_keys(path: Path) -> Mapping[str | None, Any]:
    """Read public keys from a file, by their ids. A key in PEM has none."""
    from jwt import PyJWKSet, PyJWTError

    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidAccess(f"Cannot read the keys in {path}: {error.strerror}.") from None
    if "PRIVATE KEY" in text:
        raise InvalidAccess(f"{path} has a private key. Needed: the public key, which cannot sign.")
    try:
        if text.lstrip().startswith("-----BEGIN"):
            from cryptography.hazmat.primitives.serialization import load_pem_public_key

            return {None: load_pem_public_key(text.encode())}
        keys = PyJWKSet.from_dict(json.loads(text)).keys
    except (PyJWTError, ValueError, TypeError, AttributeError):
        raise InvalidAccess(f"{path} has no public keys. Needed: a key in PEM, or a JWKS.") from None
    if any(key.key_type == "oct" for key in keys):
        raise InvalidAccess(f"{path} has a shared secret. Needed: public keys.")
    return {key.key_id: key for key in keys}


def _roles(claim: object) -> frozenset[Role]:
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(role for role in Role if role in names)
