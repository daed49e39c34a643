"""Who calls a server: tokens, and what their users may do. `holdfast.server.gates` has the middleware."""

from holdfast.server.access.authenticator import Authenticator
from holdfast.server.access.json_web_tokens import JwtVerifier, TokenIssuer
from holdfast.server.access.principal import Principal, Role
from holdfast.server.access.setup import check_address, make_authenticator
from holdfast.server.access.tokens import InvalidAccess, Token, TokenFile

__all__ = [
    "Authenticator",
    "InvalidAccess",
    "JwtVerifier",
    "Principal",
    "Role",
    "Token",
    "TokenFile",
    "TokenIssuer",
    "check_address",
    "make_authenticator",
]
