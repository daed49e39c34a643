"""Which channels of a thread make messages of inputs such as ("user", "hello") or {"role": "user", "content": "hello"}.

Only a channel's reducer decides whether a dict or a pair is a message or data, and a checkpointer does not see it. It
sees what the reducer made of the last input: a list with a message of the same text, or with the input as it was. What
is known to become a message is stored as a message row, which is numbered before its answer; all else as data. Until
the first checkpoint has shown it, a channel with LangGraph's own name for messages is taken to be one of messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from langchain_core.messages import BaseMessage

from holdfast.checkpoints.langgraph_internals import START
from holdfast.checkpoints.serde.marking import last_text

_UNTIL_SHOWN: Final = frozenset({"messages"})
_MOST_THREADS: Final = 1024
_MOST_CHANNELS: Final = 32


@dataclass
class _Seen:
    texts: dict[str, str] = field(default_factory=dict)
    """By channel: the text of the last input that may be a message."""
    channels: frozenset[str] = _UNTIL_SHOWN


class MessageInputs:
    """What this process has seen of the inputs of the threads used last. Thread-safe."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = Lock()
        self.nested: set[str] = set()
        """The channels that have held messages within dicts or lists, in whatever thread."""

    def channels(self, thread_id: str) -> Collection[str]:
        """Return the channels that make messages of dicts and pairs."""
        seen = self._threads.get(thread_id)
        return seen.channels if seen is not None else _UNTIL_SHOWN

    def forget(self, thread_id: str) -> None:
        """Drop what was seen of a thread: it may be another one now."""
        with self._lock:
            self._threads.pop(thread_id, None)

    def note(self, thread_id: str, writes: Iterable[tuple[str, Any]]) -> None:
        """Note the inputs among some writes."""
        found: dict[str, str] = {}
        for channel, value in writes:
            parts = value.items() if channel == START and type(value) is dict else ((channel, value),)
            found |= {name: text for name, part in parts if (text := last_text(part)) is not None}
        if not found:
            return
        with self._lock:
            seen = self._threads.setdefault(thread_id, _Seen())
            self._threads.move_to_end(thread_id)
            if len(seen.texts | found) <= _MOST_CHANNELS:
                seen.texts |= found
            while len(self._threads) > _MOST_THREADS:
                self._threads.popitem(last=False)

    def compare(self, thread_id: str, values: Mapping[str, Any]) -> None:
        """Compare the values of a checkpoint with the inputs before it."""
        seen = self._threads.get(thread_id)
        if seen is None or not seen.texts:
            return
        with self._lock:
            for channel, text in list(seen.texts.items()):
                if (is_message := _becomes_message(values.get(channel), text)) is not None:
                    seen.channels = seen.channels | {channel} if is_message else seen.channels - {channel}
                    del seen.texts[channel]


def _becomes_message(value: Any, text: str) -> bool | None:
    """Return whether an input with this text is a message in the value of its channel; `None` if it is not there."""
    for item in reversed(value) if type(value) is list else ():
        if isinstance(item, BaseMessage) and item.content == text:
            return True
        if last_text([item]) == text:
            return False
    return None
