"""Who a caller is, by the headers of a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from holdfast.server.access.json_web_tokens import JwtVerifier
from holdfast.server.access.principal import Principal
from holdfast.server.access.tokens import PREFIX, InvalidAccess, TokenFile

# A token is shorter; what is longer is not looked at.
_LONGEST: Final = 8_192

_log = logging.getLogger(__name__)


class Authenticator:
    """Finds the caller of a request by its token: `Authorization: Bearer TOKEN`, or `X-Api-Key: TOKEN`.

    A token is never taken from a cookie, which a browser would send along with requests that other pages make.

    Args:
        tokens: the tokens that this server has given out.
        verifier: for the tokens of another service.
    """

    def __init__(self, tokens: TokenFile | None = None, verifier: JwtVerifier | None = None) -> None:
        self._tokens = tokens
        self._verifier = verifier

    async def principal(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | None:
        """Return the caller; `None` if the request has no valid token.

        Args:
            headers: the headers of the request, as ASGI has them.
        """
        token = _token_of(headers)
        # A file may have changed, and keys may have to be fetched.
        return None if token is None else await asyncio.to_thread(self.find, token)

    def find(self, token: str) -> Principal | None:
        """Return the caller that a token belongs to; `None` if it is not valid. It blocks."""
        try:
            if self._tokens is not None and token.startswith(PREFIX):
                return self._tokens.find(token)
            return None if self._verifier is None else self._verifier.find(token)
        except InvalidAccess as error:
            _log.error("A request was refused, because its token cannot be verified: %s", error)
            return None


def _token_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the token of a request; `None` if it has none, or several that differ."""
    found = set()
    for name, value in headers:
        scheme, _, credentials = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            found.add(credentials.strip())
        elif name == b"x-api-key":
            found.add(value.strip())
    if len(found) != 1 or len(token := found.pop()) > _LONGEST:
        return None
    return token.decode("latin-1") or None
