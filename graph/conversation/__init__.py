"""A conversation with an agent, as an application has it: send messages, see what waits for a person, decide.

The agent is any compiled graph with messages in its state: of `build_graph`, `create_agent`, deepagents, or your own.

Each turn takes the thread's lease, so that two replicas take turns instead of refusing each other, and saves each step
before the next one begins. Every method has an asynchronous twin: `asend` for `send`. Both are made of one plan, see
`holdfast.graph.plans`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, NamedTuple, Self

from langchain_core.messages import AnyMessage
from langgraph.types import StateSnapshot

from holdfast.checkpoints import Claimed, HoldfastSaver, Lease
from holdfast.checkpoints.core.arguments import checked
from holdfast.checkpoints.errors import UnknownThread, row_explained
from holdfast.graph.approvals.policy import OnMessage
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent, check_checkpointer
from holdfast.graph.conversation.answer import AcceptedAnswer, NewAnswer, NothingWaits, ThreadAnswers, late_answers
from holdfast.graph.conversation.events import Done, Event, Paused, Reply, Turn, unfinished
from holdfast.graph.conversation.manage import Role
from holdfast.graph.conversation.requests import Pending, pending_of
from holdfast.graph.conversation.runs import ThreadRuns, config_of
from holdfast.graph.conversation.said import said
from holdfast.graph.conversation.sending import Sent, UserMessage, sent_message
from holdfast.graph.conversation.submit import Submitting
from holdfast.graph.messages import with_speaker
from holdfast.graph.plans import Io, OnLoop, blocking, stream_twin, streaming, twin
from holdfast.graph.state import summary_of

Verdict = Literal["run_again", "happened", "skip"]
"""A person's verdict on a call that is in doubt."""


