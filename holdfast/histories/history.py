"""A conversation of another system, as it is read, and the forms in which such systems write messages and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from itertools import accumulate
from math import inf
from typing import Any, Final, TypeAlias

from langchain_core.messages import messages_from_dict

from holdfast.checkpoints.threads.histories import time_said

# Seconds of the year 5138: a larger number counts milliseconds.
_LARGEST_SECONDS: Final = 1e11

_ROLES: Final = ("role", "type", "speaker", "sender", "author")
_CONTENTS: Final = ("content", "text", "message", "body")
_TIMES: Final = ("timestamp", "created_at", "time", "at", "date", "create_time")
_KNOWN_ROLES: Final = frozenset({"user", "human", "assistant", "ai", "system", "developer", "tool", "function"})
_USERS: Final = ("user_id", "user")


@dataclass
class History:
    """A conversation of another system."""

    thread_id: str
    messages: list[Any] = field(default_factory=list)
    """Each as `threads.add` takes it."""
    at: list[float | None] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    title: str | None = None
    problem: str | None = None
    """Why it cannot be imported: the first part of it that was not understood, by its place."""
    place: str | None = None
    """Where it was found: the file or the table, and which of the conversations in it."""
    of: int | None = None
    """How many conversations its source has, if that is known."""

    def add(self, message: Any, at: float | None = None, user: str | None = None) -> None:
        """Add a message."""
        self.messages.append(message)
        self.at.append(at)
        self.users.append(user)

    def sort(self) -> None:
        """Sort the messages by time. One without a time stays behind the one before it."""
        times = accumulate(self.at, lambda before, at: before if at is None else at, initial=-inf)
        next(times)  # the initial one
        order = [place for _, place in sorted(zip(times, range(len(self.at)), strict=True))]
        self.messages = [self.messages[place] for place in order]
        self.at = [self.at[place] for place in order]
        self.users = [self.users[place] for place in order]


@dataclass(frozen=True)
class Columns:
    """The names under which a source has the parts of a message."""

    role: str | None = None
    content: str | None = None
    time: str | None = None
    user: str | None = None
    thread: str | None = None
    id: str | None = None
    message: str | None = None
    """A whole message of LangChain, as JSON."""


Fields: TypeAlias = Mapping[str, Any]


class Repeating(dict[str, Any]):
    """A JSON object that has several values under one name, of which a `dict` keeps the last."""

    names: Sequence[str] = ()
    """The names that it has more than once."""

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object of these pairs; use it as the `object_pairs_hook` of `json.loads`."""
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        repeating = cls(found)
        repeating.names = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        return repeating


class NotUnderstood(ValueError):
    """A part of a conversation is not understood."""


def add_fields(history: History, fields: Any, columns: Columns, zone: tzinfo = UTC) -> None:
    """Add a message that is given by its fields.

    Args:
        history: the conversation.
        fields: the fields; a message of LangChain's (`{"type": …, "data": {…}}`) as well.
        columns: the names of the fields; by default the usual ones.
        zone: the time zone of a time without an offset.

    Raises:
        NotUnderstood: a field is missing, or not what it should be.
    """
    if not isinstance(fields, Mapping):
        raise NotUnderstood(f"found {type(fields).__name__}, and needed an object with a role and a content")
    if isinstance(fields, Repeating):
        raise NotUnderstood(f"it has {fields.names[0]!r} twice, and needed each field once")
    time, user = _found(fields, columns.time, _TIMES), _found(fields, columns.user, _USERS)
    at = None if time is None else moment(time, zone)
    history.add(_message(fields, columns), at, None if user is None else str(user))


def moment(value: Any, zone: tzinfo = UTC) -> float:
    """Return a time of another system in epoch seconds: a datetime, ISO 8601 text, or a number of (milli)seconds.

    Raises:
        NotUnderstood: it is no time.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > _LARGEST_SECONDS:
        with suppress(OverflowError):  # an integer may be larger than any float
            value = value / 1000
    try:
        return time_said(value, "The time", zone)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None


def langchain_message(fields: Any) -> Any:
    """Return a message from LangChain's form, `{"type": "human", "data": {…}}`.

    Raises:
        NotUnderstood: it is not in this form.
    """
    try:
        [message] = messages_from_dict([fields])
    except Exception as error:  # noqa: BLE001 - whatever its constructors raise, pydantic's errors among them
        found = f"the type {fields.get('type')!r}" if isinstance(fields, Mapping) else type(fields).__name__
        raise NotUnderstood(
            f'found {found}, which is no message of LangChain ({type(error).__name__}), and needed {{"type": "human", '
            '"data": {"content": "…"}}'
        ) from None
    return message


def is_langchain(fields: Any) -> bool:
    """Return whether something has the form of LangChain's messages in JSON."""
    return isinstance(fields, Mapping) and isinstance(fields.get("data"), Mapping) and "type" in fields


def _message(fields: Fields, columns: Columns) -> Any:
    if columns.message is None and is_langchain(fields):
        return langchain_message(fields)
    role, content = _found(fields, columns.role, _ROLES), _found(fields, columns.content, _CONTENTS)
    if not isinstance(role, str) or role not in _KNOWN_ROLES:
        raise NotUnderstood(f"the role is {role!r}, and needed user, assistant, system or tool")
    if content is None and fields.get("tool_calls"):  # as OpenAI's API writes a message that only calls tools
        content = ""
    if not isinstance(content, str | list):
        raise NotUnderstood(f"the content is {type(content).__name__}, and needed a text or a list of content blocks")
    kept = {name: fields[name] for name in ("name", "tool_calls", "tool_call_id") if fields.get(name) is not None}
    if isinstance(fields.get("id"), str):  # a number is that of a row
        kept["id"] = fields["id"]
    return {**kept, "role": role, "content": content}


def _found(fields: Fields, name: str | None, usual: tuple[str, ...]) -> Any:
    names = usual if name is None else (name,)
    return next((fields[name] for name in names if fields.get(name) is not None), None)
