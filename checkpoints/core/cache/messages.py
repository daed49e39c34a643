"""A cache of the messages that this process has loaded or saved: the row of each object, and the content of rows.

The cache only saves work. A message that it does not know is found in the database by its digest, and a row that it
does not know is read. It must never be wrong:

- It holds the objects themselves, because an `id()` alone may be reused.
- It compares the whole content of an object on every use, because graphs change messages in place.
- A row that a checkpoint holds does not change within a generation of its thread, and each entry belongs to one
  generation.
- It is emptied when the database may have been replaced by another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from holdfast.checkpoints.serde.known import Known, Template

# Enough for the conversations in progress in one process. Messages of older ones are looked up again.
MOST_THREADS: Final = 256
MOST_MESSAGES: Final = 8192
MOST_BYTES: Final = 64 * 2**20
_SPARE: Final = 100  # templates that a thread may have beyond twice those of its newest checkpoint
# Each call of a subgraph has a namespace of its own. Only the newest are used again.
_MOST_NAMESPACES: Final = 8


@dataclass
class _CachedThread:
    generation: int
    namespaces: OrderedDict[str, dict[int, Known]] = field(default_factory=OrderedDict)
    templates: dict[int, Template] = field(default_factory=dict)
    """By reference (see `ranges`)."""
    size: int = 0
    """The approximate size of the templates in bytes."""

    messages: int = 0
    """The number of known messages in all namespaces."""

    def replace(self, ns: str, known: Iterable[Known]) -> None:
        """Replace the known messages of a namespace."""
        before = self._known_in(ns)
        self.namespaces[ns] = own = {id(entry.message): entry for entry in known}
        self.messages += len(own) - len(before)

    def update(self, ns: str, known: Iterable[Known]) -> None:
        """Add known messages to a namespace, in place: others only look single messages up in it."""
        own = self._known_in(ns)
        before = len(own)
        for entry in known:
            old = own.get(id(entry.message))
            # Saves may end in any order, and a row that one has claimed stays claimed.
            if old is None or not old.claimed or old.contents != entry.contents:
                own[id(entry.message)] = entry
        self.messages += len(own) - before

    def add(self, templates: Mapping[int, Template]) -> None:
        """Add templates, in place: a reader that still uses them only looks single rows up."""
        self.templates.update(templates)
        for template in templates.values():
            self.size += template.size

    def keep(self, refs: Collection[int]) -> None:
        """Drop all other templates, such as those of messages that were trimmed from the conversation."""
        self.templates = {ref: self.templates[ref] for ref in refs if ref in self.templates}
        self.size = sum(template.size for template in self.templates.values())

    def _known_in(self, ns: str) -> dict[int, Known]:
        """Return the known messages of a namespace, and make it the one used last."""
        own = self.namespaces.setdefault(ns, {})
        self.namespaces.move_to_end(ns)
        while len(self.namespaces) > _MOST_NAMESPACES:
            self.messages -= len(self.namespaces.popitem(last=False)[1])
        return own


class MessageCache:
    """Known messages of the threads used last, with limits for threads, messages and bytes. Thread-safe."""

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
        """The number of calls of `forget_all`. If it has grown since `recall`, what that returned may be stale."""

    def recall(self, thread_id: str, ns: str) -> tuple[int | None, dict[int, Known]]:
        """Return the cached generation of a thread and its known messages by `id()`; `(None, {})` if none is cached."""
        with self._lock:
            thread = self._threads.get(thread_id)
            if thread is None:
                return None, {}
            return thread.generation, thread.namespaces.get(ns, {})

    def has(self, thread_id: str) -> bool:
        """Return whether something of a thread is cached."""
        return thread_id in self._threads

    def templates(self, thread_id: str, generation: int | None) -> Mapping[int, Template]:
        """Return the templates of a generation of a thread, by reference."""
        with self._lock:
            thread = self._threads.get(thread_id)
            return thread.templates if thread is not None and thread.generation == generation else {}

    def loaded(
        self, thread_id: str, ns: str, generation: int, known: Sequence[Known], templates: Mapping[int, Template]
    ) -> None:
        """Cache what a load has made. It replaces what the namespace had, because the objects of earlier runs are not
        used again."""
        with self._lock:
            thread = self._take(thread_id, generation)
            thread.replace(ns, known)
            thread.add(templates)
            if len(thread.templates) > 2 * len(known) + _SPARE:
                thread.keep({entry.ref for entry in known})
            self._put(thread_id, thread)

    def saved(
        self, thread_id: str, ns: str, generation: int, known: Sequence[Known], templates: Mapping[int, Template]
    ) -> None:
        """Cache what a save has placed, and keep what the namespace had, because a save may hold only what changed."""
        with self._lock:
            thread = self._take(thread_id, generation)
            thread.update(ns, known)
            thread.add(templates)
            self._put(thread_id, thread)

    def forget(self, thread_id: str) -> None:
        """Drop what is cached of a thread."""
        with self._lock:
            self._drop(thread_id)

    def forget_all(self) -> None:
        """Empty the cache, because the database may have been replaced by another."""
        with self._lock:
            self._threads.clear()
            self._messages = self._bytes = 0
            self.era += 1

    def _take(self, thread_id: str, generation: int) -> _CachedThread:
        """Take out a thread to change it; an empty one if it has another generation. Called with the lock."""
        thread = self._drop(thread_id)
        return thread if thread is not None and thread.generation == generation else _CachedThread(generation)

    def _put(self, thread_id: str, thread: _CachedThread) -> None:
        """Make a thread the one used last, and drop the least recently used if need be. Called with the lock."""
        self._threads[thread_id] = thread
        self._messages += thread.messages
        self._bytes += thread.size
        self._shrink()

    def _shrink(self) -> None:
        while self._threads and (
            len(self._threads) > self._most_threads
            or self._messages > self._most_messages
            or self._bytes > self._most_bytes
        ):
            self._drop(next(iter(self._threads)))

    def _drop(self, thread_id: str) -> _CachedThread | None:
        thread = self._threads.pop(thread_id, None)
        if thread is not None:
            self._messages -= thread.messages
            self._bytes -= thread.size
        return thread
