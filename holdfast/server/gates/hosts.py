"""ASGI middleware that checks by which name a server is called, and from which web page.

A page can let its own name resolve to this machine, and its script then calls a server here as if it were its own
(DNS rebinding). The request still carries the name of the page, as `Host` and as `Origin`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.access.addresses import is_loopback
from holdfast.server.access.tokens import InvalidAccess
from holdfast.server.gates.access import IsPublic, is_up
from holdfast.server.gates.problems import refuse

ANY: Final = "*"
_WILDCARDS: Final = ("0.0.0.0", "::", "")  # noqa: S104 - what is looked for


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names of a server, and the origins of the web pages that may call it."""

    hosts: frozenset[str]
    """Names without a port; `*`: any."""
    origins: frozenset[str]
    """Origins, such as `https://chat.example`; `*`: any. Pages of the server's own origin may always call it."""
    local_pages: bool
    """Whether pages of this machine may call it, under any port."""

    @classmethod
    def of(cls, host: str, hosts: Collection[str] = (), origins: Collection[str] = ()) -> KnownNames:
        """Return the names of a server that listens on an address.

        Args:
            host: the address.
            hosts: more names by which it is called.
            origins: the origins of web pages that may call it.

        Raises:
            InvalidAccess: it listens on all addresses, and no name is given.
        """
        if host in _WILDCARDS and not hosts:
            raise InvalidAccess(
                f"{host or 'The server'} means all addresses, and the names by which it is called are not known. "
                "Needed: HOLDFAST_HOSTS, with commas between the names, such as chat.example,10.0.0.7; or * for any."
            )
        names = {*hosts} if host in _WILDCARDS else {host, *hosts}
        if is_loopback(host):
            names |= {"localhost", "127.0.0.1", "::1"}
        known = frozenset(name.lower().strip("[]") for name in names)
        return cls(known, frozenset(origin.lower().rstrip("/") for origin in origins), is_loopback(host))

    def problem(self, scope: Scope) -> str | None:
        """Return why a request is refused; `None` if it is called by a known name, from a page that may."""
        named = [*_headers(scope, b"host")]
        host = _host(f"//{named[0]}") if len(named) == 1 else None
        if host is None or (host not in self.hosts and ANY not in self.hosts):
            return "The server is not known by this name. HOLDFAST_HOSTS has the names of the server."
        for origin in _headers(scope, b"origin"):
            if not self._may_call(origin.lower(), named[0].lower()):
                return "Pages of this origin may not call the server. HOLDFAST_ORIGINS has those that may."
        return None

    def _may_call(self, origin: str, named: str) -> bool:
        if self.origins & {origin, ANY} or urlsplit(origin).netloc == named:
            return True
        return self.local_pages and is_loopback(_host(origin) or "")


class HostGate:
    """Refuses requests under an unknown name, or from a page of an unknown origin.

    Args:
        app: the application behind it.
        known: the names and origins that are known.
        is_public: whether a request is answered under any name.
    """

    def __init__(self, app: ASGIApp, known: KnownNames, is_public: IsPublic = is_up) -> None:
        self._app = app
        self._known = known
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket") and not self._is_public(scope)
        if is_request and (problem := self._known.problem(scope)):
            await refuse(scope, receive, send, 403, problem)
        else:
            await self._app(scope, receive, send)


def _headers(scope: Scope, wanted: bytes) -> Iterator[str]:
    return (value.decode("latin-1") for name, value in scope["headers"] if name == wanted)


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
