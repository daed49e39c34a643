"""The ways in by HTTP, as a client has them. `Router` is here, and `dev_server` has the other one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import httpx

TIMEOUT: Final = 60.0
"""Seconds after which a request that is not answered is a failure of the server."""

LIMITS: Final = httpx.Limits(keepalive_expiry=1.0)
"""Servers close a connection that has been idle for five seconds; a client must not send on it in that moment."""

ENDED: Final = ("done", "failed", "cancelled")


class Unreachable(Exception):
    """The server died before it answered. It may have done what was asked."""


@dataclass
class Refused(Exception):
    """The server refused a request."""

    status: int
    words: str


@dataclass(frozen=True)
class Seen:
    """A run, as a client sees it."""

    state: str

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Question:
    """A request that waits for a person."""

    id: str
    value: dict[str, Any]

    @property
    def order(self) -> str:
        """The order that it is about."""
        return str(self.value["args"]["order"])

    @property
    def is_doubt(self) -> bool:
        """Whether it is about a call whose outcome is unknown."""
        return bool(self.value["type"] == "effect_in_doubt")


@dataclass(frozen=True)
class Part:
    """What a client has read of a stream before it broke it off."""

    run_id: str
    ids: Sequence[str] = ()
    """The ids of the events."""
    has_ended: bool = False
    """Whether it came to its end."""


class Door(ABC):
    """A way in. Its methods are called by several threads at once.

    Raises, from every method:
        Unreachable: the server died.
        Refused: it does not do that.
    """

    has_keys: ClassVar[bool]
    """Whether the same request twice, under one idempotency key, is one."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def begin(self, url: str, thread: str) -> None:
        """Make a thread, if it has to be made."""

    @abstractmethod
    def send(self, url: str, thread: str, text: str, key: str | None = None) -> str:
        """Send a message. Return the id of the run that was accepted."""

    @abstractmethod
    def send_and_leave(self, url: str, thread: str, text: str, events: int, key: str | None = None) -> Part:
        """Send a message, read some events of its stream, and break it off."""

    @abstractmethod
    def read(self, url: str, thread: str, part: Part, events: int | None = None) -> Part:
        """Read on in a stream, some events of it or to its end. Return all that was read."""

    @abstractmethod
    def answer(self, url: str, thread: str, question: str, answer: Any, key: str | None = None) -> str:
        """Answer a request. Return the id of the run that was accepted."""

    @abstractmethod
    def retry(self, url: str, thread: str, key: str | None = None) -> str:
        """Go on with a turn that failed. Return the id of the run that was accepted."""

    @abstractmethod
    def cancel(self, url: str, thread: str, run_id: str) -> None:
        """Ask a run to stop."""

    @abstractmethod
    def run(self, url: str, thread: str, run_id: str) -> Seen:
        """Return a run."""

    @abstractmethod
    def questions(self, url: str, thread: str) -> list[Question]:
        """Return the requests of a thread that wait."""

    @abstractmethod
    def said(self, url: str, thread: str) -> list[str]:
        """Return the texts of the messages that people have sent."""

    @abstractmethod
    def status(self, url: str, thread: str) -> str:
        """Return the status of a thread, in the words of our own lists; nothing if it is unknown."""

    @abstractmethod
    def statuses(self, url: str) -> dict[str, str]:
        """Return the statuses of the newest threads, as a list has them."""

    @abstractmethod
    def is_told(self, refused: Refused) -> bool:
        """Return whether a refusal tells that an answer came too late, with the words why."""


