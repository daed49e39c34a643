"""Operations on a conversation as a whole: read it, restart it, undo a turn, fork it, delete it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Self

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import HoldfastSaver, Threads, Transcript
from holdfast.checkpoints.errors import UnknownThread
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.plans import Io, blocking, twin


class Managed:
    """The part of `Conversation` that is about the thread as a whole. It needs Holdfast's checkpointer.

    Raises, from every method:
        UnknownThread: the thread does not exist yet, or is not the user's.
        ThreadBusy: another writer kept the thread's lease for too long.
        TypeError: the agent has another checkpointer.
    """

    thread_id: str
    user_id: str | None
    _agent: AnyAgent
    _wait: float | None
    _on_loop: Io

    @blocking
    async def transcript(self, io: Io) -> Transcript:
        """Return the messages and events of the thread, with those that have left its state.

        Iterate over it (`async for` on an event loop), or take a part with `last`, `since` or `until`.
        """
        return await io.call(self._saver.transcript, self.thread_id, user_id=self.user_id)

    @blocking
    async def restart(self, io: Io, *, by: str | None = None) -> None:
        """Begin anew, without messages; the transcript stays.

        Args:
            by: who does this, for the record.
        """
        await io.wait(lambda _: self._threads.restart(self.thread_id, user_id=self.user_id, by=by))

    @blocking
    async def undo(self, io: Io, *, by: str | None = None) -> None:
        """Remove the last turn: the user's last message, and all that followed. The effects of tools are not undone.

        Args:
            by: who does this, for the record.

        Raises:
            NothingToUndo: no turn is left.
        """
        await io.wait(lambda _: self._threads.undo(self.thread_id, user_id=self.user_id, by=by))

    @blocking
    async def fork(
        self,
        io: Io,
        thread_id: str | None = None,
        *,
        checkpoint_id: str | None = None,
        message_id: str | None = None,
        by: str | None = None,
    ) -> Self:
        """Branch a new conversation off this one, from its present or an earlier state.

        Args:
            thread_id: the id of the new one; by default a random one.
            checkpoint_id: the checkpoint to branch off from; by default the newest.
            message_id: instead of it, a message: the new one begins with the state in which this was the last.
            by: who does this, for the record.

        Raises:
            UnknownCheckpoint, UnknownMessage: the id is unknown, or is no longer in the database.
            ThreadNotEmpty: the new thread exists already.
        """
        forked = await io.wait(
            lambda _: self._threads.fork(
                self.thread_id,
                thread_id,
                checkpoint_id=checkpoint_id,
                message_id=message_id,
                user_id=self.user_id,
                by=by,
            )
        )
        return self._with_thread(forked.thread_id)

    @blocking
    async def delete(self, io: Io) -> None:
        """Delete all data of the conversation, the transcript too. The thread's id can be used again."""
        await io.wait(lambda _: self._threads.delete(self.thread_id, user_id=self.user_id))

    atranscript = twin(transcript)
    arestart = twin(restart)
    aundo = twin(undo)
    afork = twin(fork)
    adelete = twin(delete)

    async def _check_owner(self, io: Io) -> None:
        """Refuse a thread that is not the user's. Without a user the application vouches for the thread.

        Raises:
            UnknownThread: the thread exists, and belongs to another user or to none.
        """
        if self.user_id is None:
            return
        saver = self._agent.checkpointer
        if isinstance(saver, HoldfastSaver):
            await io.call(saver.threads.check_user, self.thread_id, self.user_id)
            return
        # Another checkpointer has no index of users; its newest checkpoint names the user of the last run.
        config: RunnableConfig = {"configurable": {"thread_id": self.thread_id}}
        state = await io.either(self._agent.get_state, self._agent.aget_state, config)
        if state.created_at is not None and (state.metadata or {}).get("user_id") != self.user_id:
            raise UnknownThread(self.thread_id, self.user_id)

    @asynccontextmanager
    async def _lease(self, io: Io) -> AsyncIterator[None]:
        """Hold the thread's lease, if the thread is the user's."""
        await self._check_owner(io)  # before the lease, which makes a row for the thread
        saver = self._agent.checkpointer
        lease: AbstractAsyncContextManager[object] = nullcontext()
        if isinstance(saver, HoldfastSaver):
            limit = {} if self._wait is None else {"wait": self._wait}
            lease = io.holding(saver.lease, saver.alease, self.thread_id, **limit)
        async with lease:
            await self._check_owner(io)  # another user may have begun the thread since
            yield

    def _with_thread(self, thread_id: str) -> Self:
        """Return the conversation in another thread, with the same agent and user."""
        raise NotImplementedError

    @property
    def _saver(self) -> HoldfastSaver:
        saver = self._agent.checkpointer
        if not isinstance(saver, HoldfastSaver):
            raise TypeError(f"This needs an agent with Holdfast's checkpointer; found {type(saver).__name__}.")
        return saver

    @property
    def _threads(self) -> Threads:
        return self._saver.threads
