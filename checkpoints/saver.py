"""The checkpointer: LangGraph's contract, for threads and for event loops, over any backend."""

from __future__ import annotations

import builtins
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, ParamSpec, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from holdfast.checkpoints import threads
from holdfast.checkpoints.backends.base import (
    Backend,
    Cursor,
    Wanted,
)
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import (
    ns_of,
    thread_of,
)
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core import load as loading
from holdfast.checkpoints.langgraph_internals import INTERRUPT
from holdfast.checkpoints.retaining import RetainingSaver
from holdfast.checkpoints.save import save_checkpoint, save_writes
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.serde.msgpack import TypeName

P = ParamSpec("P")
T = TypeVar("T")

# Checkpoints that `list` reads in one transaction. They share their message rows, so a page costs little more than one.
_PAGE: Final = 50


class HoldfastSaver(RetainingSaver):
    """A LangGraph checkpointer that keeps every message once, as a row.

    Made by `open_checkpointer`. The same object serves `invoke` and `ainvoke`, from any number of threads and event
    loops at once. `with` and `async with` open and close it.

    Raises, from every method that reads or writes a thread:
        InvalidThread: the config has no usable `thread_id`.
        NotOpen: outside of its `with` block.
    """

    def __init__(self, backend: Backend, *, allow: Collection[type | TypeName] = ()) -> None:
        super().__init__(backend, allow)
        self._index = threads.Threads(self._database, self, save_checkpoint)

    @property
    def threads(self) -> threads.Threads:
        """The threads that there are: list, rename, restart, undo, fork, copy, delete."""
        return self._index

    # --- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the newest of its namespace; `None` if there is none.

        The config in the result marks a run that goes on from the newest checkpoint, so that `put` can refuse it once
        somebody else has written. For a thread without checkpoints the `thread_id` in `config` itself is marked.
        The messages in it are new objects every time.

        Raises:
            DamagedThread: what is stored is incomplete or altered.
            NotStorable: a type in it is not allowed or is gone.
        """
        thread, ns = thread_of(config), ns_of(config)
        checkpoint_id = config["configurable"].get("checkpoint_id")
        wanted = Wanted(limit=1, thread_id=str(thread), ns=ns, checkpoint_id=checkpoint_id)
        loads_head = not checkpoint_id and ns == ""

        def load() -> tuple[builtins.list[loading.Opened], int | None]:
            with self._backend.reading() as transaction:
                found = loading.find(transaction, self._database, wanted)
                if found or not loads_head:
                    return found, None
                # Deleted, perhaps: then the row that is left says which generation it was.
                [rows] = transaction.run([(self._backend.sql["thread"], {"thread_id": str(thread)})])
                return found, rows[0][0] if rows else None

        found, generation = persist(self._backend, load)
        if not found and loads_head:
            config["configurable"]["thread_id"] = conflicts.LoadedThread(str(thread), None, generation)
        if not found:
            return None
        [opened] = found
        # Of an older checkpoint nothing is remembered: a run that is sent there is rare.
        generation = None if checkpoint_id else opened.stored.generation
        attached = loading.attach(opened, self._database, with_known=generation is not None)
        conflicts.move_clock_past(opened.stored.checkpoint_id)
        if loads_head:
            asked = any(write.channel == INTERRUPT for write in opened.stored.writes)
            thread = conflicts.LoadedThread(str(thread), opened.stored.checkpoint_id, generation, had_interrupt=asked)
        elif checkpoint_id:
            thread = str(thread)
        if generation is not None:  # else it is a conversation of the stock saver, and has no rows yet
            self._database.cache.loaded(str(thread), ns, generation, attached.known, opened.rows.learned)
        return self._tuple(opened, attached, thread)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first, in pages: nothing is locked in between, and other calls may be made meanwhile.

        Args:
            config: `thread_id`, and if given `checkpoint_ns` and `checkpoint_id`; `None` for all threads.
            filter: what the metadata must contain, as PostgreSQL's `@>` has it.
            before: only checkpoints with an id below the `checkpoint_id` in this config.
            limit: how many at the most.

        Raises:
            DamagedThread, NotStorable: as `get_tuple`, when that checkpoint's turn comes.
        """
        configurable = config["configurable"] if config is not None else {}
        after: Cursor | None = None
        while limit is None or limit > 0:
            page = _PAGE if limit is None else min(limit, _PAGE)
            wanted = Wanted(
                limit=page,
                thread_id=str(thread_of(config)) if config is not None else None,
                ns=configurable.get("checkpoint_ns"),
                checkpoint_id=configurable.get("checkpoint_id"),
                before=before["configurable"].get("checkpoint_id") if before is not None else None,
                metadata=storable(filter) if filter else None,
                after=after,
                with_bases=False,
            )
            found = persist(self._backend, partial(self._find, wanted))
            for opened in found:
                yield self._tuple(opened, loading.attach(opened, self._database), opened.stored.thread_id)
            if len(found) < page:
                return
            last = found[-1].stored
            after = Cursor(last.checkpoint_id, last.thread_id, last.ns)
            limit = None if limit is None else limit - page

    # --- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint with its messages: all of it or nothing.

        Returns:
            The config of the saved checkpoint.

        Raises:
            ThreadConflict: somebody else has written to the thread, or deleted it, since this run loaded it.
            ClockSkew: the checkpoint's id is not above the thread's newest.
            NotStorable: a value cannot be saved, or not be loaded again.
            DamagedThread: what tasks have written for it, as a `DeltaChannel` has it, is altered.
        """
        return save_checkpoint(self._database, config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote, before its checkpoint is made. What was saved for the same task and place stays,
        except for errors, interrupts and resumes, of which the last stays.

        Raises:
            ThreadConflict: the thread was deleted since this run loaded it.
            NotStorable: a value cannot be saved, or not be loaded again.
        """
        save_writes(self._database, config, writes, task_id, task_path)

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version after `current`, in the form of the stock savers, which may go on with a thread of ours.

        The random part keeps two branches apart that reach the same number.
        """
        number = 0 if current is None else current if isinstance(current, int) else int(current.split(".")[0])
        return f"{number + 1:032}.{random.getrandbits(48):012x}"

    def with_allowlist(self, extra_allowlist: Collection[type | TypeName]) -> Self:
        """Allow more types to be loaded; LangGraph calls this with those of a graph's state. Returns this same object:
        a copy would have a memory and threads of its own."""
        self._database.types.allow(extra_allowlist)
        return self

    # --- the same for event loops

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`get_tuple`, without blocking the event loop."""
        return await self._threads.run(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """`list`, without blocking the event loop."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (item := await self._threads.run(next, found, None)) is not None:
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`put`, without blocking the event loop."""
        return await self._threads.run(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """`put_writes`, without blocking the event loop."""
        await self._threads.run(self.put_writes, config, writes, task_id, task_path)

    # --- inside

    def _find(self, wanted: Wanted) -> builtins.list[loading.Opened]:
        with self._backend.reading() as transaction:
            return loading.find(transaction, self._database, wanted)

    def _tuple(self, opened: loading.Opened, attached: loading.Attached, thread: str) -> CheckpointTuple:
        stored = opened.stored
        place: dict[str, Any] = {"thread_id": thread, "checkpoint_ns": stored.ns}
        parent = {"thread_id": stored.thread_id, "checkpoint_ns": stored.ns, "checkpoint_id": stored.parent_id}
        return CheckpointTuple(
            config={"configurable": {**place, "checkpoint_id": stored.checkpoint_id}},
            checkpoint=attached.checkpoint,
            metadata=stored.metadata,  # type: ignore[arg-type]  # it is what `put` was given
            parent_config={"configurable": parent} if stored.parent_id else None,
            pending_writes=attached.writes,
        )
