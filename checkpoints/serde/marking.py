"""Which parts of a value are messages: lists of them, and inputs that stand for one. No I/O.

A list of messages is marked, so that it is stored as ranges and not one message at a time. A dict or a pair in an input
of a channel that makes messages of these is marked as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from langchain_core.messages import BaseMessage, convert_to_messages

from holdfast.checkpoints.langgraph_internals import START
from holdfast.checkpoints.serde.messages import is_row_class

# The depth to which lists of messages in dicts and lists are stored as ranges. Deeper messages are stored one by one.
DEPTH: Final = 4

CONTAINERS: Final = frozenset({dict, list, tuple})
SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class ChannelValues(NamedTuple):
    """The values of a checkpoint inside a larger value. It marks the channel that each message belongs to."""

    values: Mapping[str, Any]


class Channel(NamedTuple):
    name: str
    value: Any


class Marked:
    """A list of messages that is stored as ranges and not one by one."""

    __slots__ = ("messages",)

    def __init__(self, messages: list[BaseMessage]) -> None:
        self.messages = messages


class Spoken(NamedTuple):
    """A message in the form {"role": "user", "content": "…"} or ("user", "…"), which most inputs have.

    LangGraph stores it twice before it becomes a message. As a row, it also comes before its answer.
    """

    message: BaseMessage
    shell: dict[str, Any] | list[str]
    """The dict or the pair, without the text."""


def _spoken(value: Any) -> Spoken | None:
    if isinstance(value, dict):
        text = value.get("content")
        shell: dict[str, Any] | list[str] = {**value, "content": None}
        if not ("role" in value or "type" in value):
            return None
    else:
        if len(value) != 2 or not isinstance(value[0], str):
            return None
        text, shell = value[1], [value[0]]
    if type(text) is not str:
        return None
    try:
        [message] = convert_to_messages([value])
    except Exception:  # noqa: BLE001 - it only looks like a message, and LangChain says so in many ways
        return None
    return Spoken(message, shell) if is_row_class(type(message)) and message.content == text else None


def last_text(value: Any) -> str | None:
    """Return the text of the last item of a list, if the item may be a message in the form of a dict or a pair."""
    if not (isinstance(value, list) and value):
        return None
    match value[-1]:
        case {"content": str(text)} | (str(), str(text)):
            return text
    return None


def mark_channel(channel: str, value: Any, channels: Collection[str], depth: int = DEPTH) -> Any:
    """Do as `mark` for the value of a channel, or for an input, which has values for several."""
    if channel == START and type(value) is dict:
        return {name: mark(item, depth - 1, is_said=name in channels) for name, item in value.items()}
    return mark(value, depth, is_said=channel in channels, channels=channels)


def mark(value: Any, depth: int = DEPTH, *, is_said: bool = False, channels: Collection[str] = ()) -> Any:
    """Return a value with its lists of messages marked. It is copied only if it has some.

    Args:
        value: the value.
        depth: how deep to look.
        is_said: whether the value is of a channel that makes messages of dicts and pairs.
        channels: these channels.
    """
    kind = type(value)
    if (kind is list or kind is tuple) and value:
        first = type(value[0])
        if is_row_class(first):
            return Marked(list(value)) if all(map(is_row_class, set(map(type, value)))) else value
        if depth and first in CONTAINERS:
            if is_said:
                return [(type(item) in {dict, tuple} and _spoken(item)) or mark(item, depth - 1) for item in value]
            return _replaced(value, enumerate(value), list, depth)
    elif kind is dict and depth and not CONTAINERS.isdisjoint(map(type, value.values())):
        return _replaced(value, value.items(), dict, depth)
    elif kind is ChannelValues:
        return {
            name: Channel(name, mark_channel(name, item, channels, depth - 1)) for name, item in value.values.items()
        }
    return value


def _replaced(value: Any, items: Iterable[tuple[Any, Any]], copy: Callable[[Any], Any], depth: int) -> Any:
    """Return a list or a dict with its items marked; the value itself if none of them has messages."""
    found = value
    for key, item in items:
        if type(item) in CONTAINERS and (marked := mark(item, depth - 1)) is not item:
            if found is value:
                found = copy(value)
            found[key] = marked
    return found
