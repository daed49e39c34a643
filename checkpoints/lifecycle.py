"""A database of conversations beside LangGraph's contract: opening, closing, and what belongs to it."""

from __future__ import annotations

import asyncio
import builtins
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from typing import ParamSpec, Self, TypedDict, TypeVar, Unpack

from holdfast.checkpoints import interrupts, times
from holdfast.checkpoints.backends.base import NOT_OPEN, Backend
from holdfast.checkpoints.backends.executor import Done, Executor, in_a_thread
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import thread_of
from holdfast.checkpoints.core.arguments import check_count, checked
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.effects import Effects
from holdfast.checkpoints.encryption import opening
from holdfast.checkpoints.encryption.opening import Encryption
from holdfast.checkpoints.erasure.service import Erasing
from holdfast.checkpoints.errors import NotOpen
from holdfast.checkpoints.redaction.service import Redacting
from holdfast.checkpoints.redaction.storing import RedactingFilter
from holdfast.checkpoints.retention import RetentionPolicy, Swept, sweep
from holdfast.checkpoints.retention.steadily import SteadyPruning
from holdfast.checkpoints.runs import Runs
from holdfast.checkpoints.save import save_checkpoint
from holdfast.checkpoints.search.service import Search
from holdfast.checkpoints.serde.types import TypeName, Types
from holdfast.checkpoints.threads import Threads, leases
from holdfast.checkpoints.threads import prune as pruning
from holdfast.checkpoints.transcript import Transcript, open_transcript

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """A thread, with its first and its newest root checkpoint."""

    thread_id: str
    first_id: str
    checkpoint_id: str


def _close_at_exit(database: weakref.ref[HoldfastDatabase], opened_by: int) -> None:
    """Close a database when the interpreter exits, but never the connections of the parent of a fork.

    If it is garbage already, so are its connections, which close by themselves.
    """
    found = database()
    if found is not None and os.getpid() == opened_by:
        found.close()


class DatabaseOptions(TypedDict, total=False):
    """What `open_checkpointer` and `open_database` have made of their arguments."""

    allow: Collection[type | TypeName]
    strict: bool
    compact_after: int | None
    redact: Sequence[str | re.Pattern[str]]
    encryption: Encryption | None


