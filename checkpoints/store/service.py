"""`open_store`: LangGraph's own store on the database that a URL names."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from threading import Lock
from typing import Any, Final, Protocol, Self, TypeVar, cast

from langgraph.store.base import BaseStore, IndexConfig, Op, PutOp, Result, SearchItem, TTLConfig
from langgraph.store.memory import InMemoryStore

from holdfast.checkpoints import urls
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.backends.by_url import backend_of
from holdfast.checkpoints.backends.executor import Executor, run_in_own_executor
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.arguments import checked
from holdfast.checkpoints.errors import NotOpen
from holdfast.checkpoints.store import items

T = TypeVar("T")

_NOT_OPEN: Final = "This store was closed, or is not open. Use it inside `with open_store(url) as store:`."

_LARGEST: Final = 2**31 - 1


class _StockStore(Protocol):
    """A stock store on a database, as `SqliteItems` and `PostgresItems` are."""

    def batch(self, ops: Iterable[Op]) -> list[Result]: ...

    def make_tables(self) -> None: ...

    def sweep_ttl(self) -> int: ...

    def close(self) -> None: ...


class _InMemory(InMemoryStore):
    """LangGraph's store in memory, for several threads at once."""

    def __init__(self, index: IndexConfig | None) -> None:
        super().__init__(index=index)
        self._lock = Lock()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        with self._lock:
            return super().batch(ops)

    def make_tables(self) -> None:
        """Do nothing: there are none."""

    def sweep_ttl(self) -> int:
        """Do nothing: no item expires."""
        return 0

    def close(self) -> None:
        """Do nothing: the items go with the object."""


@dataclass(frozen=True)
class _Open:
    """The open stock stores of one database, and the threads in which event loops call them."""

    backend: Backend | None
    """`None`: memory."""
    reading: _StockStore
    writing: _StockStore
    executor: Executor
    opened_by: int

    def close(self) -> None:
        """Close everything, but never the connections of the parent of a fork. Idempotent."""
        if os.getpid() != self.opened_by:
            return
        if self.backend is not None:
            self.backend.patience.end()
        self.executor.close()
        self.reading.close()
        self.writing.close()
        if self.backend is not None:
            self.backend.close()

    def run(self, stock: _StockStore, ops: Sequence[Op]) -> list[Result]:
        """Run a batch on one of the stock stores. An outage of the server is waited out, and the batch repeated."""
        return stock.batch(ops) if self.backend is None else persist(self.backend, partial(stock.batch, ops))


