"""What this process knows of messages that it has loaded or saved: which object is which row.

It only saves work: a message that is not known here is found by its digest in the database. It must never be wrong,
so it holds the objects themselves (an `id()` alone may be reused) and compares all that is in them on every use,
because graphs change messages in place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, NamedTuple, NoReturn

import ormsgpack
from langchain_core.messages import BaseMessage

# Enough for the conversations that are going on in one process; beyond that the oldest are looked up again.
MOST_THREADS: Final = 256
MOST_MESSAGES: Final = 8192
# A thread's subgraphs, one namespace a call: the newest matter.
_MOST_NAMESPACES: Final = 8

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

Fingerprint = tuple[Any, bytes]


def fingerprint(message: BaseMessage) -> Fingerprint | None:
    """All that is in a message, for comparing it with itself at another time; `None` if it holds more than JSON types.

    Packed, not compared deeply: `1 == True == 1.0`, and a copy by reference would change with the original.
    """
    fields = message.__dict__.copy()
    content = fields.pop("content", None)
    if type(content) is not str:  # a str cannot change, so it need not be packed
        fields["content"] = content
        content = None
    if message.__pydantic_extra__:
        fields["__extra__"] = message.__pydantic_extra__
    if message.__pydantic_private__:
        return None
    try:
        return content, ormsgpack.packb(fields, default=_refuse, option=_OPTIONS)
    except TypeError:
        return None


class Known(NamedTuple):
    """A message object whose row is known."""

    message: BaseMessage
    fingerprint: Fingerprint
    seq: int
    has_id: bool
    settled: bool
    """The row already says that a checkpoint of this namespace has it."""


@dataclass
class _Thread:
    generation: int
    namespaces: OrderedDict[str, dict[int, Known]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return sum(len(known) for known in self.namespaces.values())


class Memory:
    """Known messages of the threads that were used last, bounded in threads and in messages. Safe for threads."""

    def __init__(self, most_threads: int = MOST_THREADS, most_messages: int = MOST_MESSAGES) -> None:
        self._most_threads = most_threads
        self._most_messages = most_messages
        self._threads: OrderedDict[str, _Thread] = OrderedDict()
        self._messages = 0
        self._lock = Lock()

    def recall(self, thread_id: str, ns: str) -> tuple[int | None, dict[int, Known]]:
        """The generation of the thread that is remembered, and its known messages by `id()`; (None, {}) if none is."""
        with self._lock:
            thread = self._threads.get(thread_id)
            if thread is None:
                return None, {}
            return thread.generation, thread.namespaces.get(ns, {})

    def learn(self, thread_id: str, ns: str, generation: int, known: Iterable[Known], *, replace: bool = False) -> None:
        """Remember messages; with `replace`, in place of what was remembered for this namespace.

        A load replaces: the objects of earlier runs do not come back. A save adds, for it may carry only what changed.
        """
        with self._lock:
            thread = self._threads.pop(thread_id, None)
            if thread is not None:
                self._messages -= len(thread)
            if thread is None or thread.generation != generation:
                thread = _Thread(generation)
            # A new dict each time: a reader may still be using the old one.
            old = {} if replace else thread.namespaces.get(ns, {})
            thread.namespaces.pop(ns, None)
            thread.namespaces[ns] = {**old, **{id(entry.message): _newer(old, entry) for entry in known}}
            while len(thread.namespaces) > _MOST_NAMESPACES:
                thread.namespaces.popitem(last=False)
            self._threads[thread_id] = thread
            self._messages += len(thread)
            while self._threads and (len(self._threads) > self._most_threads or self._messages > self._most_messages):
                _, evicted = self._threads.popitem(last=False)
                self._messages -= len(evicted)

    def forget(self, thread_id: str) -> None:
        with self._lock:
            if (thread := self._threads.pop(thread_id, None)) is not None:
                self._messages -= len(thread)


def _newer(old: Mapping[int, Known], entry: Known) -> Known:
    """Saves end in any order, and what one has settled stays settled."""
    before = old.get(id(entry.message))
    return before if before is not None and before.settled and before.fingerprint == entry.fingerprint else entry


def _refuse(_: object) -> NoReturn:
    raise TypeError
