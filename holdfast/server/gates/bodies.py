"""The bodies of requests: read once, within a limit, and given on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Message, Receive, Scope

_KEY: Final = "holdfast.body"
_TEXTS: Final = ("content", "text")


class TooLarge(Exception):
    """The body of a request is larger than allowed."""


class Unreadable(ValueError):
    """The body of a request is not the JSON that it has to be."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request."""

    given: bytes
    is_json: bool
    """Whether the request says that it is JSON."""

    def value(self) -> Any:
        """Return what its JSON says; an empty dict if there is no body.

        Raises:
            Unreadable: it is no JSON, or does not say that it is. A page of another origin can send text unasked.
        """
        if not self.given:
            return {}
        if not self.is_json:
            raise Unreadable("The body has to be JSON, with Content-Type: application/json.")
        try:
            return json.loads(self.given.decode())
        except (ValueError, RecursionError):
            raise Unreadable("The body is no JSON.") from None


async def read_body(scope: Scope, receive: Receive, limit: int | None = None) -> tuple[Body, Receive]:
    """Read the body of a request, or find the one that was read before.

    Args:
        scope: the request.
        receive: its channel.
        limit: bytes that the body may have.

    Returns:
        The body, and the channel from which the application behind reads it.

    Raises:
        TooLarge: it has more bytes.
    """
    if (found := body_of(scope)) is not None:
        return found, receive
    chunks: list[bytes] = []
    size = 0
    message: Message = {}
    while not chunks or message.get("more_body"):
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if limit is not None and size > limit:
            raise TooLarge
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    body = scope[_KEY] = Body(b"".join(chunks), kind.partition(b";")[0].strip().lower() == b"application/json")
    first: list[Message] = [{"type": "http.request", "body": body.given, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return body, again


def body_of(scope: Scope) -> Body | None:
    """Return the body of a request that was read before; `None` if it was not."""
    found: Body | None = scope.get(_KEY)
    return found


def longest_text(value: Any) -> int:
    """Return the length of the longest text of a message in the JSON of a request, in characters."""
    found, left = 0, [value]
    while left:
        inner = left.pop()
        if isinstance(inner, list):
            left += inner
        elif isinstance(inner, Mapping):
            texts = [text for name, text in inner.items() if name in _TEXTS and isinstance(text, str)]
            found = max([found, *map(len, texts)])
            left += inner.values()
    return found
