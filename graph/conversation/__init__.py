"""A conversation with an agent, as an application has it: say something, see what waits, decide about it.

Each turn takes the thread's lease, so that two replicas take turns instead of refusing each other, and is durable step
by step. Every method has an asynchronous twin, `asend` for `send`; what is decided is written once.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal, Self

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StreamMode

from holdfast.graph.agent import Agent
from holdfast.graph.conversation.answer import (
    NOTHING,
    Answering,
    Choice,
    NothingWaits,
    told_apart,
)
from holdfast.graph.conversation.events import (
    Event,
    Paused,
    Pending,
    Reply,
    Turn,
    messages_of,
    pending_of,
    unfinished,
)
from holdfast.graph.conversation.manage import Managed

Said = str | list[str | dict[str, Any]] | HumanMessage
"""What a user says: a text, content blocks, or a whole message."""

Verdict = Literal["run_again", "happened", "skip"]
"""What a person says about a call that is in doubt."""

# The lease of a thread that somebody else is writing to: seconds to wait before `ThreadBusy`.
WAIT = 30.0

_MODES: Final[list[StreamMode]] = ["messages", "updates"]  # what `events` reads


class Conversation(Managed):
    """One thread of an agent.

    Args:
        agent: from `build_graph`, with a checkpointer.
        thread_id: which thread. A new one begins with the first message.
        user_id: who talks; stored with every checkpoint. Every method refuses a thread that exists and is not this
            user's. Without it no method looks whose the thread is: the application vouches for it.
        wait: seconds to wait while somebody else writes to the thread.

    Raises, from every method:
        UnknownThread: the thread is another user's, or names no user. Nothing was read or written.

    Raises, from every method that runs the agent:
        ThreadBusy: somebody else was writing to the thread all the time. Nothing was saved.
        whatever the model's client raises: the user's message is in the thread; `retry` goes on.
    """

    def __init__(self, agent: Agent, thread_id: str, user_id: str | None = None, *, wait: float = WAIT) -> None:
        if agent.checkpointer is None or isinstance(agent.checkpointer, bool):
            raise ValueError("A conversation needs an agent with a checkpointer: build_graph(checkpointer=…).")
        self.thread_id = thread_id
        # A text from the start: LangGraph drops from a config what JSON has no form for, such as a UUID.
        self.user_id = None if user_id is None else str(user_id)
        self._agent = agent
        self._answers = Answering(agent, thread_id)
        self._wait = wait

    def __repr__(self) -> str:
        return f"Conversation({self.thread_id!r}, user_id={self.user_id!r})"

    # --- saying something

    def send(self, said: Said) -> Reply:
        """Say something, and wait until the turn ends or a call waits for a person.

        What was decided and is not carried out yet comes first; calls that still wait are closed as not run.
        """
        return self._run({"messages": [_message(said)]})

    def stream(self, said: Said) -> Iterator[Event]:
        """As `send`, but tell what happens while it does: the model's text piece by piece, its calls, their answers,
        and last the calls that wait for a person, which can be answered inside the loop."""
        return self._stream({"messages": [_message(said)]})

    def retry(self) -> Reply:
        """Go on where a run failed or died, also one that was to carry out a decision.

        Raises:
            NothingWaits: the last turn has ended, or waits for a person.
        """
        self._check_owner()
        self._check_unfinished(*self._look())
        return self._run(None)

    def stream_retry(self) -> Iterator[Event]:
        """As `retry`, but tell what happens while it does."""
        self._check_owner()
        self._check_unfinished(*self._look())
        yield from self._stream(None)

    # --- deciding

    def pending(self) -> list[Pending]:
        """The calls that wait for a person."""
        self._check_owner()
        return pending_of(*self._look())

    def approve(self, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Let a call run as it is.

        Args:
            interrupt_id: which; may be left out if only one waits.
            by: who decides; on the record with the call's answer.

        Raises:
            NothingWaits: no call waits under this id, or several wait and none is named. Of one that was answered it
                says by whom, and when. Or the conversation went on before the answer could be carried out.
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

    def settle(
        self,
        verdict: Verdict,
        interrupt_id: str | None = None,
        *,
        result: str | None = None,
        by: str | None = None,
    ) -> Reply:
        """Say what is to become of a call of which nobody knows whether it took effect (a `pending` of kind "doubt").

        Args:
            verdict: "run_again": it did not happen, or the service knows the call by its key. "happened": it took
                effect, and `result` is what came of it. "skip": it is not to be run, whatever happened.
            interrupt_id: which; may be left out if only one waits.
            result: what the model reads as the result.
            by: who decides.

        Raises:
            NothingWaits, BadAnswer: as `approve`.
        """
        return self._answer(interrupt_id, {"type": verdict, "result": result}, by)

    def stream_answer(
        self, answer: Mapping[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> Iterator[Event]:
        """Any of these, told while it happens.

        Args:
            answer: in the form of `holdfast.graph.approvals.policy`; an edit may leave the tool's name out.
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
        await self._acheck_owner()
        self._check_unfinished(*await self._alook())
        return await self._arun(None)

    async def astream_retry(self) -> AsyncGenerator[Event, None]:
        """`stream_retry`, without blocking the event loop."""
        await self._acheck_owner()
        self._check_unfinished(*await self._alook())
        async with aclosing(self._astream(None)) as seen:
            async for event in seen:
                yield event

    async def apending(self) -> list[Pending]:
        """`pending`, without blocking the event loop."""
        await self._acheck_owner()
        return pending_of(*await self._alook())

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

    async def asettle(
        self,
        verdict: Verdict,
        interrupt_id: str | None = None,
        *,
        result: str | None = None,
        by: str | None = None,
    ) -> Reply:
        """`settle`, without blocking the event loop."""
        return await self._aanswer(interrupt_id, {"type": verdict, "result": result}, by)

    def astream_answer(
        self, answer: Mapping[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """`stream_answer`, without blocking the event loop."""
        return self._astream(None, (interrupt_id, answer, by))

    async def ahistory(self) -> list[AnyMessage]:
        """`history`, without blocking the event loop."""
        return messages_of(await self._astate())

    # --- what is decided, once

    def _in(self, thread_id: str) -> Self:
        return type(self)(self._agent, thread_id, self.user_id, wait=self._wait)

    @property
    def _config(self) -> RunnableConfig:
        configurable = {"thread_id": self.thread_id}
        return {"configurable": configurable if self.user_id is None else {**configurable, "user_id": self.user_id}}

    def _check_unfinished(self, state: StateSnapshot, answered: Collection[str]) -> None:
        if not unfinished(state, answered):
            why = "a call waits for a person" if state.interrupts else "the last turn has ended"
            raise NothingWaits(f"There is nothing to retry in thread {self.thread_id!r}: {why}.")

    # --- running

    def _state(self) -> StateSnapshot:
        self._check_owner()
        return self._agent.get_state(self._config)

    async def _astate(self) -> StateSnapshot:
        await self._acheck_owner()
        return await self._agent.aget_state(self._config)

    def _look(self) -> tuple[StateSnapshot, frozenset[str]]:
        """The thread's state, and the pauses in it whose answers are on record."""
        state = self._agent.get_state(self._config)
        return state, self._answers.open() if state.interrupts else NOTHING

    async def _alook(self) -> tuple[StateSnapshot, frozenset[str]]:
        state = await self._agent.aget_state(self._config)
        return state, await self._aopen() if state.interrupts else NOTHING

    async def _aopen(self) -> frozenset[str]:
        return await self._answers.off(self._answers.open)

    def _run(self, what: Any) -> Reply:
        with self._held():
            if what is not None and self._answers.open():
                self._go(None)  # what was decided is not dropped for what is said now
            return self._go(what)

    async def _arun(self, what: Any) -> Reply:
        async with self._aheld():
            if what is not None and await self._aopen():
                await self._ago(None)
            return await self._ago(what)

    def _answer(self, interrupt_id: str | None, answer: dict[str, Any], by: str | None) -> Reply:
        taken = self._answers.give(self._state(), (interrupt_id, answer, by))
        with self._held(), told_apart():
            reply = self._go(taken.what)
            self._answers.check_done(taken)
            return reply

    async def _aanswer(self, interrupt_id: str | None, answer: dict[str, Any], by: str | None) -> Reply:
        taken = await self._answers.off(self._answers.give, await self._astate(), (interrupt_id, answer, by))
        async with self._aheld():
            with told_apart():
                reply = await self._ago(taken.what)
                await self._answers.off(self._answers.check_done, taken)
                return reply

    def _go(self, what: Any) -> Reply:
        """Run what there is to run, or with `None` what is left to do, if something is: somebody else may have done it
        while one waited for the lease."""
        turn = Turn()
        if what is None:
            turn.state, turn.answered = self._look()
        while turn.goes_on():
            self._agent.invoke(what, self._config, durability="sync")
            (turn.state, turn.answered), what = self._look(), None
        return turn.reply

    async def _ago(self, what: Any) -> Reply:
        turn = Turn()
        if what is None:
            turn.state, turn.answered = await self._alook()
        while turn.goes_on():
            await self._agent.ainvoke(what, self._config, durability="sync")
            (turn.state, turn.answered), what = await self._alook(), None
        return turn.reply

    def _stream(self, what: Any, choice: Choice | None = None) -> Iterator[Event]:
        taken = None if choice is None else self._answers.give(self._state(), choice)
        if taken is not None:
            what = taken.what
        with self._held(), told_apart():
            if choice is None and what is not None and self._answers.open():
                yield from self._events(None, Turn())
            turn = Turn()
            yield from self._events(what, turn)
            if taken is not None:
                self._answers.check_done(taken)
        # Without the lease: a caller may answer a pause in the middle of the stream, which takes it.
        yield from map(Paused, turn.reply.pending)

    def _events(self, what: Any, turn: Turn) -> Iterator[Event]:
        if what is None or isinstance(what, Command):
            state, answered = self._look()
            turn.resumes(state)
            if what is None:
                turn.state, turn.answered = state, answered
        while turn.goes_on():
            for mode, chunk in self._agent.stream(what, self._config, stream_mode=_MODES, durability="sync"):
                yield from turn.events(mode, chunk)
            (turn.state, turn.answered), what = self._look(), None

    async def _astream(self, what: Any, choice: Choice | None = None) -> AsyncGenerator[Event, None]:
        taken = None
        if choice is not None:
            taken = await self._answers.off(self._answers.give, await self._astate(), choice)
            what = taken.what
        async with self._aheld():
            with told_apart():
                turn = Turn()
                runs = [(what, turn)]
                if choice is None and what is not None and await self._aopen():
                    runs.insert(0, (None, Turn()))
                for run in runs:
                    async with aclosing(self._aevents(*run)) as seen:
                        async for event in seen:
                            yield event
                if taken is not None:
                    await self._answers.off(self._answers.check_done, taken)
        for pending in turn.reply.pending:
            yield Paused(pending)

    async def _aevents(self, what: Any, turn: Turn) -> AsyncGenerator[Event, None]:
        if what is None or isinstance(what, Command):
            state, answered = await self._alook()
            turn.resumes(state)
            if what is None:
                turn.state, turn.answered = state, answered
        while turn.goes_on():
            run: Any = self._agent.astream(what, self._config, stream_mode=_MODES, durability="sync")
            # Closed here and not by the collector, which would let the run go on when the lease has ended.
            async with aclosing(run) as chunks:
                async for mode, chunk in chunks:
                    for event in turn.events(mode, chunk):
                        yield event
            (turn.state, turn.answered), what = await self._alook(), None


def _message(said: Said) -> HumanMessage:
    if isinstance(said, HumanMessage):
        return said
    # With an id from the start: if the same message is sent again, it is not said twice.
    return HumanMessage(content=said, id=str(uuid.uuid4()))
