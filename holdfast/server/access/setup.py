"""Access control as the settings have it, and the refusal to do without it where others can call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.server.access.addresses import is_loopback
from holdfast.server.access.authenticator import Authenticator
from holdfast.server.access.json_web_tokens import JwtVerifier, TokenIssuer
from holdfast.server.access.tokens import InvalidAccess, TokenFile

if TYPE_CHECKING:  # it needs the packages of the command line
    from holdfast.server_settings import ServerSettings


def make_authenticator(settings: ServerSettings) -> Authenticator | None:
    """Return what finds the caller of a request; `None` if access control is off, since nothing for it is set.

    Args:
        settings: name the file of tokens, or the service that issues them, or both.

    Raises:
        InvalidAccess: the file or the keys cannot be used, or a setting is missing.
    """
    tokens = None if settings.tokens is None else TokenFile(settings.tokens)
    if tokens is not None:
        tokens.all()  # a file that cannot be used is told now, and not to the first caller
    verifier = _make_verifier(settings)
    return None if tokens is None and verifier is None else Authenticator(tokens, verifier)


def _make_verifier(settings: ServerSettings) -> JwtVerifier | None:
    given = {
        "HOLDFAST_JWT_KEYS": settings.jwt_keys,
        "HOLDFAST_JWT_AUDIENCE": settings.jwt_audience,
        "HOLDFAST_JWT_ISSUER": settings.jwt_issuer,
    }
    if not any(given.values()):
        return None
    if missing := [name for name, value in given.items() if not value]:
        raise InvalidAccess(
            f"{missing[0]} is not set, and JSON Web Tokens are to be accepted. Needed: all of {', '.join(given)}, "
            "since the same service signs tokens for others too."
        )
    keys, audience, issuer = map(str, given.values())
    return JwtVerifier(TokenIssuer(keys, audience, issuer, roles_claim=settings.jwt_roles))


def check_address(host: str, *, has_access_control: bool) -> None:
    """Refuse to listen where others can call without access control.

    Args:
        host: the address to listen on.
        has_access_control: whether callers are authenticated.

    Raises:
        InvalidAccess: others can call, and would be let in.
    """
    if not has_access_control and not is_loopback(host):
        raise InvalidAccess(
            f"{host} can be reached from other machines, and no access control is set up: every caller could read all "
            "conversations and approve every call. Needed: tokens (holdfast tokens add --user NAME, then "
            "HOLDFAST_TOKENS) or JSON Web Tokens (HOLDFAST_JWT_KEYS). Or listen on 127.0.0.1."
        )
