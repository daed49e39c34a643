"""Operations on a conversation as a whole: read it, restart it, undo a turn, fork it, delete it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import NamedTuple, Self

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import HoldfastSaver, Lease, Threads, Transcript
from holdfast.checkpoints.errors import UnknownThread
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.graph.plans import Io, blocking, twin


class Role(NamedTuple):
    """What the user of a conversation is in its thread."""

    is_begun: bool = True
    """Whether the thread exists."""
    is_own: bool = True
    """Whether it is the user's own thread, or the application vouches for it."""
    is_shared: bool = False
    """Whether several users speak in it."""
    may_read: bool = True
    """False for an approver, who may only decide about its requests."""
    is_unfinished: bool = False
    """Whether tasks of the last turn were left to run."""


class Managed:
    """The part of `Conversation` that is about the thread as a whole. It needs Holdfast's checkpointer.

    Raises, from every method:
        UnknownThread: the thread does not exist yet, or is neither the user's nor shared with this user.
        ThreadBusy: another writer kept the thread's lease for too long.
        TypeError: the agent has another checkpointer.
    """

    thread_id: str
    user_id: str | None
    _profile: AgentProfile
    _members: Sequence[str]
    _is_approver: bool
    _agent: AnyAgent
    _wait: float | None
    _held: Lease | None
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
            by: who does this, for the record; by default the user.
        """
        await io.wait(lambda _: self._threads.restart(self.thread_id, user_id=self.user_id, by=by))

    @blocking
    async def undo(self, io: Io, *, by: str | None = None) -> None:
        """Remove the last turn: the user's last message, and all that followed. The effects of tools are not undone.

        Args:
            by: who does this, for the record; by default the user.

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
            by: who does this, for the record; by default the user.

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
        """Delete all data of the conversation, the transcript too, and the turns that were accepted for it.

        The thread's id can be used again.

        Raises:
            NotPermitted: the thread is shared with the user, and only its own user may delete it.
        """
        await io.wait(lambda _: self._threads.delete(self.thread_id, user_id=self.user_id))

    atranscript = twin(transcript)
    arestart = twin(restart)
    aundo = twin(undo)
    afork = twin(fork)
    adelete = twin(delete)

    async def _check_user(self, io: Io, *, decides: bool = False) -> Role:
        """Refuse a thread that is neither the user's nor shared with this user. Without a user the application vouches.

        Args:
            io: the calls of this plan.
            decides: whether it is about a request, which an approver may answer in every thread.

        Raises:
            UnknownThread: the thread exists, and is of other users or of none.
        """
        if self.user_id is None:
            return Role()
        try:
            return await self._role(io, self.user_id)
        except UnknownThread:
            if decides and self._is_approver:
                return Role(is_own=False, may_read=False)
            raise

    async def _role(self, io: Io, user_id: str) -> Role:
        saver = self._agent.checkpointer
        if isinstance(saver, HoldfastSaver):
            standing = await io.call(saver.threads.check_user, self.thread_id, user_id)
            return Role(standing.exists, not standing.is_member, standing.is_shared)
        # Another checkpointer has no index of users; its newest checkpoint names the user of the last run.
        config: RunnableConfig = {"configurable": {"thread_id": self.thread_id}}
        state = await io.either(self._agent.get_state, self._agent.aget_state, config)
        if state.created_at is not None and (state.metadata or {}).get("user_id") != user_id:
            raise UnknownThread(self.thread_id, user_id)
        return Role(is_begun=state.created_at is not None)

    @asynccontextmanager
    async def _lease(self, io: Io, *, decides: bool = False) -> AsyncIterator[Role]:
        """Hold the thread's lease, if the user may use the thread. Share a thread that is begun with its members."""
        saver = self._agent.checkpointer
        lease: AbstractAsyncContextManager[object] = nullcontext(self._held)
        if isinstance(saver, HoldfastSaver) and self._held is None:
            await self._check_user(io, decides=decides)  # before the lease, which makes a row for the thread
            limit = {} if self._wait is None else {"wait": self._wait}
            purpose = self._profile.lease_purpose
            lease = io.holding(saver.lease, saver.alease, self.thread_id, purpose=purpose, **limit)
        async with lease as held:
            role = await self._check_user(io, decides=decides)  # another user may have begun the thread since
            if self._members and not role.is_begun:
                share = self._threads.share
                await io.call(share, self.thread_id, *self._members, user_id=self.user_id, not_begun=True)
                role = role._replace(is_shared=True)
            yield role._replace(is_unfinished=isinstance(held, Lease) and held.is_unfinished)

    def _checked_members(self, members: Sequence[str]) -> Sequence[str]:
        """Return the members of a new thread.

        Raises:
            TypeError: the checkpointer is another one.
            ValueError: there is no user to share the thread.
        """
        if members and self.user_id is None:
            raise ValueError("There are members and no user_id. Needed: the user_id of the one who shares the thread.")
        if members:
            self._saver  # noqa: B018 - it raises for another checkpointer
        return tuple(members)

    def _with_thread(self, thread_id: str) -> Self:
        """Return the conversation in another thread, with the same agent and user."""
        raise NotImplementedError

    @property
    def _saver(self) -> HoldfastSaver:
        return own_saver(self._agent.checkpointer, "This")

    @property
    def _threads(self) -> Threads:
        return self._saver.threads