class HoldfastDatabase(Redacting, Erasing):
    """A database of conversations, for programs that read it and look after it, and run no graph.

    It is no checkpointer, so it does not import LangGraph's graphs. `HoldfastSaver` is one, over such a database.
    """

    def __init__(self, backend: Backend, **options: Unpack[DatabaseOptions]) -> None:
        if (compact_after := options.get("compact_after")) is not None:
            check_count(compact_after, "compact_after")
        self._backend = backend
        self._encryption = options.get("encryption")
        backend.sealer = sealer = opening.sealer_of(backend, self._encryption)
        types, redact = Types(options.get("allow", ()), strict=options.get("strict", False)), options.get("redact")
        self._database = Database(
            backend,
            types,
            sealer,
            storage_filter=RedactingFilter(redact, types) if redact else None,
            run_in_executor=self.run_in_executor,  # type: ignore[arg-type]  # mypy takes equal generic types for different
        )
        backend.on_lost = self._database.forget_all
        backend.on_use = self._open_when_used
        self._opening = Lock()
        self._executor: Executor | None = None
        self._was_opened_by_use = False
        self._was_closed = False
        self._setting_up: asyncio.Task[None] | None = None
        self._effects = Effects(self._database)
        self._interrupts = interrupts.Interrupts(self._database)
        self._runs = Runs(self._database)
        self._search = Search(self._database)
        self._threads = Threads(self._database, self, save_checkpoint)
        self._pruning = None if compact_after is None else SteadyPruning(self._database, compact_after)

    # --- opening and closing

    def open(self) -> Self:
        """Connect, and create or migrate the tables. If the first use has done so, take over: `close` is yours.

        Raises:
            DatabaseUnavailable: the database cannot be opened or reached.
            SchemaTooNew: newer code has changed the tables.
            KeyMissing, NotEncrypted: the keys are not those of the database.
            NotOpen: the checkpointer is open already.
        """
        with self._opening:
            if self._executor is None:
                self._connect()
            elif not self._was_opened_by_use:
                raise NotOpen(
                    "This checkpointer is open already. Open a second one with another open_checkpointer(url)."
                )
            self._was_opened_by_use = False
        return self

    def close(self) -> None:
        """Wait for calls in progress, but not for a database that is out of reach, and disconnect. Idempotent.

        After that, `with`, `async with` and `open` open it again. The next use does not: a `memory://` would be empty.
        """
        self._backend.patience.end()
        with self._opening:
            self._was_closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()
            self._effects.close()
            if self._pruning is not None:
                self._pruning.finish()
        self._close_backends()
        self._database.forget_all()

    def setup(self) -> Awaitable[None]:
        """Open the database, and so create or migrate the tables, as the stock savers' `setup`. Idempotent.

        Call it or await it. It is never needed: the first use opens the database as well. On an event loop it works in
        a thread; whoever does not await it gets its error from the first use.

        Raises:
            DatabaseUnavailable, SchemaTooNew: as `open`.
            NotOpen: the checkpointer was closed.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._open_when_used()
            return Done()
        if self._executor is not None:
            return Done()
        self._setting_up = loop.create_task(self.asetup())
        return self._setting_up

    async def asetup(self) -> None:
        """Do as `setup`, without blocking the event loop."""
        await in_a_thread(self._open_when_used)

    def _open_when_used(self) -> None:
        """Open the database for a use outside of `with`. It is closed when the interpreter exits.

        Raises:
            NotOpen: it was closed.
        """
        with self._opening:
            if self._executor is None:
                if self._was_closed:
                    raise NotOpen(NOT_OPEN)
                self._connect()
                self._was_opened_by_use = True
                weakref.finalize(self, _close_at_exit, weakref.ref(self), os.getpid())

    def _connect(self) -> None:
        self._database.forget_all()  # the database may differ from the last one: memory:// is always empty
        self._backend.open()
        try:
            opening.open_keys(self._backend, self._database.sealer, self._encryption)
        except BaseException:
            self._close_backends()
            raise
        self._executor = Executor(self._backend.workers)
        self._was_closed = False

    def _close_backends(self) -> None:
        self._backend.close()
        opening.close_keys(self._encryption)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await in_a_thread(self.open)

    async def __aexit__(self, *exc_info: object) -> None:
        await in_a_thread(self.close)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._backend)!r})"

    # --- what belongs to the same database

    @property
    def database(self) -> Database:
        """The open database, for the functions about a database as a whole (`convert`, `maintenance`, `transfer`)."""
        return self._database

    @property
    def effects(self) -> Effects:
        """The ledger of tool calls that change the world."""
        return self._effects

    @property
    def interrupts(self) -> interrupts.Interrupts:
        """The requests that wait for a person in any thread, and their answers."""
        return self._interrupts

    @property
    def runs(self) -> Runs:
        """The turns that were accepted, for a worker of any process to carry out."""
        return self._runs

    @property
    def search(self) -> Search:
        """The search for words in all messages."""
        return self._search

    @property
    def threads(self) -> Threads:
        """The threads of the database: list, rename, restart, undo, fork, copy, delete."""
        return self._threads

    @checked
    def heads(self, limit: int = 1, *, thread_id: str | None = None) -> builtins.list[Head]:
        """Return the threads that were written last, newest first.

        A thread that only a saver of LangGraph has written is among them if there are fewer than `limit` others.

        Args:
            limit: the largest number of threads.
            thread_id: only this thread.
        """
        check_count(limit, "limit")
        sql, statement = self._backend.sql, "newest_heads" if thread_id is None else "head_of"
        wanted = {"limit": limit} if thread_id is None else {"thread_id": thread_id}
        [rows] = self._database.read((sql[statement], wanted))
        if thread_id is None and len(rows) < limit:  # there may be threads that are not in the index
            [rows] = self._database.read((sql["all_heads"], wanted))
        return [Head(*map(str, row)) for row in rows if row.head is not None]

    aheads = async_twin(heads)

    @checked
    def is_deleted(self, thread_id: str) -> bool:
        """Return whether a thread was deleted, or never was. A thread of which all checkpoints were rolled back is."""
        [rows] = self._database.read((self._backend.sql["thread"], {"thread_id": thread_id}))
        return not rows or bool(rows[0].deleted)

    @checked
    def transcript(self, thread_id: str, *, user_id: str | None = None) -> Transcript:
        """Return all messages and events of a thread, in order, including those that left its state.

        Args:
            thread_id: the thread.
            user_id: the user that must own it or be one of its members.

        Raises:
            UnknownThread: the thread does not exist, or is neither the user's nor shared with this user.
        """
        thread = thread_of({"configurable": {"thread_id": thread_id}})
        return open_transcript(self._database, str(thread), user_id)

    atranscript = async_twin(transcript)

    @checked
    def lease(
        self,
        thread_id: str,
        *,
        purpose: str = "run",
        owner: str | None = None,
        wait: float = times.LEASE_WAIT,
        ttl: float = times.LEASE_TTL,
        give_up: Event | None = None,
    ) -> AbstractContextManager[leases.Lease]:
        """Hold the lease of a thread during a `with` block, so that one caller writes at a time; see `leases.lease`.

        Raises:
            ThreadBusy: another caller held the lease for `wait` seconds.
        """
        thread = thread_of({"configurable": {"thread_id": thread_id}})
        return leases.lease(self._backend, thread, purpose=purpose, owner=owner, wait=wait, ttl=ttl, give_up=give_up)

    # --- deleting

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything that is stored for a thread. Idempotent.

        A run that is in progress cannot write to the thread any more. A new run may use the id again.
        """
        persist(self._backend, partial(pruning.delete_thread, self._database, str(thread_id)))

    adelete_thread = async_twin(delete_thread)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what is not needed to continue some threads.

        `keep_latest` keeps the newest checkpoint with its pending writes. It also keeps the newest checkpoint of each
        subgraph call that has not ended, and of each subgraph that has a memory of its own. All message rows stay: they
        are the transcript. What a `DeltaChannel` needs of deleted checkpoints is kept in one that is not part of the
        history. A run that continues from the newest checkpoint can go on; a run that was sent to a checkpoint that is
        deleted here is refused when it saves. `delete` (or `delete_all`) is `delete_thread` for each thread.

        Each thread is pruned in a transaction of its own, one after the other. After an error, the threads before it
        are pruned, and the others are unchanged.

        Args:
            thread_ids: the threads; those that do not exist are skipped.
            strategy: `keep_latest` or `delete`.

        Raises:
            TypeError: `thread_ids` is a single string.
            ValueError: the strategy is unknown.
            DamagedThread: a part of a thread that is needed cannot be read. The thread is unchanged.
        """
        deletes = pruning.strategy_of(strategy) == "delete"
        for thread_id in pruning.unique_ids(thread_ids, "thread_ids"):
            if deletes:
                self.delete_thread(thread_id)
            else:
                persist(self._backend, partial(pruning.keep_latest, self._database, thread_id))

    aprune = async_twin(prune)

    @checked
    def sweep(self, policy: RetentionPolicy, *, dry_run: bool = False, give_up: Event | None = None) -> Swept:
        """Delete the threads, transcripts and checkpoints that a policy no longer keeps.

        A thread that is pending or in use is left alone: it waits for a person, has a call in doubt, an answer that is
        not carried out, an unfinished run, or a lease. `keep_pending_days` of a rule limits the first four of these.
        What is swept is in the list of threads, or was created, or had a turn accepted, and never began.

        Threads are deleted in small transactions, with pauses between them, so that conversations go on meanwhile.
        Several sweeps may be at work at once. A sweep that is cut off has deleted some threads whole; the next one
        goes on.

        Args:
            policy: what to keep.
            dry_run: only count what would be deleted.
            give_up: ends the sweep after the transaction that is under way, when another thread sets it.

        Raises:
            DatabaseUnavailable: the database is out of reach.
        """
        return sweep(self._database, policy, dry_run=dry_run, give_up=give_up or Event())

    asweep = async_twin(sweep)

    # --- for event loops

    async def run_in_executor(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that blocks in a thread of the checkpointer.

        A cancelled caller still waits until the function has returned, so that no work is left half done.

        Raises:
            NotOpen: the checkpointer is not open.
        """
        if self._executor is None:
            await self.asetup()
        executor = self._executor
        if executor is None:  # closed meanwhile
            raise NotOpen(NOT_OPEN)
        return await executor.run(function, *args, **kwargs)

    @checked
    def alease(
        self, thread_id: str, *, purpose: str = "run", wait: float = times.LEASE_WAIT
    ) -> AbstractAsyncContextManager[leases.Lease]:
        """Do as `lease`, without blocking the event loop."""

        def lease_of(give_up: Event) -> AbstractContextManager[leases.Lease]:
            return self.lease(thread_id, purpose=purpose, wait=wait, give_up=give_up)

        return leases.async_lease(lease_of)
