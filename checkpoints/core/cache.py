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
from typing import Final

from holdfast.checkpoints.serde.known import Known, Template

# Enough for the conversations that are going on in one process; beyond that the oldest are looked up again.
MOST_THREADS: Final = 256
MOST_MESSAGES: Final = 8192
MOST_BYTES: Final = 64 * 2**20
_SPARE: Final = 100  # templates that may be there beyond twice those of the newest checkpoint
# A thread's subgraphs, one namespace a call: the newest matter.
_MOST_NAMESPACES: Final = 8


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
    return before if before is not None and before.claimed and before.contents == entry.contents else entry