class HoldfastStore(BaseStore):
    """LangGraph's own store for a database, for `invoke` and `ainvoke` alike; see `open_store`.

    Its methods are those of `BaseStore`, with what they mean there. It owns connections, errors and the making of the
    tables; statements and format are those of `SqliteStore`, `PostgresStore` and `InMemoryStore`. A batch that reads
    and writes reads first. What it writes is one transaction.
    """

    def __init__(
        self,
        place: urls.Location,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        pool_size: int = urls.POOL_SIZE,
    ) -> None:
        self._place = place
        self._index = index
        self._pool_size = pool_size
        self.ttl_config = ttl
        self.supports_ttl = not isinstance(place, urls.MemoryURL)
        self._refreshes = bool(ttl and ttl.get("refresh_on_read"))
        self._opening = Lock()
        self._open: _Open | None = None
        self._was_opened_by_use = False
        self._was_closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._place)!r})"

    # --- opening and closing

    def open(self) -> Self:
        """Connect, and make the tables or bring them up to date. If the first use has done so, take over.

        Raises:
            DatabaseUnavailable: the database cannot be opened or reached, or cannot have the index.
            SchemaTooNew: newer code has changed the tables of the conversations.
            NotOpen: the store is open already.
        """
        with self._opening:
            if self._open is None:
                self._connect()
            elif not self._was_opened_by_use:
                raise NotOpen("This store is open already. Open a second one with another open_store(url).")
            self._was_opened_by_use = False
        return self

    def close(self) -> None:
        """Wait for calls in progress, and disconnect. Idempotent. The items of `memory://` are gone."""
        with self._opening:
            self._was_closed = True
            found, self._open = self._open, None
        if found is not None:
            found.close()

    def setup(self) -> None:
        """Open the store, and so make the tables, as `setup` of the stock stores. It is never needed. Idempotent.

        Raises:
            DatabaseUnavailable, SchemaTooNew, NotOpen: as `open`; `NotOpen` if it was closed.
        """
        self._in_use()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await run_in_own_executor(lambda _: self.open())

    async def __aexit__(self, *exc_info: object) -> None:
        await run_in_own_executor(lambda _: self.close())

    def _in_use(self) -> _Open:
        """Return the open stores. Open them if this is the first use; then they are closed with the interpreter.

        Raises:
            NotOpen: the store was closed, or another process opened it.
        """
        found = self._open or self._open_when_used()
        if found.opened_by != os.getpid():
            raise NotOpen(
                f"This store was opened by another process, and this is process {os.getpid()}, forked from it. Open a "
                "store in each process, after the fork."
            )
        return found

    def _open_when_used(self) -> _Open:
        with self._opening:
            if self._open is not None:  # by another thread
                return self._open
            if self._was_closed:
                raise NotOpen(_NOT_OPEN)
            self._was_opened_by_use = True
            found = self._connect()
            weakref.finalize(self, found.close)
            return found

    def _connect(self) -> _Open:
        self._open = _connected(self._place, self._index, self.ttl_config, self._pool_size)
        self._was_closed = False
        return self._open

    # --- LangGraph's contract

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run some operations: first what reads, then what writes, which is one transaction.

        Args:
            ops: the operations, as LangGraph's methods make them.

        Returns:
            The result of each.

        Raises:
            DatabaseUnavailable, NotOpen, NotStorable: as for the checkpointer.
        """
        found = self._in_use()
        every = list(ops)
        if found.backend is None:
            return found.writing.batch(every)
        results: list[Result] = [None] * len(every)
        for stock, writes in ((found.reading, False), (found.writing, True)):
            chosen = [place for place, op in enumerate(every) if self._writes(op) is writes]
            if chosen:
                for place, result in zip(chosen, found.run(stock, [every[at] for at in chosen]), strict=True):
                    results[place] = result
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do as `batch`, without blocking the event loop."""
        return await self._in_a_thread(partial(self.batch, list(ops)))

    def _writes(self, op: Op) -> bool:
        return isinstance(op, PutOp) or (self._refreshes and bool(getattr(op, "refresh_ttl", False)))

    # --- beside LangGraph's contract

    def sweep_ttl(self) -> int:
        """Delete the items whose time is over, and return their number, as the stock stores do."""
        found = self._in_use()
        return found.writing.sweep_ttl() if found.backend is None else persist(found.backend, found.writing.sweep_ttl)

    async def asweep_ttl(self) -> int:
        """Do as `sweep_ttl`, without blocking the event loop."""
        return await self._in_a_thread(self.sweep_ttl)

    @checked
    def user_items(self, user_id: str) -> list[SearchItem]:
        """Return all items in the namespaces of a user, `(user_id, …)`, by namespace and key.

        It is what is known of that user. `item.dict()` can be written as JSON. Their time to live begins anew for none.

        Args:
            user_id: the user. No namespace can begin with an id that has a full stop.
        """
        if not items.is_label(user_id):
            return []
        # The stock stores compare the beginning of the whole text, without case and with wildcards.
        found = self.search((user_id,), limit=_LARGEST, refresh_ttl=False)
        return sorted(
            (item for item in found if item.namespace[0] == user_id), key=lambda one: (one.namespace, one.key)
        )

    async def auser_items(self, user_id: str) -> list[SearchItem]:
        """Do as `user_items`, without blocking the event loop."""
        return await self._in_a_thread(partial(self.user_items, user_id))

    @checked
    def erase_user(self, user_id: str) -> int:
        """Delete all items in the namespaces of a user, `(user_id, …)`, and return their number.

        Args:
            user_id: the user. No namespace can begin with an id that has a full stop.
        """
        found = self._in_use()
        if found.backend is not None:
            return items.erase_items(found.backend, user_id)
        erased = self.user_items(user_id)
        self.batch([PutOp(item.namespace, item.key, None) for item in erased])
        return len(erased)

    async def aerase_user(self, user_id: str) -> int:
        """Do as `erase_user`, without blocking the event loop."""
        return await self._in_a_thread(partial(self.erase_user, user_id))

    async def _in_a_thread(self, function: Callable[[], T]) -> T:
        if self._open is None:
            await run_in_own_executor(lambda _: self._in_use())
        return await self._in_use().executor.run(function)


