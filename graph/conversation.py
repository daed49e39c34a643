"""A conversation with an agent, as an application has it: say something, see what waits, decide about it.

Each turn takes the thread's lease, so that two replicas take turns instead of refusing each other, and is durable step
by step. Every method has an asynchronous twin, `asend` for `send`; what is decided is written once.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, contextmanager, nullcontext
from typing import Any, Final, TypeAlias

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import UnknownInterruptError
from langgraph.types import Command, StateSnapshot, StreamMode

from checkpoints import HoldfastSaver
from graph.agent import Agent
from graph.approval import BadAnswer
from graph.turns import Event, Paused, Pending, Reply, Turn, messages_of, pending_of, reply, unfinished

Said = str | list[str | dict[str, Any]] | HumanMessage
"""What a user says: a text, content blocks, or a whole message."""

# The lease of a thread that somebody else is writing to: seconds to wait before `ThreadBusy`.
WAIT = 30.0

_MODES: Final[list[StreamMode]] = ["messages", "updates"]  # what `events` reads

Given: TypeAlias = tuple[str | None, Mapping[str, Any], str | None]
"""An answer: to which pause, what, and by whom."""


class NothingWaits(LookupError):
    """No call waits under this id (any more), or it does not say which of several is meant."""


class Conversation:
    """One thread of an agent.

    Args:
        agent: from `build_graph`, with a checkpointer.
        thread_id: which thread. A new one begins with the first message.
        user_id: who talks; stored with every checkpoint.
        wait: seconds to wait while somebody else writes to the thread.

    Raises, from every method that runs the agent:
        ThreadBusy: somebody else was writing to the thread all the time. Nothing was saved.
        whatever the model's client raises: the user's message is in the thread; `retry` goes on.
    """

    def __init__(self, agent: Agent, thread_id: str, user_id: str | None = None, *, wait: float = WAIT) -> None:
        if agent.checkpointer is None or isinstance(agent.checkpointer, bool):
            raise ValueError("A conversation needs an agent with a checkpointer: build_graph(checkpointer=…).")
        self.thread_id = thread_id
        self.user_id = user_id
        self._agent = agent
        self._wait = wait

    def __repr__(self) -> str:
        return f"Conversation({self.thread_id!r}, user_id={self.user_id!r})"

    # --- saying something

    def send(self, said: Said) -> Reply:
        """Say something, and wait until the turn ends or a call waits for a person.

        Calls that were waiting are closed as not run.
        """
        return self._run({"messages": [_message(said)]})

    def stream(self, said: Said) -> Iterator[Event]:
        """As `send`, but tell what happens while it does: the model's text piece by piece, its calls, their answers,
        and last the calls that wait for a person."""
        return self._stream({"messages": [_message(said)]})

    def retry(self) -> Reply:
        """Go on where a run failed or died.

        Raises:
            NothingWaits: the last turn has ended, or waits for a person.
        """
        self._check_unfinished(self._state())
        return self._run(None)

    def stream_retry(self) -> Iterator[Event]:
        """As `retry`, but tell what happens while it does."""
        self._check_unfinished(self._state())
        yield from self._stream(None)

    # --- deciding

    def pending(self) -> list[Pending]:
        """The calls that wait for a person."""
        return pending_of(self._state())

    def approve(self, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Let a call run as it is.

        Args:
            interrupt_id: which; may be left out if only one waits.
            by: who decides; on the record with the call's answer.

        Raises:
            NothingWaits: no call waits under this id, or several wait and none is named.
            BadAnswer: this decision is not open for the tool. The call still waits.
        """
        return self._answer(interrupt_id, {"type": "approve"}, by)

    def edit(self, args: dict[str, Any], interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Let a call run with other arguments. As `approve`; `BadAnswer` also if `args` do not fit the tool."""
        return self._answer(interrupt_id, {"type": "edit", "edited_action": {"args": args}}, by)

    def reject(self, message: str | None = None, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Do not let a call run, and tell the model so, with the reason in `message`. As `approve`."""
        return self._answer(interrupt_id, {"type": "reject", "message": message}, by)

    def respond(self, message: str, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Answer in place of a tool, which is not run. As `approve`."""
        return self._answer(interrupt_id, {"type": "respond", "message": message}, by)

    def stream_answer(
        self, answer: Mapping[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> Iterator[Event]:
        """Any of the four, told while it happens.

        Args:
            answer: in the form of `graph.approval`; an edit may leave the tool's name out.
        """
        return self._stream(None, (interrupt_id, answer, by))

    # --- looking back

    def history(self) -> list[AnyMessage]:
        """The messages of the thread, oldest first."""
        return messages_of(self._state())

    # --- the same on an event loop

    async def asend(self, said: Said) -> Reply:
        """`send`, without blocking the event loop."""
        return await self._arun({"messages": [_message(said)]})

    def astream(self, said: Said) -> AsyncGenerator[Event, None]:
        """`stream`, without blocking the event loop."""
        return self._astream({"messages": [_message(said)]})

    async def aretry(self) -> Reply:
        """`retry`, without blocking the event loop."""
        self._check_unfinished(await self._astate())
        return await self._arun(None)

    async def astream_retry(self) -> AsyncGenerator[Event, None]:
        """`stream_retry`, without blocking the event loop."""
        self._check_unfinished(await self._astate())
        async with aclosing(self._astream(None)) as seen:
            async for event in seen:
                yield event

    async def apending(self) -> list[Pending]:
        """`pending`, without blocking the event loop."""
        return pending_of(await self._astate())

    async def aapprove(self, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """`approve`, without blocking the event loop."""
        return await self._aanswer(interrupt_id, {"type": "approve"}, by)

    async def aedit(self, args: dict[str, Any], interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """`edit`, without blocking the event loop."""
        return await self._aanswer(interrupt_id, {"type": "edit", "edited_action": {"args": args}}, by)

    async def areject(
        self, message: str | None = None, interrupt_id: str | None = None, *, by: str | None = None
    ) -> Reply:
        """`reject`, without blocking the event loop."""
        return await self._aanswer(interrupt_id, {"type": "reject", "message": message}, by)

    async def arespond(self, message: str, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """`respond`, without blocking the event loop."""
        return await self._aanswer(interrupt_id, {"type": "respond", "message": message}, by)

    def astream_answer(
        self, answer: Mapping[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """`stream_answer`, without blocking the event loop."""
        return self._astream(None, (interrupt_id, answer, by))

    async def ahistory(self) -> list[AnyMessage]:
        """`history`, without blocking the event loop."""
        return messages_of(await self._astate())

    # --- what is decided, once

    @property
    def _config(self) -> RunnableConfig:
        configurable = {"thread_id": self.thread_id}
        return {"configurable": configurable if self.user_id is None else {**configurable, "user_id": self.user_id}}

    def _lease(self) -> AbstractContextManager[object]:
        saver = self._agent.checkpointer
        return saver.lease(self.thread_id, wait=self._wait) if isinstance(saver, HoldfastSaver) else nullcontext()

    def _alease(self) -> AbstractAsyncContextManager[object]:
        saver = self._agent.checkpointer
        return saver.alease(self.thread_id, wait=self._wait) if isinstance(saver, HoldfastSaver) else nullcontext()

    def _resume(self, state: StateSnapshot, given: Given) -> Any:
        interrupt_id, answer, by = given
        if not isinstance(answer, Mapping):
            raise BadAnswer(f'An answer is a dict with a "type", such as {{"type": "approve"}}; found {answer!r}.')
        waiting = {pending.interrupt_id: pending for pending in pending_of(state)}
        if interrupt_id is None and len(waiting) == 1:
            [interrupt_id] = waiting
        if interrupt_id not in waiting:
            raise _nothing_waits(interrupt_id, list(waiting.values()))
        if answer.get("type") == "edit" and isinstance(answer.get("edited_action"), Mapping):
            action = {"name": waiting[interrupt_id].name, **answer["edited_action"]}
            answer = {**answer, "edited_action": action}
        answer = {key: value for key, value in {"by": by, **answer}.items() if value is not None}
        return Command(resume={interrupt_id: answer})

    def _check_unfinished(self, state: StateSnapshot) -> None:
        if not unfinished(state):
            why = "a call waits for a person" if state.interrupts else "the last turn has ended"
            raise NothingWaits(f"There is nothing to retry in thread {self.thread_id!r}: {why}.")

    # --- running

    def _state(self) -> StateSnapshot:
        return self._agent.get_state(self._config)

    async def _astate(self) -> StateSnapshot:
        return await self._agent.aget_state(self._config)

    def _run(self, what: Any) -> Reply:
        with self._lease():
            return self._go(what)

    async def _arun(self, what: Any) -> Reply:
        async with self._alease():
            return await self._ago(what)

    def _answer(self, interrupt_id: str | None, answer: dict[str, Any], by: str | None) -> Reply:
        # Inside of the lease: what waited before it may have been answered meanwhile.
        with self._lease(), _told_apart():
            return self._go(self._resume(self._state(), (interrupt_id, answer, by)))

    async def _aanswer(self, interrupt_id: str | None, answer: dict[str, Any], by: str | None) -> Reply:
        async with self._alease():
            with _told_apart():
                return await self._ago(self._resume(await self._astate(), (interrupt_id, answer, by)))

    def _go(self, what: Any) -> Reply:
        turn = Turn()
        while turn.goes_on():
            self._agent.invoke(what, self._config, durability="sync")
            turn.state, what = self._state(), None
        return reply(turn.end)

    async def _ago(self, what: Any) -> Reply:
        turn = Turn()
        while turn.goes_on():
            await self._agent.ainvoke(what, self._config, durability="sync")
            turn.state, what = await self._astate(), None
        return reply(turn.end)

    def _stream(self, what: Any, answer: Given | None = None) -> Iterator[Event]:
        turn = Turn()
        with self._lease(), _told_apart():
            if what is None:
                what = self._from(self._state(), answer, turn)
            while turn.goes_on():
                for mode, chunk in self._agent.stream(what, self._config, stream_mode=_MODES, durability="sync"):
                    yield from turn.events(mode, chunk)
                turn.state, what = self._state(), None
            yield from map(Paused, pending_of(turn.end))

    async def _astream(self, what: Any, answer: Given | None = None) -> AsyncGenerator[Event, None]:
        turn = Turn()
        async with self._alease():
            with _told_apart():
                if what is None:
                    what = self._from(await self._astate(), answer, turn)
                while turn.goes_on():
                    run: Any = self._agent.astream(what, self._config, stream_mode=_MODES, durability="sync")
                    # Closed here and not by the collector, which would let the run go on when the lease has ended.
                    async with aclosing(run) as chunks:
                        async for mode, chunk in chunks:
                            for event in turn.events(mode, chunk):
                                yield event
                    turn.state, what = await self._astate(), None
            for pending in pending_of(turn.end):
                yield Paused(pending)

    def _from(self, state: StateSnapshot, answer: Given | None, turn: Turn) -> Any:
        """What to run to go on from a state: with an answer, or with what was left undone."""
        turn.resumes(state)
        return None if answer is None else self._resume(state, answer)


def _message(said: Said) -> HumanMessage:
    if isinstance(said, HumanMessage):
        return said
    # With an id from the start: if the same message is sent again, it is not said twice.
    return HumanMessage(content=said, id=str(uuid.uuid4()))


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except UnknownInterruptError as error:
        raise NothingWaits(f"This was answered or closed a moment ago ({error}).") from error


def _nothing_waits(interrupt_id: str | None, waiting: list[Pending]) -> NothingWaits:
    choices = ", ".join(f"{pending.interrupt_id} ({pending.description})" for pending in waiting)
    now = f"What waits now: {choices}." if waiting else "Nothing waits now."
    if interrupt_id is None:
        return NothingWaits(f"Which call is meant? {now}" if waiting else now)
    return NothingWaits(f"No call waits under {interrupt_id!r}: it was answered or closed already, or never was. {now}")
