"""Access control for a server: who calls, and what they may do.

It is used by `holdfast serve`, and by an application of your own as ASGI middleware.
"""

from holdfast.server.access.authenticator import Authenticator
from holdfast.server.access.gate import AccessGate, principal_of, user_of
from holdfast.server.access.json_web_tokens import JwtVerifier, TokenIssuer
from holdfast.server.access.principal import Principal, Role
from holdfast.server.access.setup import check_address, is_loopback, make_authenticator
from holdfast.server.access.tokens import InvalidAccess, Token, TokenFile

__all__ = [
    "AccessGate",
    "Authenticator",
    "InvalidAccess",
    "JwtVerifier",
    "Principal",
    "Role",
    "Token",
    "TokenFile",
    "TokenIssuer",
    "check_address",
    "is_loopback",
    "make_authenticator",
    "principal_of",
    "user_of",
]
