"""The checkpointer: LangGraph's contract over any backend, for threads and for event loops."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack
from weakref import WeakSet

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.backends.records import CheckpointKey, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.backends.sealing import check_filter
from holdfast.checkpoints.config import ns_of, run_text, thread_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.twins import async_twin, named_as_twin
from holdfast.checkpoints.delta import history
from holdfast.checkpoints.errors import NodeMissing
from holdfast.checkpoints.langgraph_internals import INTERRUPT, enclosing_checkpoint
from holdfast.checkpoints.lifecycle import DatabaseOptions, HoldfastDatabase
from holdfast.checkpoints.load import listing
from holdfast.checkpoints.reconcile import put_checkpoint
from holdfast.checkpoints.runs.records import mark_of
from holdfast.checkpoints.save import save_writes
from holdfast.checkpoints.serde.jsonb import contained_by
from holdfast.checkpoints.serde.types import TypeName
from holdfast.checkpoints.serde.types.schemas import types_of_graph
from holdfast.checkpoints.threads import copy as copying
from holdfast.checkpoints.threads import prune as pruning
from holdfast.checkpoints.threads import rollback

P = ParamSpec("P")
T = TypeVar("T")

# The turns of an event loop in which a task that was ended has asked for its next save: closing an abandoned stream
# takes one, leaving its run two, and beginning the save that waits for the one before it two.
_TURNS: Final = 8

_MOST_SAVES: Final = 8


def _saving_twin(
    method: Callable[Concatenate[HoldfastSaver, P], T],
) -> Callable[Concatenate[HoldfastSaver, P], Coroutine[Any, Any, T]]:
    """Do as `async_twin`, for a method that saves in the thread of a config, its first argument."""
    name = method.__name__

    async def twin(self: HoldfastSaver, /, *args: P.args, **kwargs: P.kwargs) -> T:
        bound: Callable[P, T] = getattr(self, name)
        config: Any = args[0] if args else kwargs["config"]
        with self._database.queues.asked_for(thread_of(config)):
            return await self.run_in_executor(bound, *args, **kwargs)

    return named_as_twin(twin, method)


class HoldfastSaver(HoldfastDatabase, BaseCheckpointSaver[str]):
    """A LangGraph checkpointer that keeps every message once, as a row.

    `open_checkpointer` makes it; `with` or `async with` opens and closes it. The same object serves `invoke` and
    `ainvoke`, from any number of threads and event loops at once.

    Raises, from every method that reads or writes a thread:
        InvalidThread: the config has no usable `thread_id`.
        NotOpen: the checkpointer is not open.
    """

    def __init__(self, backend: Backend, **options: Unpack[DatabaseOptions]) -> None:
        # Imported here, so that what only reads a database does not import LangGraph's graphs.
        from holdfast.checkpoints.langgraph_internals import graphs

        BaseCheckpointSaver.__init__(self)
        HoldfastDatabase.__init__(self, backend, **options)
        graphs.pass_state_types()
        graphs.refuse_lost_answers()
        graphs.refuse_other_answers()
        self._derived_from: WeakSet[Any] = WeakSet()

    # --- what graphs ask, beside the contract

    def allow_types_of(self, graph: object) -> None:
        """Allow the types that a graph names to be loaded. Idempotent.

        It is called for each run of a graph that saves here, whichever way the graph was given this checkpointer.
        """
        named = getattr(graph, "builder", graph)  # copies of a graph have the same one
        if named in self._derived_from:
            return
        self._derived_from.add(named)
        types = self._database.types
        derived = types_of_graph(graph)
        was_missing = any(types.find(kind.__module__, kind.__qualname__) is None for kind in derived)
        types.allow(derived)
        if was_missing:  # messages may be cached with parts that were loaded as what they consist of
            self._database.forget_all()

    def answer_is_lost(self, thread_id: str, interrupt_id: str, missing: Sequence[str], nodes: Sequence[str]) -> None:
        """Refuse to resume a thread whose answer no task takes.

        Raises:
            NodeMissing: always.
        """
        raise NodeMissing(thread_id, interrupt_id, missing, nodes)

    def check_resume(self, thread_id: str, resume: object) -> None:
        """Refuse to resume a thread with another answer than the one that is on record. See `Interrupts.check_resume`.

        It is called before each run that is given an answer.
        """
        self._interrupts.check_resume(thread_id, resume)

    acheck_resume = async_twin(check_resume)

    def note_prompt(self, config: RunnableConfig, prompt: str) -> None:
        """Note the system prompt in force in a thread. If it has changed, the next save records it.

        This costs nothing. The agent calls it before every call of its model.
        """
        self._database.prompts[str(thread_of(config))] = prompt

    # --- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names, or the newest of its namespace; `None` if there is none.

        A run that loads the newest checkpoint, or finds none, may save only as long as no other writer has saved one;
        see `core.cache.loads` for how its saves are recognised. `config` is never changed. The messages are new objects
        every time.

        Raises:
            DamagedThread: what is stored is incomplete or altered.
            NotStorable: a type is not allowed or no longer exists.
            UnknownRun: `config` is that of an accepted turn that was deleted, with its thread or alone.
        """
        thread, ns = thread_of(config), ns_of(config)
        checkpoint_id = config["configurable"].get("checkpoint_id")
        wanted = Wanted(limit=1, thread_id=thread, ns=ns, checkpoint_id=checkpoint_id)
        loads_head = not checkpoint_id and ns == ""
        loaded: conflicts.LoadedThread | None = None
        if loads_head:
            self._database.queues.settle(thread, self._backend.patience.is_lost)
        else:
            self._database.loads.note_run(config, None)
        mark = mark_of(config, thread, ns)
        needs_generation = loads_head or mark is not None
        raw, generation = persist(self._backend, partial(self._read, wanted, with_generation=needs_generation))
        if mark is not None:
            self._runs.check_mark(mark, generation if raw is None else raw.stored.generation)
        if raw is None:
            if loads_head:
                within = enclosing_checkpoint(thread)
                loaded = conflicts.LoadedThread(thread, None, generation, within=within)
                self._database.loads.note_run(config, loaded)
            return None
        # Nothing is cached of an older checkpoint, because runs are rarely sent to one.
        stored, generation = raw.stored, None if checkpoint_id else raw.stored.generation
        if loads_head:
            had_interrupt = any(write.channel == INTERRUPT for write in stored.writes)
            loaded = conflicts.LoadedThread(
                thread,
                stored.checkpoint_id,
                generation,
                had_interrupt=had_interrupt,
                within=enclosing_checkpoint(thread),
            )
            self._database.loads.note_run(config, loaded)
        lost = self._database.types.lost
        found = load.to_tuple(raw, self._database, loaded=loaded, remember=generation is not None)
        if self._database.types.lost != lost:
            self._database.kept.note(thread, load.to_tuple(raw, self._database.keeping()).checkpoint)
        conflicts.move_clock_past(stored.checkpoint_id)
        if generation is not None:  # otherwise LangGraph's own saver wrote the thread, and no message has a row yet
            self._database.cache.loaded(thread, ns, generation, raw.rows.known, raw.rows.new_templates)
        return found

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first. They are read in pages, and between pages nothing is locked.

        A checkpoint that cannot be read is left out, and a warning in the log names it. It is an error if it is the
        only one that was asked for, or if no other can be read: an older state is never taken for the newest.

        Args:
            config: `thread_id`, and optionally `checkpoint_ns` and `checkpoint_id`; `None` for all threads.
            filter: what the metadata must contain, in the sense of PostgreSQL's `@>`. A key with dots, such as
                `"user.name"`, may be a path.
            before: only checkpoints whose id is below the `checkpoint_id` in this config.
            limit: the largest number of checkpoints.

        Raises:
            DamagedThread, NotStorable: as `get_tuple`, with a `checkpoint_id` or a `limit` of 1, or if no checkpoint
                can be read.
            EncryptedDatabase: the filter is for metadata that are encrypted.
        """
        configurable = config["configurable"] if config is not None else {}
        wanted = Wanted(
            limit=0,
            thread_id=thread_of(config) if config is not None else None,
            ns=configurable.get("checkpoint_ns"),
            checkpoint_id=configurable.get("checkpoint_id"),
            before=before["configurable"].get("checkpoint_id") if before is not None else None,
            metadata=contained_by(check_filter(self._database.sealer, filter)) if filter else (),
            with_bases=False,
        )
        return listing.list_checkpoints(self._database, wanted, limit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what some channels consist of at the checkpoint that `config` names, or at the newest.

        The result is what LangGraph finds by loading each ancestor. This reads it in a few statements, and decodes
        nothing else.

        Raises:
            DamagedThread, NotStorable: as `get_tuple`.
        """
        if not channels:
            return {}
        key = CheckpointKey(thread_of(config), ns_of(config), config["configurable"].get("checkpoint_id") or "")

        def read() -> Mapping[str, DeltaChannelHistory]:
            with self._backend.reading() as transaction:
                return history.read_history(transaction, self._database, key, builtins.list(dict.fromkeys(channels)))

        return persist(self._backend, read)

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
            ThreadConflict: another writer has changed or deleted the thread since this run loaded it. If it was
                changed, the checkpoint is kept as a branch, which the error names.
            ClockSkew: the checkpoint's id is not above that of the thread's newest checkpoint. It is kept as a branch.
            NotStorable: a value cannot be saved, or could not be loaded again.
            DamagedThread: what tasks wrote for this checkpoint to a `DeltaChannel` is altered.
        """
        saved = put_checkpoint(self._database, config, checkpoint, metadata, new_versions)
        if self._pruning is not None:
            self._pruning.note(str(thread_of(config)), ns_of(config), metadata.get("step"))
        return saved

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save what a task wrote, before the next checkpoint is made of it.

        If something is saved under the same task and index, it stays. Errors, interrupts and resumes are replaced.

        Raises:
            ThreadConflict: the thread was deleted since this run loaded it.
            NotStorable: a value cannot be saved, or could not be loaded again.
        """
        save_writes(self._database, config, writes, task_id, task_path)

    def get_next_version(self, current: str | float | None, channel: None) -> Any:
        """Return the version that follows `current`; see `next_version`."""
        return conflicts.next_version(current)

    def with_allowlist(self, extra_allowlist: Collection[type | TypeName]) -> Self:
        """Allow more types to be loaded. LangGraph calls this with the types of a graph's state.

        Returns:
            This same object: a copy would have a cache and an executor of its own.
        """
        self._database.types.allow(extra_allowlist)
        return self

    # --- copying, and deleting runs

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy everything that is stored for a thread, under the same checkpoint ids, into another thread.

        If the source has no checkpoints, the target stays as it is.

        Raises:
            ThreadNotEmpty: the target is not empty. It is unchanged.
            InvalidThread: the target's id cannot be used.
            Unreachable: the connection was lost while the copy was committed. Look whether the target exists.
        """
        target = thread_of({"configurable": {"thread_id": target_thread_id}})
        # Not repeatable: what a second attempt finds in the target may be the copy, or another writer's.
        copy = partial(copying.copy_thread, self._database, str(source_thread_id), target)
        persist(self._backend, copy, repeatable=False)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what some runs have saved, in all threads, as if they had never been. Idempotent.

        This deletes each checkpoint whose metadata name one of the runs, with its writes; what the runs wrote onto
        checkpoints that stay, such as the answer to an interrupt, which is then open again; and messages that only
        these runs have saved. A checkpoint whose parent is deleted follows the nearest ancestor that is left, and keeps
        its state. A run that loaded one of these threads before is refused when it saves.

        Each thread is changed in a transaction of its own, one after the other.

        Args:
            run_ids: the runs; those that have saved nothing are skipped.

        Raises:
            TypeError: `run_ids` is a single string.
            DamagedThread: a part of a thread that is needed cannot be read. The thread is unchanged.
        """
        runs = pruning.unique_ids(run_ids, "run_ids", run_text)
        changed = persist(self._backend, partial(rollback.threads_of_runs, self._database, runs)) if runs else []
        for thread_id in changed:
            persist(self._backend, partial(rollback.delete_runs, self._database, thread_id, runs))

    # --- the same for event loops

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Do as `get_tuple`, without blocking the event loop.

        A run of this thread that was cancelled, or whose stream was abandoned, may still have saves to ask for: each
        waits for the one before it. The head is loaded after these.
        """
        thread = thread_of(config)
        loads_head = not config["configurable"].get("checkpoint_id") and ns_of(config) == ""
        if loads_head and (self._database.loads.may_be_running(thread) or self._database.queues.under_way(thread)):
            await self._settle(thread)
        return await self.run_in_executor(self.get_tuple, config)

    aget_delta_channel_history = async_twin(get_delta_channel_history)
    aput = _saving_twin(put)
    aput_writes = _saving_twin(put_writes)
    acopy_thread = async_twin(copy_thread)
    adelete_for_runs = async_twin(delete_for_runs)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Do as `list`, without blocking the event loop."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (item := await self.run_in_executor(next, found, None)) is not None:
            yield item

    # --- inside

    async def _settle(self, thread: str) -> None:
        """Wait until the tasks of this event loop that are about to save in a thread have done so."""
        for _ in range(_MOST_SAVES):  # a run that goes on never stops saving
            for _ in range(_TURNS):
                if saves := self._database.queues.under_way(thread):
                    break
                await asyncio.sleep(0)
            else:
                return
            await asyncio.wait([asyncio.wrap_future(save) for save in saves])

    def _read(self, wanted: Wanted, *, with_generation: bool) -> tuple[load.RawCheckpoint | None, int | None]:
        """Read one checkpoint; if there is none and `with_generation`, the generation of the thread."""
        database = self._database
        found: list[load.RawCheckpoint] | None = None
        if database.cache.has(wanted.thread_id or ""):
            with self._backend.glancing() as transaction:
                found = load.find_known(transaction, database, wanted)
        if not found:
            with self._backend.reading() as transaction:
                found = load.find(transaction, database, wanted)
                if not found and with_generation:
                    # The row that a deleted thread leaves behind has its generation.
                    [rows] = transaction.run([(self._backend.sql["thread"], {"thread_id": wanted.thread_id})])
                    return None, rows[0][0] if rows else None
        return (found[0] if found else None), None
