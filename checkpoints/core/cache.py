"""What this process knows of messages that it has loaded or saved: which object is which row, and what rows say.

It only saves work: a message that is not known here is found by its digest in the database, and a row is read there.
It must never be wrong, so it holds the objects themselves (an `id()` alone may be reused) and compares all that is in
them on every use, because graphs change messages in place. A row that a checkpoint has does not change as long as its
thread's generation does not. A thread that is begun anew has another generation, and when the database may be
another one than before, all is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, NamedTuple, NoReturn

import ormsgpack
from langchain_core.messages import BaseMessage

# Enough for the conversations that are going on in one process; beyond that the oldest are looked up again.
MOST_THREADS: Final = 256
MOST_MESSAGES: Final = 8192
MOST_BYTES: Final = 64 * 2**20
_SPARE: Final = 100  # templates that may be there beyond twice those of the newest checkpoint
_OVERHEAD: Final = 400  # bytes of a template without its texts
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

_set = object.__setattr__  # a model's own would check what is set

Fingerprint = dict[str, Any] | tuple[Any, bytes]
"""All that is in a message: its fields, where they are no more than texts, None and empty containers, as in most; else
its text, which cannot change, and the rest packed."""


def fingerprint(message: BaseMessage) -> Fingerprint | None:
    """All that is in a message, for comparing it with itself at another time and for making another one like it; `None`
    if it holds more than JSON types.

    Packed and not compared deeply: `1 == True == 1.0`, and a copy by reference would change with the original.
    """
    fields = message.__dict__.copy()
    if message.__pydantic_extra__ or message.__pydantic_private__ is not None:
        return None
    simple = True
    for name, value in fields.items():
        if value is None or type(value) is str:
            continue
        if not value and type(value) in (dict, list):
            fields[name] = type(value)()  # one of its own: the message's may be filled
        else:
            simple = False
            break
    if simple:
        return fields
    content = fields["content"] if type(fields.get("content")) is str else None
    if content is not None:
        fields["content"] = None
    try:
        return content, ormsgpack.packb(fields, default=_refuse, option=_OPTIONS)
    except TypeError:
        return None


def unchanged(message: BaseMessage, mark: Fingerprint) -> bool:
    """Whether all that is in a message is still as in its fingerprint."""
    if type(mark) is dict:
        # None, texts and empty containers: for these == says the same as being the same.
        return message.__dict__ == mark and not message.__pydantic_extra__ and message.__pydantic_private__ is None
    return fingerprint(message) == mark


class Template:
    """What a row says, checked once: messages are made of it without the database.

    Made of a row that a checkpoint has, which does not change any more.
    """

    __slots__ = ("_containers", "_names", "cls", "fingerprint", "rank")

    def __init__(self, cls: type[BaseMessage], fingerprint: Fingerprint, rank: tuple[bool, bool]) -> None:
        self.cls = cls
        self.fingerprint = fingerprint
        self.rank = rank
        """Where the row belongs; see `placing.rank`."""
        simple = fingerprint if isinstance(fingerprint, dict) else {}
        self._containers = [(name, type(value)) for name, value in simple.items() if isinstance(value, (dict, list))]
        self._names = set(simple)

    def make(self) -> BaseMessage:
        """A new message."""
        mark = self.fingerprint
        if isinstance(mark, dict):
            fields = mark.copy()
            for name, kind in self._containers:
                fields[name] = kind()  # never the same one for two messages
            names = self._names.copy()
        else:
            content, packed = mark
            fields = ormsgpack.unpackb(packed, option=ormsgpack.OPT_NON_STR_KEYS)
            if content is not None:
                fields["content"] = content
            names = set(fields)
        message = self.cls.__new__(self.cls)
        _set(message, "__dict__", fields)
        _set(message, "__pydantic_extra__", {})
        _set(message, "__pydantic_private__", None)
        _set(message, "__pydantic_fields_set__", names)
        return message

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        parts = self.fingerprint.values() if isinstance(self.fingerprint, dict) else self.fingerprint
        return _OVERHEAD + sum(len(part) for part in parts if isinstance(part, str | bytes))


class Known(NamedTuple):
    """A message object whose row is known."""

    message: BaseMessage
    fingerprint: Fingerprint
    ref: int
    """See `ranges`."""
    claimed: bool
    """The row already says that a checkpoint of this namespace has it."""


@dataclass
class _CachedThread:
    generation: int
    namespaces: OrderedDict[str, dict[int, Known]] = field(default_factory=OrderedDict)
    templates: dict[int, Template] = field(default_factory=dict)
    """By reference (see `ranges`)."""
    size: int = 0
    """Bytes of the templates, about."""

    def __len__(self) -> int:
        return sum(len(known) for known in self.namespaces.values())

    def add(self, templates: Mapping[int, Template]) -> None:
        # A new dict each time: a reader may still be using the old one.
        self.templates = {**self.templates, **templates}
        self.size += sum(template.size for template in templates.values())

    def keep(self, refs: Collection[int]) -> None:
        """Forget the templates of other messages, such as those that were trimmed from the conversation long ago."""
        self.templates = {ref: self.templates[ref] for ref in refs if ref in self.templates}
        self.size = sum(template.size for template in self.templates.values())


class MessageCache:
    """Known messages of the threads that were used last, bounded in threads, messages and bytes. Safe for threads."""

    def __init__(
        self, most_threads: int = MOST_THREADS, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
    ) -> None:
        self._most_threads = most_threads
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._threads: OrderedDict[str, _CachedThread] = OrderedDict()
        self._messages = 0
        self._bytes = 0
        self._lock = Lock()
        self.era = 0
        """How often all was forgotten: who acts on what he recalled before looks whether it still holds."""

    def recall(self, thread_id: str, ns: str) -> tuple[int | None, dict[int, Known]]:
        """The generation of the thread that is remembered, and its known messages by `id()`; (None, {}) if none is."""
        with self._lock:
            thread = self._threads.get(thread_id)
            if thread is None:
                return None, {}
            return thread.generation, thread.namespaces.get(ns, {})

    def templates(self, thread_id: str, generation: int | None) -> Mapping[int, Template]:
        """What rows of this generation of a thread say, by reference."""
        with self._lock:
            thread = self._threads.get(thread_id)
            return thread.templates if thread is not None and thread.generation == generation else {}

    def loaded(
        self, thread_id: str, ns: str, generation: int, known: Sequence[Known], templates: Mapping[int, Template]
    ) -> None:
        """Remember what a load has made, in place of what was known of this namespace: the objects of earlier runs do
        not come back."""
        with self._changing(thread_id, generation) as thread:
            self._put(thread, ns, {id(entry.message): entry for entry in known})
            thread.add(templates)
            if len(thread.templates) > 2 * len(known) + _SPARE:
                thread.keep({entry.ref for entry in known})

    def saved(
        self, thread_id: str, ns: str, generation: int, known: Sequence[Known], templates: Mapping[int, Template]
    ) -> None:
        """Remember what a save has placed, beside what was known: it may carry only what changed."""
        with self._changing(thread_id, generation) as thread:
            old = thread.namespaces.get(ns, {})
            self._put(thread, ns, {**old, **{id(entry.message): _newer(old, entry) for entry in known}})
            if templates:
                thread.add(templates)

    def forget(self, thread_id: str) -> None:
        with self._lock:
            self._take(thread_id)

    def forget_all(self) -> None:
        """The database may be another one than before."""
        with self._lock:
            self._threads.clear()
            self._messages = self._bytes = 0
            self.era += 1

    def _put(self, thread: _CachedThread, ns: str, known: dict[int, Known]) -> None:
        thread.namespaces.pop(ns, None)
        thread.namespaces[ns] = known
        while len(thread.namespaces) > _MOST_NAMESPACES:
            thread.namespaces.popitem(last=False)

    @contextmanager
    def _changing(self, thread_id: str, generation: int) -> Iterator[_CachedThread]:
        """The thread, as the one that was used last; afterwards those that were used longest ago go."""
        with self._lock:
            thread = self._take(thread_id)
            if thread is None or thread.generation != generation:
                thread = _CachedThread(generation)
            yield thread
            self._threads[thread_id] = thread
            self._messages += len(thread)
            self._bytes += thread.size
            while self._threads and self._is_too_much():
                self._take(next(iter(self._threads)))

    def _take(self, thread_id: str) -> _CachedThread | None:
        thread = self._threads.pop(thread_id, None)
        if thread is not None:
            self._messages -= len(thread)
            self._bytes -= thread.size
        return thread

    def _is_too_much(self) -> bool:
        return (
            len(self._threads) > self._most_threads
            or self._messages > self._most_messages
            or self._bytes > self._most_bytes
        )


def _newer(old: Mapping[int, Known], entry: Known) -> Known:
    """Saves end in any order, and what one has claimed stays claimed."""
    before = old.get(id(entry.message))
    return before if before is not None and before.claimed and before.fingerprint == entry.fingerprint else entry


def _refuse(_: object) -> NoReturn:
    raise TypeError
