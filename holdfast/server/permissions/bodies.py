"""The bodies of requests: read once, checked, and given on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Scope


class Unreadable(ValueError):
    """The body of a request is not the JSON that it has to be."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request."""

    value: Any
    """What its JSON says; an empty dict if there is no body."""
    receive: Receive
    """The channel from which the application behind reads it."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields of the object that it is; none if it is another value."""
        return self.value if isinstance(self.value, Mapping) else {}


async def read_body(scope: Scope, receive: Receive) -> Body:
    """Read the body of a request.

    Raises:
        Unreadable: it is no JSON, or does not say that it is. A page of another origin can send text without asking.
    """
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    given = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    if not given:
        return Body({}, again)
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        raise Unreadable("The body has to be JSON, with Content-Type: application/json.")
    try:
        return Body(json.loads(given.decode()), again)
    except (ValueError, RecursionError):
        raise Unreadable("The body is no JSON.") from None


def named_threads(value: Any) -> Iterator[str]:
    """Yield the ids of threads that a request to prune threads, or to cancel runs, names."""
    fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    several = fields.get("thread_ids")
    for thread_id in (*(several if isinstance(several, list) else ()), fields.get("thread_id")):
        if thread_id is not None:
            yield str(thread_id)


def other_thread(value: Any, thread_id: str | None) -> bool:
    """Return whether a request to start runs names another thread than its path does, in a config or a checkpoint."""
    runs = value if isinstance(value, list) else [value]
    for run in (run for run in runs if isinstance(run, Mapping)):
        config = run.get("config")
        places = [run.get("checkpoint"), run.get("context")]
        places += [config.get("configurable")] if isinstance(config, Mapping) else []
        for place in places:
            if isinstance(place, Mapping) and str(place.get("thread_id", thread_id)) != str(thread_id):
                return True
    return False
