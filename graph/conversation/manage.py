"""What an application does with a conversation as a whole: read it, begin it anew, take a turn back, branch off, delete
it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from typing import ParamSpec, Self, TypeVar

from langgraph.types import StateSnapshot

from holdfast.checkpoints import (
    HoldfastSaver,
    Threads,
    Transcript,
    UnknownThread,
    apart,
)
from holdfast.graph.agent import Agent

P = ParamSpec("P")
T = TypeVar("T")


class Managed:
    """The part of a `Conversation` that is about its thread as a whole. Each needs Holdfast's checkpointer.

    Raises, from every method:
        UnknownThread: nothing was said in the thread yet, or it is not the user's.
        ThreadBusy: somebody else was writing to it all the time.
        TypeError: the agent has another checkpointer.
    """

    thread_id: str
    user_id: str | None
    _agent: Agent
    _wait: float

    def transcript(self) -> Transcript:
        """What was said in the thread and what happened in it, also what its state has no more. Iterate over it, or
        take a part with `last`, `since` or `until`."""
        return self._saver.transcript(self.thread_id, user_id=self.user_id)

    def restart(self, *, by: str | None = None) -> None:
        """Begin anew, with nothing said; the transcript stays.

        Args:
            by: who does this, for the record.
        """
        self._threads.restart(self.thread_id, user_id=self.user_id, by=by)

    def undo(self, *, by: str | None = None) -> None:
        """Take back the last turn: what was said last, and what came of it. What tools have done is not undone.

        Raises:
            NothingToUndo: no turn is left.
        """
        self._threads.undo(self.thread_id, user_id=self.user_id, by=by)

    def fork(
        self,
        thread_id: str | None = None,
        *,
        checkpoint_id: str | None = None,
        message_id: str | None = None,
        by: str | None = None,
    ) -> Self:
        """Branch a new conversation off this one, as it stands or as it stood.

        Args:
            thread_id: the new one's; by default one is made up.
            checkpoint_id: where to branch off.
            message_id: in place of it: where this message had just been said.
            by: who does this, for the record.

        Raises:
            UnknownCheckpoint, UnknownMessage: there is none of this id any more.
            ThreadNotEmpty: there is such a conversation already.
        """
        made = self._threads.fork(
            self.thread_id, thread_id, checkpoint_id=checkpoint_id, message_id=message_id, user_id=self.user_id, by=by
        )
        return self._in(made.thread_id)

    def delete(self) -> None:
        """Delete everything of the conversation, the transcript too. Its id can be used again."""
        self._threads.delete(self.thread_id, user_id=self.user_id)

    async def atranscript(self) -> Transcript:
        """`transcript`, without blocking the event loop: go through it with `async for`."""
        return await self._saver.offload(self.transcript)

    async def arestart(self, *, by: str | None = None) -> None:
        """`restart`, without blocking the event loop."""
        await self._apart(self.restart, by=by)

    async def aundo(self, *, by: str | None = None) -> None:
        """`undo`, without blocking the event loop."""
        await self._apart(self.undo, by=by)

    async def afork(
        self,
        thread_id: str | None = None,
        *,
        checkpoint_id: str | None = None,
        message_id: str | None = None,
        by: str | None = None,
    ) -> Self:
        """`fork`, without blocking the event loop."""
        fork = partial(self.fork, checkpoint_id=checkpoint_id, message_id=message_id, by=by)
        return await self._apart(fork, thread_id)

    async def adelete(self) -> None:
        """`delete`, without blocking the event loop."""
        await self._apart(self.delete)

    def _check_owner(self) -> None:
        """Refuse a thread that is not the user's. Without a user the application vouches for the thread.

        Raises:
            UnknownThread: the thread exists, and is another user's or names no user.
        """
        if self.user_id is None:
            return
        saver = self._agent.checkpointer
        if isinstance(saver, HoldfastSaver):
            saver.threads.check_owner(self.thread_id, self.user_id)
        else:
            self._check_named(self._agent.get_state({"configurable": {"thread_id": self.thread_id}}))

    async def _acheck_owner(self) -> None:
        if self.user_id is None:
            return
        saver = self._agent.checkpointer
        if isinstance(saver, HoldfastSaver):
            await saver.offload(saver.threads.check_owner, self.thread_id, self.user_id)
        else:
            self._check_named(await self._agent.aget_state({"configurable": {"thread_id": self.thread_id}}))

    def _check_named(self, state: StateSnapshot) -> None:
        # Another checkpointer has no index of users; its newest checkpoint names the user of the last run.
        if state.created_at is not None and (state.metadata or {}).get("user_id") != self.user_id:
            raise UnknownThread(self.thread_id, self.user_id)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the thread's lease, on a thread that is the user's."""
        self._check_owner()  # before the lease, which makes a row for the thread
        with self._lease():
            self._check_owner()  # another user may have begun the thread since
            yield

    @asynccontextmanager
    async def _aheld(self) -> AsyncIterator[None]:
        await self._acheck_owner()
        async with self._alease():
            await self._acheck_owner()
            yield

    def _lease(self) -> AbstractContextManager[object]:
        saver = self._agent.checkpointer
        return saver.lease(self.thread_id, wait=self._wait) if isinstance(saver, HoldfastSaver) else nullcontext()

    def _alease(self) -> AbstractAsyncContextManager[object]:
        saver = self._agent.checkpointer
        return saver.alease(self.thread_id, wait=self._wait) if isinstance(saver, HoldfastSaver) else nullcontext()

    def _in(self, thread_id: str) -> Self:
        """The same with another thread."""
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

    async def _apart(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        # It may wait for whoever writes to the thread.
        return await apart(lambda _: function(*args, **kwargs))
