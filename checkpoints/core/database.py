"""The open database that all rooms of the checkpointer work on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.cache.inputs import MessageInputs
from holdfast.checkpoints.core.cache.kept import KeptValues
from holdfast.checkpoints.core.cache.loads import Loads
from holdfast.checkpoints.core.cache.messages import MessageCache
from holdfast.checkpoints.core.cache.thread_state import ThreadStates
from holdfast.checkpoints.core.queue import SaveQueues
from holdfast.checkpoints.serde.encryption import Plain, Sealer
from holdfast.checkpoints.serde.filter import StorageFilter
from holdfast.checkpoints.serde.known import Known
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.values import Detacher

P = ParamSpec("P")
T = TypeVar("T")

_PAGE: Final = 500  # thread ids that one query reads


class RunInExecutor(Protocol):
    """A function that calls a function that blocks in a thread, and waits for it."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]: ...


@dataclass(frozen=True)
class Database:
    """An open database, with what this process caches of it."""

    backend: Backend
    types: Types
    sealer: Sealer = field(default_factory=Plain)
    storage_filter: StorageFilter | None = None
    """Changes texts before they are stored."""
    cache: MessageCache = field(default_factory=MessageCache)
    states: ThreadStates = field(default_factory=ThreadStates)
    inputs: MessageInputs = field(default_factory=MessageInputs)
    queues: SaveQueues = field(default_factory=SaveQueues)
    loads: Loads = field(default_factory=Loads)
    kept: KeptValues = field(default_factory=KeptValues)
    run_in_executor: RunInExecutor = asyncio.to_thread
    """Calls a function that blocks in a thread: `HoldfastSaver.run_in_executor`."""
    prompts: dict[str, str] = field(default_factory=dict)
    """By thread: the system prompt in force. The next save in the thread records it."""
    workers: dict[str, Any] = field(default_factory=dict)
    """By the name of an agent: the claims of the worker of this process, `runs.claims.Claims`."""

    def keeping(self) -> Database:
        """Return the same database, with values loaded as they are stored; see `Types.keeping`."""
        return replace(self, types=self.types.keeping())

    def detacher(self, thread_id: str, known: Mapping[int, Known]) -> Detacher:
        """Return a detacher for values of a thread, given the messages whose rows are known, by `id()`."""
        return Detacher(
            self.types,
            known,
            key=self.sealer.digest_key(thread_id),
            said=self.inputs.channels(thread_id),
            nested=self.inputs.nested,
            storage_filter=self.storage_filter,
        )

    def stored_text(self, text: str) -> str:
        """Return a text, such as a title, as it is stored."""
        return text if self.storage_filter is None else self.storage_filter.text(text)

    def forget(self, thread_id: str) -> None:
        """Drop what this process knows of a thread: it may be another one now."""
        self.cache.forget(thread_id)
        self.states.forget(thread_id)
        self.inputs.forget(thread_id)
        self.sealer.forget(thread_id)

    def forget_all(self) -> None:
        """Drop what this process knows of all threads, because the database may have been replaced by another."""
        self.states.forget_all()
        self.cache.forget_all()
        self.sealer.forget_all()

    def read(self, *calls: Call) -> list[list[Row]]:
        """Return the rows of some statements from one snapshot; see `persist` for an outage."""

        def read() -> list[list[Row]]:
            with self.backend.reading() as transaction:
                return transaction.run(calls)

        return persist(self.backend, read)

    def find_threads(self, statement: str) -> Iterator[str]:
        """Yield the ids of the threads that a statement finds after `:after`, in a stable order.

        No lock is held between pages.
        """
        after = ""
        while True:
            [page] = self.read((self.backend.sql[statement], {"after": after, "limit": _PAGE}))
            yield from (str(row.thread_id) for row in page)
            if len(page) < _PAGE:
                return
            after = page[-1].thread_id

    def write(self, *calls: Call, repeatable: bool = True) -> list[list[Row]]:
        """Run some statements in a transaction of their own, and return their rows.

        Args:
            calls: the statements.
            repeatable: whether they may run again if the outcome of the first commit is unknown; see `persist`.
        """

        def write() -> list[list[Row]]:
            with self.backend.writing() as transaction:
                return transaction.run(calls)

        return persist(self.backend, write, repeatable=repeatable)