class Conversation(Submitting):
    """One thread of an agent.

    Args:
        agent: a compiled graph with a checkpointer and messages in its state, such as `build_graph` and `create_agent`
            return.
        thread_id: the thread. A new one begins with the first message.
        user_id: the user, stored with every checkpoint. Every method refuses a thread that exists and is neither this
            user's nor shared with this user. Without it no method checks whose the thread is: the application vouches
            for it.
        members: the users with whom a new thread is shared; `checkpointer.threads.share` adds others later.
        approver: whether the user may decide in threads that are not theirs. Then `pending` and the methods that answer
            a request work in each thread, record this user, and return no message of the thread.
        wait: seconds to wait for the thread's lease; by default as long as the checkpointer's `lease` waits.
        lease: the thread's lease, if the caller holds it. By default each turn takes it.
        claimed: the accepted run that a worker carries out. If it was deleted meanwhile, a turn raises `UnknownRun`.
        messages_key: the name of the messages in the agent's state, if it is not "messages".
        context: the context of each run, for an agent with a `context_schema`.
        metadata: texts and numbers by name, stored with every checkpoint; `threads.list(metadata=…)` finds them.

    Leases and records of answers need a checkpointer of `open_checkpointer`: with another one, two writers of a thread
    are not kept apart, and an answer is lost with its process. At a breakpoint (`interrupt_before`) `retry` goes on.

    Raises:
        TypeError: the agent is not a compiled graph, or has another checkpointer, and there are members.
        ValueError: it has no checkpointer, or no messages in its state; or there are members or an approver, and no
            `user_id`.

    Raises, from every method:
        UnknownThread: the thread is of other users, or of none. Nothing was read or written.

    Raises, from every method that runs the agent:
        ThreadBusy: another writer held the thread's lease for longer than `wait`. Nothing was saved.
        any error of the model's client: the user's message is in the thread; `retry` goes on.
    """

    @checked
    def __init__(  # noqa: PLR0913 - what a conversation needs to know, all by name
        self,
        agent: AnyAgent,
        thread_id: str,
        user_id: str | None = None,
        *,
        members: Sequence[str] = (),
        approver: bool = False,
        wait: float | None = None,
        messages_key: str | None = None,
        context: Any = None,
        metadata: Mapping[str, Any] | None = None,
        lease: Lease | None = None,
        claimed: Claimed | None = None,
    ) -> None:
        self._profile = AgentProfile(agent, messages_key)
        check_checkpointer(agent)
        self.thread_id = thread_id
        # As text: LangGraph drops values from a config that JSON cannot hold, such as a UUID.
        self.user_id = None if user_id is None else str(user_id)
        self._agent = agent
        self._members = self._checked_members(members)
        self._is_approver = approver
        if approver and user_id is None:
            raise ValueError("approver is True, and user_id is None. Needed: the user_id of the person who decides.")
        self._answers = ThreadAnswers(self._profile, thread_id)
        self._wait, self._held, self._context = wait, lease, context
        self._on_loop = OnLoop(agent.checkpointer)
        self._config = config_of(thread_id, self.user_id, metadata, claimed)
        self._runs = ThreadRuns(self._profile, self._answers, self._config, context)

    def __repr__(self) -> str:
        return f"Conversation({self.thread_id!r}, user_id={self.user_id!r})"

    # --- turns

    @blocking
    async def send(self, io: Io, message: UserMessage, *, pending: OnMessage | None = None) -> Reply:
        """Send a message, and wait until the turn ends or a call waits for a person.

        Decisions on record are carried out first.

        Args:
            message: the message.
            pending: what becomes of the approvals that still wait. "close": the calls are not run, and the model is
                told. "keep": the model answers, told what waits, and they can still be decided. By default it is what
                the tool declares (`needs_approval(on_message=…)`), and "close" if it declares nothing.

        Raises:
            InvalidArgument: `pending` is neither, or the agent cannot keep a request open: it is not one of
                `build_graph`, or has another checkpointer.
        """
        return await self._turn(io, sent_message(self._profile, message, pending))

    @streaming
    def stream(self, io: Io, message: UserMessage, *, pending: OnMessage | None = None) -> AsyncGenerator[Event, None]:
        """Send a message as `send` does, and yield events as they come.

        They are the model's text piece by piece, its calls, the answers to them, then the calls that wait for a
        person, which can be answered inside the loop, and last `Done`, with the reply that `send` would return.
        """
        return self._stream(io, sent_message(self._profile, message, pending))

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
        """Return the requests that wait for a person."""
        await self._check_user(io, decides=True)
        look = await self._runs.look(io)
        return [*pending_of(look.state, look.recorded), *look.kept]

    @blocking
    async def approve(self, io: Io, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Run a call as it is; with a request about several calls, all of them.

        Args:
            interrupt_id: the request; may be left out if only one waits.
            by: who decides; recorded with the answer. By default the user, if the thread is not their own.

        Raises:
            NothingWaits: no request waits under this id, or several wait and none is named, or the conversation went on
                before the answer could be carried out. If it was answered, the error says by whom and when.
            BadAnswer: this decision is not allowed. The request still waits.
        """
        return await self._answer(io, NewAnswer(interrupt_id, {"type": "approve"}, by))

    @blocking
    async def edit(
        self, io: Io, args: dict[str, Any], interrupt_id: str | None = None, *, by: str | None = None
    ) -> Reply:
        """Run a call with other arguments. As `approve`; `BadAnswer` also if `args` do not fit the tool."""
        return await self._answer(io, NewAnswer(interrupt_id, {"type": "edit", "edited_action": {"args": args}}, by))

    @blocking
    async def reject(
        self, io: Io, message: str | None = None, interrupt_id: str | None = None, *, by: str | None = None
    ) -> Reply:
        """Refuse a call, and tell the model so, with the reason in `message`. As `approve`."""
        return await self._answer(io, NewAnswer(interrupt_id, {"type": "reject", "message": message}, by))

    @blocking
    async def respond(self, io: Io, message: str, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Answer a call in place of its tool, which does not run. As `approve`."""
        return await self._answer(io, NewAnswer(interrupt_id, {"type": "respond", "message": message}, by))

    @blocking
    async def answer(self, io: Io, answer: Any, interrupt_id: str | None = None, *, by: str | None = None) -> Reply:
        """Answer any request.

        Args:
            answer: a decision in the form of `holdfast.graph.approvals.decisions`, in which an edit may leave the
                tool's name out; a list with a decision for each call of a request about several; or, for a question
                of a graph, the value that its `interrupt` returns.
            interrupt_id, by: as `approve`.

        Raises:
            NothingWaits, BadAnswer: as `approve`.
        """
        return await self._answer(io, NewAnswer(interrupt_id, answer, by))

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
        return await self._answer(io, NewAnswer(interrupt_id, {"type": verdict, "result": result}, by))

    @streaming
    def stream_answer(
        self, io: Io, answer: Any, interrupt_id: str | None = None, *, by: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer any request as `answer` does, and yield events as they come."""
        return self._stream(io, None, NewAnswer(interrupt_id, answer, by))

    # --- the past

    @blocking
    async def history(self, io: Io) -> list[AnyMessage]:
        """Return what was said, oldest first: also the messages that have left the state of the thread.

        What was undone is left out, and what was said before a restart. `transcript` has all of it, with its times.
        Over another checkpointer than Holdfast's these are the messages in the state.
        """
        messages = self._profile.messages(await self._state(io))
        saver = self._agent.checkpointer
        if not isinstance(saver, HoldfastSaver):
            return messages

        def read() -> list[AnyMessage]:
            try:
                with row_explained(self.thread_id, "its history"):
                    return said(saver.transcript(self.thread_id, user_id=self.user_id), messages)
            except UnknownThread:  # it is new
                return messages

        return await io.call(read)

    @blocking
    async def context(self, io: Io) -> list[AnyMessage]:
        """Return what the model is shown next: the summary of older messages, and the messages in the state.

        An agent of `build_graph` shows its model as many of them as fit into its budget, below its prompt.
        """
        state = await self._state(io)
        summary = summary_of(state.values) if isinstance(state.values, dict) else None
        messages = self._profile.messages(state)
        return messages if summary is None else [summary, *messages]

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
    aanswer = twin(answer)
    asettle = twin(settle)
    astream_answer = stream_twin(stream_answer)
    ahistory = twin(history)
    acontext = twin(context)

    # --- inside

    def _with_thread(self, thread_id: str) -> Self:
        return type(self)(
            self._agent,
            thread_id,
            self.user_id,
            members=self._members,
            approver=self._is_approver,
            wait=self._wait,
            messages_key=self._profile.messages_key,
            context=self._context,
        )

    async def _state(self, io: Io) -> StateSnapshot:
        await self._check_user(io)
        return await self._profile.state(io, self._config)

    async def _check_unfinished(self, io: Io) -> None:
        await self._check_user(io)
        look = await self._runs.look(io)
        if not unfinished(look.state, look.recorded):
            why = "a request waits for a person" if look.state.interrupts else "the last turn has ended"
            raise NothingWaits(f"There is nothing to retry in thread {self.thread_id!r}: {why}.")

    async def _turn(self, io: Io, sent: Sent | None) -> Reply:
        async with self._lease(io) as role:
            if sent is None:
                return await self._runs.run(io, None)
            if await io.call(self._answers.recorded):
                # Decisions on record are carried out, not dropped for the new message.
                await self._runs.run(io, None)
            return await self._runs.run(io, await self._input(io, sent, role))

    async def _input(self, io: Io, sent: Sent, role: Role) -> dict[str, list[Any]]:
        message = sent.message
        if role.is_shared and self.user_id is not None:
            message = with_speaker(message, self.user_id)
        unread = await self._runs.unread(io) if role.is_unfinished else []
        return await self._runs.input(io, [*unread, message], sent.pending)

    async def _accept(self, io: Io, new: NewAnswer) -> _Accepted:
        """Check an answer and record it."""
        role = await self._check_user(io, decides=True)
        state = await self._profile.state(io, self._config)
        if new.by is None and not role.is_own:
            new = new._replace(by=self.user_id)
        return _Accepted(await io.call(self._answers.accept, state, new), state, role.may_read)

    async def _answer(self, io: Io, new: NewAnswer) -> Reply:
        accepted, state, may_read = await self._accept(io, new)
        async with self._lease(io, decides=True):
            with late_answers():
                run_input, is_due = await io.call(self._answers.due, accepted)
                reply = await self._runs.run(io, run_input, due_in=state if is_due else None)
                await io.call(self._answers.check_carried_out, accepted)
                return reply if may_read else reply.without_messages()

    async def _stream(self, io: Io, sent: Sent | None, new: NewAnswer | None = None) -> AsyncGenerator[Event, None]:
        accepted = None if new is None else await self._accept(io, new)
        may_read = accepted is None or accepted.may_read
        turn = Turn(self._profile)
        async with self._lease(io, decides=accepted is not None) as role:
            with late_answers():
                async with aclosing(self._events_of_turn(io, turn, sent, accepted, role)) as events:
                    async for event in events:
                        if may_read:
                            yield event
                if accepted is not None:
                    await io.call(self._answers.check_carried_out, accepted.answer)
        # Without the lease: a caller may answer a pause inside the loop, which takes the lease.
        reply = turn.reply if may_read else turn.reply.without_messages()
        for pending in reply.pending:
            yield Paused(pending)
        yield Done(reply)

    async def _events_of_turn(
        self, io: Io, turn: Turn, sent: Sent | None, accepted: _Accepted | None, role: Role
    ) -> AsyncGenerator[Event, None]:
        """Run the agent with a message, with an answer, or to go on, and yield events."""
        run_input: Any = None
        if accepted is not None:
            run_input, _ = await io.call(self._answers.due, accepted.answer)
        elif sent is not None:
            if await io.call(self._answers.recorded):
                # Decisions on record first, as in `_turn`.
                async with aclosing(self._runs.events(io, None, Turn(self._profile))) as events:
                    async for event in events:
                        yield event
            run_input = await self._input(io, sent, role)
        async with aclosing(self._runs.events(io, run_input, turn)) as events:
            async for event in events:
                yield event


class _Accepted(NamedTuple):
    """An answer that was accepted."""

    answer: AcceptedAnswer
    state: StateSnapshot
    """The state of the thread that asked."""
    may_read: bool
    """Whether its author may read what comes of it."""
