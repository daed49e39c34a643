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
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

    def __len__(self) -> int:
        return sum(len(known) for known in self.namespaces.values())

    def add(self, templates: Mapping[int, Template]) -> None:
        # In place: a reader that still uses it only looks single rows up.
        self.templates.update(templates)
        self.size += sum(template.size for template in templates.values())

    def keep(self, refs: Collection[int]) -> None:
        """Drop all other templates, such as those of messages that were trimmed from the conversation."""
        self.templates = {ref: self.templates[ref] for ref in refs if ref in self.templates}
        self.size = sum(template.size for template in self.templates.values())


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
        with self._changing(thread_id, generation) as thread:
            self._put(thread, ns, {id(entry.message): entry for entry in known})
            thread.add(templates)
            if len(thread.templates) > 2 * len(known) + _SPARE:
                thread.keep({entry.ref for entry in known})

    def saved(
        self, thread_id: str, ns: str, generation: int, known: Sequence[Known], templates: Mapping[int, Template]
    ) -> None:
        """Cache what a save has placed, and keep what the namespace had, because a save may hold only what changed."""
        with self._lock:
            thread = self._threads.get(thread_id)
            if (
                thread is not None
                and thread.generation == generation
                and (own := thread.namespaces.get(ns)) is not None
            ):
                # In place: others only look single messages up in it.
                before = len(own), thread.size
                own.update([(id(entry.message), _newer(own, entry)) for entry in known])
                thread.add(templates)
                self._messages += len(own) - before[0]
                self._bytes += thread.size - before[1]
                thread.namespaces.move_to_end(ns)
                self._threads.move_to_end(thread_id)
                self._shrink()
                return
        with self._changing(thread_id, generation) as thread:
            self._put(thread, ns, {id(entry.message): entry for entry in known})
            thread.add(templates)

    def forget(self, thread_id: str) -> None:
        """Drop what is cached of a thread."""
        with self._lock:
            self._take(thread_id)

    def forget_all(self) -> None:
        """Empty the cache, because the database may have been replaced by another."""
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
        """Yield a thread to change, and make it the one used last; then drop the least recently used if need be."""
        with self._lock:
            thread = self._take(thread_id)
            if thread is None or thread.generation != generation:
                thread = _CachedThread(generation)
            yield thread
            self._threads[thread_id] = thread
            self._messages += len(thread)
            self._bytes += thread.size
            self._shrink()

    def _shrink(self) -> None:
        while self._threads and (
            len(self._threads) > self._most_threads
            or self._messages > self._most_messages
            or self._bytes > self._most_bytes
        ):
            self._take(next(iter(self._threads)))

    def _take(self, thread_id: str) -> _CachedThread | None:
        thread = self._threads.pop(thread_id, None)
        if thread is not None:
            self._messages -= len(thread)
            self._bytes -= thread.size
        return thread


def _newer(old: Mapping[int, Known], entry: Known) -> Known:
    """Return the entry to keep: saves may end in any order, and a row that one has claimed stays claimed."""
    before = old.get(id(entry.message))
    return before if before is not None and before.claimed and before.contents == entry.contents else entry
