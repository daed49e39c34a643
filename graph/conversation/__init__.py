"""A conversation with an agent, as an application has it: send messages, see what waits for a person, decide.

Each turn takes the thread's lease, so that two replicas take turns instead of refusing each other, and saves each step
before the next one begins. Every method has an asynchronous twin: `asend` for `send`. Both are made of one plan, see
`holdfast.graph.plans`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Literal, Self

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StreamMode

from holdfast.graph.agent import Agent
from holdfast.graph.conversation.answer import NewAnswer, NothingWaits, ThreadAnswers, late_answers
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
from holdfast.graph.plans import Io, OnLoop, blocking, stream_twin, streaming, twin

UserMessage = str | list[str | dict[str, Any]] | HumanMessage
"""A user's message: a text, content blocks, or a whole message."""

Verdict = Literal["run_again", "happened", "skip"]
"""A person's verdict on a call that is in doubt."""

_MODES: Final[list[StreamMode]] = ["messages", "updates"]  # those that `Turn.events` reads


class Conversation(Managed):
    """One thread of an agent.

    Args:
        agent: from `build_graph`, with a checkpointer.
        thread_id: the thread. A new one begins with the first message.
        user_id: the user, stored with every checkpoint. Every method refuses a thread that exists and is not this
            user's. Without it no method checks whose the thread is: the application vouches for it.
        wait: seconds to wait while another writer holds the thread's lease; by default as long as the checkpointer's
            `lease` waits.

    Raises, from every method:
        UnknownThread: the thread belongs to another user, or to none. Nothing was read or written.

    Raises, from every method that runs the agent:
        ThreadBusy: another writer held the thread's lease for longer than `wait`. Nothing was saved.
        any error of the model's client: the user's message is in the thread; `retry` goes on.
    """

    def __init__(self, agent: Agent, thread_id: str, user_id: str | None = None, *, wait: float | None = None) -> None:
        if agent.checkpointer is None or isinstance(agent.checkpointer, bool):
            raise ValueError("A conversation needs an agent with a checkpointer: build_graph(checkpointer=…).")
        self.thread_id = thread_id
        # As text: LangGraph drops values from a config that JSON cannot hold, such as a UUID.
        self.user_id = None if user_id is None else str(user_id)
        self._agent = agent
        self._answers = ThreadAnswers(agent, thread_id)
        self._wait = wait
        self._on_loop = OnLoop(agent.checkpointer)
        user = {} if self.user_id is None else {"user_id": self.user_id}
        self._config: RunnableConfig = {"configurable": {"thread_id": thread_id, **user}}

    def __repr__(self) -> str:
        return f"Conversation({self.thread_id!r}, user_id={self.user_id!r})"

    # --- turns

    @blocking
    async def send(self, io: Io, message: UserMessage) -> Reply:
        """Send a message, and wait until the turn ends or a call waits for a person.

        Decisions on record are carried out first. Calls that still wait are closed as not run.
        """
        return await self._turn(io, _input(message))

    @streaming
    def stream(self, io: Io, message: UserMessage) -> AsyncGenerator[Event, None]:
        """Send a message as `send` does, and yield events as they come.

        They are the model's text piece by piece, its calls, the answers to them, and last the calls that wait for a
        person, which can be answered inside the loop.
        """
        return self._stream(io, _input(message))

    @blocking
    async def retry(self, io: Io) -> Reply:
        """Go on where a run failed or died, or where a decision was not carried out.

        Raises:
            NothingWaits: the last turn has ended, or waits for a person.
        """
        await self._check_unfinished(io)
        return await self._turn(io, None)

    @streaming
    async def stream_retry(self, io: Io) -> AsyncGenerator[Event, None]:
        """Go on as `retry` does, and yield events as they come."""
        await self._check_unfinished(io)
        async with aclosing(self._stream(io, None)) as events:
            async for event in events:
                yield event

    # --- decisions

    @blocking
    async def pending(self, io: Io) -> list[Pending]:
        """Return the calls that wait for a person."""
        await self._check_owner(io)
        return pending_of(*await self._look(io))

    @blocking
    async def approve(self, io: Io, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Run a call as it is.

        Args:
            interrupt_id: the call; may be left out if only one waits.
            by: who decides; recorded with the call's answer.

        Raises:
            NothingWaits: no call waits under this id, or several wait and none is named, or the conversation went on
                before the answer could be carried out. If the call was answered, the error says by whom and when.
            BadAnswer: the tool does not allow this decision. The call still waits.
        """
        return await self._answer(io, interrupt_id, {"type": "approve"}, by)

    @blocking
    async def edit(
        self, io: Io, args: dict[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> Reply:
        """Run a call with other arguments. As `approve`; `BadAnswer` also if `args` do not fit the tool."""
        return await self._answer(io, interrupt_id, {"type": "edit", "edited_action": {"args": args}}, by)

    @blocking
    async def reject(
        self, io: Io, message: str | None = None, interrupt_id: str | None = None, *, by: str | None = None
    ) -> Reply:
        """Refuse a call, and tell the model so, with the reason in `message`. As `approve`."""
        return await self._answer(io, interrupt_id, {"type": "reject", "message": message}, by)

    @blocking
    async def respond(self, io: Io, message: str, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Answer a call in place of its tool, which does not run. As `approve`."""
        return await self._answer(io, interrupt_id, {"type": "respond", "message": message}, by)

    @blocking
    async def settle(
        self,
        io: Io,
        verdict: Verdict,
        interrupt_id: str | None = None,
        *,
        result: str | None = None,
        by: str | None = None,
    ) -> Reply:
        """Settle a call in doubt (a `pending` of kind "doubt"): it was started, and its outcome is unknown.

        Args:
            verdict: "run_again": it did not happen, or the service knows the call by its key. "happened": it took
                effect, with the outcome in `result`. "skip": it is not to be run, whatever happened.
            interrupt_id: the call; may be left out if only one waits.
            result: the text that the model reads as the result.
            by: who decides.

        Raises:
            NothingWaits, BadAnswer: as `approve`.
        """
        return await self._answer(io, interrupt_id, {"type": verdict, "result": result}, by)

    @streaming
    def stream_answer(
        self, io: Io, answer: Mapping[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Give any of these answers, and yield events as they come.

        Args:
            answer: in the form of `holdfast.graph.approvals.decisions`; an edit may leave the tool's name out.
            interrupt_id: the call; may be left out if only one waits.
            by: who decides.

        Raises:
            NothingWaits, BadAnswer: as `approve`.
        """
        return self._stream(io, None, NewAnswer(interrupt_id, answer, by))

    # --- the past

    @blocking
    async def history(self, io: Io) -> list[AnyMessage]:
        """Return the messages in the state of the thread, oldest first."""
        return messages_of(await self._state(io))

    # --- on an event loop

    asend = twin(send)
    astream = stream_twin(stream)
    aretry = twin(retry)
    astream_retry = stream_twin(stream_retry)
    apending = twin(pending)
    aapprove = twin(approve)
    aedit = twin(edit)
    areject = twin(reject)
    arespond = twin(respond)
    asettle = twin(settle)
    astream_answer = stream_twin(stream_answer)
    ahistory = twin(history)

    # --- inside

    def _with_thread(self, thread_id: str) -> Self:
        return type(self)(self._agent, thread_id, self.user_id, wait=self._wait)

    async def _state(self, io: Io) -> StateSnapshot:
        await self._check_owner(io)
        return await io.either(self._agent.get_state, self._agent.aget_state, self._config)

    async def _look(self, io: Io) -> tuple[StateSnapshot, frozenset[str]]:
        """Return the thread's state, and its pauses whose answers are on record."""
        state = await io.either(self._agent.get_state, self._agent.aget_state, self._config)
        return state, await io.call(self._answers.recorded) if state.interrupts else frozenset()

    async def _check_unfinished(self, io: Io) -> None:
        await self._check_owner(io)
        state, answered = await self._look(io)
        if not unfinished(state, answered):
            why = "a call waits for a person" if state.interrupts else "the last turn has ended"
            raise NothingWaits(f"There is nothing to retry in thread {self.thread_id!r}: {why}.")

    async def _turn(self, io: Io, run_input: Any) -> Reply:
        async with self._lease(io):
            recorded = frozenset() if run_input is None else await io.call(self._answers.recorded)
            if recorded:
                # Decisions on record are carried out, not dropped for the new message.
                await self._runs(io, None, is_due=True)
            return await self._runs(io, run_input)

    async def _answer(self, io: Io, interrupt_id: str | None, answer: Mapping[str, Any], by: str | None) -> Reply:
        new = NewAnswer(interrupt_id, answer, by)
        accepted = await io.call(self._answers.accept, await self._state(io), new)
        async with self._lease(io):
            with late_answers():
                is_due = accepted.interrupt_id in await io.call(self._answers.recorded)
                reply = await self._runs(io, accepted.input, is_due=is_due)
                await io.call(self._answers.check_carried_out, accepted)
                return reply

    async def _runs(self, io: Io, run_input: Any, *, is_due: bool = False) -> Reply:
        """Run the agent until the turn ends.

        Args:
            run_input: the input of the first run. Without one the turn may have ended: another writer may have run it
                while this one waited for the lease.
            is_due: whether an answer is known to be left to carry out. Then the turn has not ended.
        """
        turn = Turn()
        if run_input is None and not is_due:
            turn.state, turn.answered = await self._look(io)
        while turn.goes_on():
            await io.either(self._agent.invoke, self._agent.ainvoke, run_input, self._config, durability="sync")
            (turn.state, turn.answered), run_input = await self._look(io), None
        return turn.reply

    async def _stream(self, io: Io, run_input: Any, new: NewAnswer | None = None) -> AsyncGenerator[Event, None]:
        accepted = None
        if new is not None:
            accepted = await io.call(self._answers.accept, await self._state(io), new)
            run_input = accepted.input
        turn = Turn()
        async with self._lease(io):
            with late_answers():
                runs = [(run_input, turn)]
                if new is None and run_input is not None:
                    recorded = await io.call(self._answers.recorded)
                    if recorded:
                        runs.insert(0, (None, Turn()))  # decisions on record first, as in `_turn`
                for run in runs:
                    async with aclosing(self._events(io, *run)) as events:
                        async for event in events:
                            yield event
                if accepted is not None:
                    await io.call(self._answers.check_carried_out, accepted)
        # Without the lease: a caller may answer a pause inside the loop, which takes the lease.
        for pending in turn.reply.pending:
            yield Paused(pending)

    async def _events(self, io: Io, run_input: Any, turn: Turn) -> AsyncGenerator[Event, None]:
        """Run the agent as `_runs` does, and yield events."""
        if run_input is None or isinstance(run_input, Command):
            state, answered = await self._look(io)
            turn.resume(state)
            if run_input is None:
                turn.state, turn.answered = state, answered
        while turn.goes_on():
            stream = self._agent.stream, self._agent.astream
            async with aclosing(
                io.each(*stream, run_input, self._config, stream_mode=_MODES, durability="sync")
            ) as chunks:
                async for mode, chunk in chunks:
                    for event in turn.events(mode, chunk):
                        yield event
            (turn.state, turn.answered), run_input = await self._look(io), None


def _input(message: UserMessage) -> dict[str, list[HumanMessage]]:
    if not isinstance(message, HumanMessage):
        # With an id from the start, so that it is not added twice if it is sent again.
        message = HumanMessage(content=message, id=str(uuid.uuid4()))
    return {"messages": [message]}