@checked
def open_store(
    url: str | None = None,
    *,
    index: IndexConfig | None = None,
    ttl: TTLConfig | None = None,
    pool_size: int = urls.POOL_SIZE,
) -> HoldfastStore:
    """Return LangGraph's own store on a database: long-term memory beside the conversations.

    `with` or `async with` opens and closes it. Without them, the first use opens it, and it is closed when the
    interpreter exits.

    Args:
        url: as for `open_checkpointer`, and the same one: the tables are beside those of the conversations.
        index: finds items by meaning, as in LangGraph: `dims`, `embed`, `fields`. The embedding is called in a thread,
            so it must be a function that blocks, or an `Embeddings`. PostgreSQL needs pgvector; SQLite needs a Python
            that loads extensions.
        ttl: how long items are kept, as in LangGraph. `sweep_ttl` deletes those whose time is over.
        pool_size: the largest number of connections to PostgreSQL.

    Raises:
        InvalidURL: the URL has another form.
        DriverMissing: the driver of the database is not installed.
        ValueError: `pool_size` is below 1, `embed` is a coroutine function, or `memory://` was given a `ttl`.
    """
    if pool_size < 1:
        raise ValueError(f"pool_size must be at least 1, the largest number of connections; found {pool_size}.")
    if index is not None and iscoroutinefunction(index.get("embed")):
        raise ValueError(
            "The embed of the index is a coroutine function. Needed: a function that blocks, or Embeddings."
        )
    place = urls.parse(url)
    if ttl is not None and isinstance(place, urls.MemoryURL):
        raise ValueError("LangGraph's store in memory keeps no time to live. Leave ttl out, or use a SQLite file.")
    return HoldfastStore(place, index=index, ttl=ttl, pool_size=pool_size)


def _connected(place: urls.Location, index: IndexConfig | None, ttl: TTLConfig | None, pool_size: int) -> _Open:
    """Open a database, and the stock stores on it."""
    if isinstance(place, urls.MemoryURL):
        memory = _InMemory(index)
        return _Open(None, memory, memory, Executor(1), os.getpid())
    backend = backend_of(place, pool_size)
    backend.on_use = _refuse
    backend.open()
    try:
        writing = _stock_store(backend, index, ttl, writes=True)
        try:
            writing.make_tables()
            reading = _stock_store(backend, index, ttl, writes=False)
        except BaseException:
            writing.close()
            raise
    except BaseException:
        backend.close()
        raise
    return _Open(backend, reading, writing, Executor(backend.workers), os.getpid())


def _stock_store(backend: Backend, index: IndexConfig | None, ttl: TTLConfig | None, *, writes: bool) -> _StockStore:
    from holdfast.checkpoints.backends.sqlite import SqliteBackend

    if isinstance(backend, SqliteBackend):
        from holdfast.checkpoints.store.sqlite import SqliteItems

        return SqliteItems(backend, index=index, ttl=ttl, writes=writes)
    from holdfast.checkpoints.store.postgres import PostgresItems

    return PostgresItems(cast("Any", backend), index=index, ttl=ttl, writes=writes)


def _refuse() -> None:
    """Refuse the use of a store that was closed meanwhile."""
    raise NotOpen(_NOT_OPEN)
