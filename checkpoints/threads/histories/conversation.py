"""A conversation from elsewhere: what a caller gives, checked. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple, TypeAlias

from langchain_core.messages import BaseMessage, RemoveMessage, SystemMessage, convert_to_messages

from holdfast.checkpoints.config import thread_of, user_of
from holdfast.checkpoints.core.arguments import check_metadata
from holdfast.checkpoints.moments import Moment, epoch_seconds, nearest_microsecond
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.threads.index import given_title

MessageLike: TypeAlias = BaseMessage | Mapping[str, Any] | tuple[str, Any] | str
"""A message, or what LangChain makes one of: `{"role": …, "content": …}`, `("user", "…")`, or the text of a user."""

_NEEDED: Final = (
    'Needed: a LangChain message, {"role": "user", "content": "…"} with one of the roles user, assistant, system, '
    "developer and tool, or a pair of both."
)
# What LangChain raises for what is no message.
_UNREADABLE: Final = (ValueError, TypeError, KeyError, NotImplementedError, AttributeError)

# Others stand for "never" or "unknown" in old tables, such as 0001-01-01 and 9999-12-31, or count microseconds.
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC).timestamp(), datetime(2200, 1, 1, tzinfo=UTC).timestamp()

_IDS: Final = uuid.UUID("6f1c1f0e-5d0f-5a52-9c55-1b0f0f3f7a10")


class Said(NamedTuple):
    """One message of a conversation."""

    message: BaseMessage
    """With an id. A `SystemMessage` is the prompt from here on."""
    at: float | None
    """When it was said, in epoch seconds."""
    user_id: str | None
    """Who said it, or whose message it answers, if that is not the conversation's own user."""


@dataclass(frozen=True)
class Conversation:
    """A conversation that is to become a thread."""

    thread_id: str
    said: Sequence[Said]
    user_id: str | None
    title: str | None
    metadata: Mapping[str, Any]


def new_conversation(
    thread_id: str,
    messages: Sequence[MessageLike],
    *,
    user_id: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    at: Sequence[Moment | None] | None = None,
    users: Sequence[str | None] | None = None,
) -> Conversation:
    """Return a conversation, checked; see `Threads.add` for the arguments.

    A message without an id gets one that depends on the thread and its place alone: the same conversation has the same
    ids every time.

    Raises:
        ValueError, TypeError: an argument cannot be what it should be. The error names the message.
        InvalidThread: the thread's id, or that of a user, cannot be stored.
    """
    thread_id = thread_of({"configurable": {"thread_id": thread_id}})
    read = messages_of(messages)
    if not read:
        raise ValueError("The conversation has no messages. Needed: at least one.")
    check_metadata(metadata or {})
    times = [_time(moment, number) for number, moment in enumerate(_aligned(at, "at", messages), 1)]
    own, named = user_of(user_id), [user_of(user) for user in _aligned(users, "users", messages)]
    said: list[Said] = []
    ids: set[str] = set()
    for number, (like, message, time, user) in enumerate(zip(messages, read, times, named, strict=True), 1):
        if message.id is None:
            own_id = str(uuid.uuid5(_IDS, f"{thread_id}\n{number}"))
            if message is like:  # the caller's, which stays as it is
                message = message.model_copy(update={"id": own_id})  # noqa: PLW2901
            else:
                message.id = own_id
        if message.id in ids:
            raise ValueError(
                f"Message {number} has the id of an earlier one, {message.id!r}. Needed: an id of its own."
            )
        ids.add(str(message.id))
        said.append(Said(message, time, None if user == own else user))
    given = None if title is None else given_title(title)
    return Conversation(thread_id, said, own, given, storable(metadata or {}))


def messages_of(messages: Sequence[MessageLike]) -> list[BaseMessage]:
    """Return messages as LangChain's.

    Raises:
        ValueError, TypeError: they are no list of messages. The error names the message.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(f"messages is a {type(messages).__name__}. Needed: a list of messages.")
    with suppress(*_UNREADABLE):
        read = convert_to_messages(list(messages))  # type: ignore[arg-type]  # a Mapping is as good as a dict
        if not any(isinstance(message, RemoveMessage) for message in read):
            return read
    return [_message(like, number) for number, like in enumerate(messages, 1)]  # to name the one that is none


def _aligned(values: Sequence[Any] | None, name: str, messages: Sequence[Any]) -> Sequence[Any]:
    if values is None:
        return [None] * len(messages)
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} is a {type(values).__name__}. Needed: a list with one entry for each message.")
    if len(values) != len(messages):
        raise ValueError(f"{name} has {len(values)} entries for {len(messages)} messages. Needed: one for each.")
    return values


def time_said(moment: Moment, name: str, zone: tzinfo | None = None) -> float:
    """Return when a message was said in epoch seconds.

    Args:
        moment: the time.
        name: its name in an error.
        zone: the time zone of a time without an offset, which is refused by default.

    Raises:
        ValueError: it is no time, or one at which there were no conversations.
    """
    at = epoch_seconds(moment, name, zone=zone)
    if not _FIRST <= at < _LAST:
        shown = f"{moment:g}" if isinstance(moment, int | float) else str(moment)
        raise ValueError(f"{name} is {shown}. Needed: a time of the years 1900 to 2199, or none.")
    return nearest_microsecond(at)


def _time(moment: Moment | None, number: int) -> float | None:
    return None if moment is None else time_said(moment, f"The time of message {number}")


def _message(like: MessageLike, number: int) -> BaseMessage:
    try:
        [message] = convert_to_messages([like])  # type: ignore[list-item]  # a Mapping is as good as a dict
    except _UNREADABLE:
        message = None
    if message is None or isinstance(message, RemoveMessage):  # which says nothing
        raise ValueError(f"Message {number} cannot be read: found {_found(like)}. {_NEEDED}")
    return message


def _found(like: MessageLike) -> str:
    """Return what is there in place of a message."""
    role = like.get("role", like.get("type")) if isinstance(like, Mapping) else None
    if not isinstance(like, Mapping) or role is None:
        return type(like).__name__
    content = like.get("content")
    odd = [one for one in content if not isinstance(one, str | Mapping)] if isinstance(content, list) else []
    if odd:
        return f"the role {role!r} with a {type(odd[0]).__name__} in its content, which holds texts and blocks"
    if like.get("tool_calls"):
        return f"the role {role!r} with tool_calls that are none"
    return f"the role {role!r}" + (" without a tool_call_id" if role == "tool" and "tool_call_id" not in like else "")


def is_prompt(said: Said) -> bool:
    """Return whether a message is a system prompt, which is no part of what was said."""
    return isinstance(said.message, SystemMessage)
