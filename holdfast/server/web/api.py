"""What the routes share: the agent, its worker, and the call of one request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from langchain_core.messages import AIMessage

from holdfast.checkpoints import HoldfastSaver, Run
from holdfast.checkpoints.errors import HoldfastError, UnknownRun
from holdfast.graph import Conversation
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.server.gates.problems import problem_fields
from holdfast.server.web.caller import Caller
from holdfast.server.web.problems import words_of
from holdfast.server.web.streams.following import Following, Position, StreamEvent, run_fields
from holdfast.server.web.streams.live import Live, TurnEnd
from holdfast.worker import Worker


@dataclass(frozen=True)
class Api:
    """An agent that is served."""

    agent: AnyAgent
    saver: HoldfastSaver
    worker: Worker
    live: Live
    find_caller: Callable[[Request], Awaitable[Caller]]
    options: dict[str, Any]
    """Of each conversation."""

    async def enter(self, request: Request) -> None:
        """Find the caller of a request. A dependency of every route."""
        request.state.holdfast = Call(self, await self.find_caller(request))


@dataclass(frozen=True)
class Call:
    """One request: the agent and the caller."""

    api: Api
    caller: Caller

    @property
    def saver(self) -> HoldfastSaver:
        """The checkpointer."""
        return self.api.saver

    @property
    def user_id(self) -> str | None:
        """The user of the caller."""
        return self.caller.user_id

    def conversation(self, thread_id: str, *, decides: bool = False, writes: bool = False) -> Conversation:
        """Return the conversation of a thread, for its caller.

        Args:
            thread_id: the thread.
            decides: whether it is about a request, which an approver may answer in every thread.
            writes: whether something is to be changed.

        Raises:
            NotPermitted: the caller only reads.
        """
        if writes:
            self.caller.check_may_write()
        user_id = self.user_id if writes else self.caller.reads_as
        approver = decides and self.caller.is_approver and user_id is not None
        return Conversation(self.api.agent, thread_id, user_id, approver=approver, **self.api.options)

    async def begun(self, thread_id: str, *, decides: bool = False, writes: bool = False) -> Conversation:
        """Return the conversation of a thread that is there, for its caller: to a stranger, one of others is not there.

        An approver who decides learns of no thread either, only of requests.

        Args:
            thread_id, decides, writes: as for `conversation`.

        Raises:
            NotPermitted: the caller only reads.
            UnknownThread: there is none, or it is of others.
        """
        talk = self.conversation(thread_id, decides=decides, writes=writes)
        if not (decides and self.caller.is_approver):
            await self.saver.threads.aget(thread_id, user_id=talk.user_id)
        return talk

    def accepted(self, run: Run) -> Run:
        """Let the worker of this process begin a run at once: it may have claimed it already."""
        if run.state == "accepted":
            self.api.worker.turns.wake()
        else:
            self.api.worker.turns.begin_accepted()
        return run

    async def run(self, thread_id: str, run_id: str) -> tuple[Run, bool]:
        """Return a run that the caller may see, and whether the caller may read its thread.

        Raises:
            UnknownRun: there is none that the caller may see.
        """
        run = await self.saver.runs.aget(run_id)
        if run.thread_id != thread_id or not await self.may_see(run):
            raise UnknownRun(run_id)
        return run, await self._may_read(run)

    async def may_see(self, run: Run) -> bool:
        """Return whether the caller may see a run: it is their own, or they may read its thread."""
        return run.user_id == self.user_id or await self._may_read(run)

    async def _may_read(self, run: Run) -> bool:
        user_id = self.caller.reads_as
        if user_id is None:
            return True
        standing = await self.saver.run_in_executor(self._standing, run.thread_id, user_id)
        # A thread that is not begun yet is of the user whose run begins it.
        return standing is True or (standing is None and run.user_id == user_id)

    def _standing(self, thread_id: str, user_id: str) -> bool | None:
        """Return whether a user may read a thread; `None` if it does not exist yet."""
        try:
            return True if self.saver.threads.check_user(thread_id, user_id).exists else None
        except LookupError:
            return False

    def follow(self, run: Run, *, after: str | None = None, may_read: bool = True) -> Following:
        """Follow a run, from behind the event with an id."""
        return Following(self.saver, self.api.live, run, Position.parse(after), may_read)

    async def stream(self, run: Run, *, after: str | None = None, may_read: bool = True) -> AsyncIterator[StreamEvent]:
        """Yield the events of a run, from the one after an id to its end.

        An error of the database, or of a thread that was deleted meanwhile, is the last event: it is too late for a
        status.
        """
        following = self.follow(run, after=after, may_read=may_read)
        yield StreamEvent("run", run_fields(run))
        try:
            async for event in following.events():
                yield event
            for event in await self._end(following.end, may_read=may_read):
                yield event
        except HoldfastError as error:
            yield StreamEvent("interrupted", dict(problem_fields(type(error).__name__, words_of(error))))

    async def _end(self, end: TurnEnd | None, *, may_read: bool) -> list[StreamEvent]:
        """Return the last events of a run that has ended."""
        if end is None:
            return []
        if end.run.state != "done":
            return [StreamEvent(end.run.state, {"run": run_fields(end.run), **_why(end.run)})]
        outcome = await self.outcome(end, may_read=may_read)
        paused = [StreamEvent("paused", {"pending": pending}) for pending in outcome["pending"]]
        return [*paused, StreamEvent("done", outcome)]

    async def outcome(self, end: TurnEnd, *, may_read: bool = True) -> dict[str, Any]:
        """Return what came of a run that is done: the agent's last text, and the requests that wait now."""
        run, reply = end
        if reply is not None and run.kind == "message":  # the last text is one of this run
            text, pending = reply.text, reply.pending
        else:
            said = await self.saver.runs.asaid(run) if may_read else []
            texts = [str(message.text) for _, message in said if isinstance(message, AIMessage) and message.text]
            text = texts[-1] if texts else ""
            pending = await self.conversation(run.thread_id, decides=True).apending()
        return {"run": run_fields(run), "text": text if may_read else "", "pending": pending}


def _why(run: Run) -> dict[str, str]:
    return {} if run.error_type is None else problem_fields(run.error_type, str(run.error))


async def _call(request: Request) -> Call:  # FastAPI would run a plain function in a thread
    call: Call = request.state.holdfast
    return call


Count = Annotated[int, Query(ge=1, le=1000)]
"""A maximum number of results, for routes."""

Here = Annotated[Call, Depends(_call)]
"""The call of a request, for routes."""
