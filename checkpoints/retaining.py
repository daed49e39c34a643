"""The part of LangGraph's contract that is about what is kept: deleting, pruning, copying, taking back runs, delta
channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory

from holdfast.checkpoints.backends.base import CheckpointKey
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import ns_of, run_text, thread_of
from holdfast.checkpoints.delta import history
from holdfast.checkpoints.lifecycle import OpenedSaver
from holdfast.checkpoints.threads import copy as copying
from holdfast.checkpoints.threads import prune as retention
from holdfast.checkpoints.threads import rollback


class RetainingSaver(OpenedSaver):
    """See `HoldfastSaver`, of which this is a part."""

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything that is stored for a thread. A run that is going on in it cannot write to it any more;
        a new one may use the id again."""
        # Once more deletes what there is by then, as a deletion that came later would.
        persist(self._database.backend, partial(retention.delete_thread, self._database, str(thread_id)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what is not needed to go on with some threads.

        `keep_latest` keeps the newest checkpoint with its pending writes, of each call of a subgraph that is going on
        the same, and the newest one of each subgraph with a memory of its own. All message rows stay: they are the
        transcript. What a `DeltaChannel` needs of deleted checkpoints is kept in one that is not part of the history.
        A run that is going on from the newest checkpoint goes on; one that was sent to a checkpoint that is deleted
        here is refused when it saves. `delete` (or `delete_all`) is `delete_thread` for each.

        Each thread is pruned as a whole or not at all, one after the other: an error leaves those before it pruned.

        Args:
            thread_ids: the threads; those that are not there are passed over.
            strategy: `keep_latest` or `delete`.

        Raises:
            TypeError: `thread_ids` is a single text.
            ValueError: there is no such strategy.
            DamagedThread: a thread cannot be read as far as it must be; it is as before.
        """
        chosen = retention.strategy_of(strategy)
        for thread_id in retention.unique_ids(thread_ids, "thread_ids"):
            if chosen == "delete":
                self.delete_thread(thread_id)
            else:
                # Pruned once more, a thread stays as it is.
                persist(self._database.backend, partial(retention.keep_latest, self._database, thread_id))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all that is stored for a thread, under the same checkpoint ids, into another one that is empty.

        A source without checkpoints leaves the target as it is.

        Raises:
            ThreadNotEmpty: the target has something in it; it is as before.
            InvalidThread: the target's id cannot be used.
            Unreachable: the connection was lost while the copy was committed; look whether the target is there.
        """
        target = thread_of({"configurable": {"thread_id": target_thread_id}})
        # Not repeatable: what is in the target the second time may be the copy, or somebody else's.
        copy = partial(copying.copy_thread, self._database, str(source_thread_id), target)
        persist(self._database.backend, copy, repeatable=False)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what some runs have saved, in all threads, as if they had never been.

        That is each checkpoint whose metadata name the run, with its writes; what the run wrote onto checkpoints that
        stay, such as the answer to a pause, which is then open again; and messages that only the run has said. A
        checkpoint whose parent is deleted follows the nearest ancestor that is left, and keeps its state. Who has
        loaded one of these threads before is refused when saving.

        Each thread is changed as a whole or not at all, one after the other.

        Args:
            run_ids: the runs; those that have saved nothing are passed over.

        Raises:
            TypeError: `run_ids` is a single text.
            DamagedThread: a thread cannot be read as far as it must be; it is as before.
        """
        runs = retention.unique_ids(run_ids, "run_ids", run_text)
        found = persist(self._database.backend, partial(rollback.threads_of_runs, self._database, runs)) if runs else []
        for thread_id in found:
            # What is taken back is found no more, so the second time there is nothing to do.
            persist(self._database.backend, partial(rollback.delete_runs, self._database, thread_id, runs))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What some channels are made of at the checkpoint that `config` names, or at the newest.

        The same as LangGraph finds by loading each ancestor, in a few statements, and nothing else is decoded.

        Raises:
            DamagedThread, NotStorable: as `get_tuple`.
        """
        if not channels:
            return {}
        key = CheckpointKey(str(thread_of(config)), ns_of(config), config["configurable"].get("checkpoint_id") or "")

        def read() -> Mapping[str, DeltaChannelHistory]:
            with self._database.backend.reading() as transaction:
                return history.read_history(transaction, self._database, key, list(dict.fromkeys(channels)))

        return persist(self._database.backend, read)

    # --- the same for event loops

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread`, without blocking the event loop."""
        await self._threads.run(self.delete_thread, thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`prune`, without blocking the event loop."""
        await self._threads.run(self.prune, thread_ids, strategy=strategy)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`copy_thread`, without blocking the event loop."""
        await self._threads.run(self.copy_thread, source_thread_id, target_thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`delete_for_runs`, without blocking the event loop."""
        await self._threads.run(self.delete_for_runs, run_ids)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """`get_delta_channel_history`, without blocking the event loop."""
        return await self._threads.run(self.get_delta_channel_history, config=config, channels=channels)