class Router(Door):
    """Our own routes."""

    has_keys = True

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=TIMEOUT, limits=LIMITS)

    def close(self) -> None:
        self._client.close()

    def begin(self, url: str, thread: str) -> None:
        return  # its first message does

    def send(self, url: str, thread: str, text: str, key: str | None = None) -> str:
        return self._accept(f"{url}/threads/{thread}/messages", {"text": text}, key)

    def send_and_leave(self, url: str, thread: str, text: str, events: int, key: str | None = None) -> Part:
        address = f"{url}/threads/{thread}/messages/stream"
        return self._stream("POST", address, events, json={"text": text}, headers=_headers(key))

    def read(self, url: str, thread: str, part: Part, events: int | None = None) -> Part:
        after = {"Last-Event-ID": part.ids[-1]} if part.ids else {}
        address = f"{url}/threads/{thread}/runs/{part.run_id}/stream"
        more = self._stream("GET", address, events, headers=after)
        return Part(part.run_id, [*part.ids, *more.ids], more.has_ended)

    def answer(self, url: str, thread: str, question: str, answer: Any, key: str | None = None) -> str:
        return self._accept(f"{url}/threads/{thread}/pending/{question}", {"answer": answer}, key)

    def retry(self, url: str, thread: str, key: str | None = None) -> str:
        return self._accept(f"{url}/threads/{thread}/retry", {}, key)

    def cancel(self, url: str, thread: str, run_id: str) -> None:
        self._ask("POST", f"{url}/threads/{thread}/runs/{run_id}/cancel")

    def run(self, url: str, thread: str, run_id: str) -> Seen:
        return Seen(self._ask("GET", f"{url}/threads/{thread}/runs/{run_id}").json()["state"])

    def questions(self, url: str, thread: str) -> list[Question]:
        found = self._of_thread(f"{url}/threads/{thread}/pending") or []
        return [Question(request["interrupt_id"], request["value"]) for request in found]

    def said(self, url: str, thread: str) -> list[str]:
        found = self._of_thread(f"{url}/threads/{thread}/messages") or []
        return [message["text"] for message in found if message["role"] == "human"]

    def status(self, url: str, thread: str) -> str:
        found = self._of_thread(f"{url}/threads/{thread}")
        return "" if found is None else str(found["status"])

    def statuses(self, url: str) -> dict[str, str]:
        found = self._ask("GET", f"{url}/threads", params={"limit": 100}).json()
        return {thread["thread_id"]: thread["status"] for thread in found["threads"]}

    def is_told(self, refused: Refused) -> bool:
        return refused.status == 409 and any(
            words in refused.words for words in ("has answered this already", "answered or closed", "went on")
        )

    def _accept(self, address: str, body: dict[str, Any], key: str | None) -> str:
        answered = self._ask("POST", address, json=body, headers=_headers(key))
        if answered.status_code != 202:
            raise Refused(answered.status_code, "202 was expected")
        return str(answered.json()["run_id"])

    def _of_thread(self, address: str) -> Any:
        """Return what a server says of a thread; nothing if there is none: its only message was cancelled in time."""
        try:
            return self._ask("GET", address).json()
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def _ask(self, method: str, address: str, **more: Any) -> httpx.Response:
        try:
            answered = self._client.request(method, address, **more)
        except httpx.TransportError as error:
            raise Unreachable(repr(error)) from error
        return _checked(answered)

    def _stream(self, method: str, address: str, most: int | None, **more: Any) -> Part:
        run_id, ids, names = "", [], []
        try:
            with self._client.stream(method, address, **more) as answered:
                if answered.is_error:
                    answered.read()
                run_id = _checked(answered).headers["location"].rpartition("/")[2]
                for line in answered.iter_lines():
                    name, _, value = line.partition(": ")
                    ids += [value] if name == "id" else []
                    names += [value] if name == "event" else []
                    if most is not None and len(names) >= most:
                        break
        except httpx.TransportError as error:
            if not run_id:
                raise Unreachable(repr(error)) from error
        return Part(run_id, ids, bool(names) and names[-1] in ENDED)


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _checked(answered: httpx.Response) -> httpx.Response:
    if answered.is_error:
        try:
            words = str(answered.json()["detail"])
        except (ValueError, LookupError, TypeError):
            words = answered.text
        raise Refused(answered.status_code, words)
    return answered
