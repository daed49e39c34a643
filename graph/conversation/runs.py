"""The runs of a thread: begin one with a message or an answer, and take it to the end of the turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StreamMode

from holdfast.checkpoints import Claimed, HoldfastSaver
from holdfast.checkpoints.core.arguments import check_metadata
from holdfast.checkpoints.errors import row_explained
from holdfast.checkpoints.langgraph_internals import RUN_MARK, START, STRICT_RESUME
from holdfast.checkpoints.runtime import unwrap_saver
from holdfast.graph.approvals.policy import OnMessage
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.answer import ThreadAnswers
from holdfast.graph.conversation.closing import needs_closing, open_effects, with_closed_calls
from holdfast.graph.conversation.events import Event, Look, Reply, Turn
from holdfast.graph.plans import Io

_MODES: Final[list[StreamMode]] = ["messages", "updates"]  # those that `Turn.events` reads


def config_of(
    thread_id: str, user_id: str | None, metadata: Mapping[str, Any] | None, claimed: Claimed | None
) -> RunnableConfig:
    """Return the config of each run of a thread.

    Raises:
        TypeError, ValueError: see `check_metadata`.
    """
    check_metadata(metadata or {})
    # Strict: a late answer to a pause that is gone is an error; by default LangGraph ignores it silently.
    configurable: dict[str, Any] = {"thread_id": thread_id, STRICT_RESUME: True}
    if user_id is not None:
        configurable["user_id"] = user_id
    if claimed is not None:
        configurable[RUN_MARK] = claimed.mark
    return {"configurable": configurable, "metadata": dict(metadata or {})}


class ThreadRuns:
    """The runs of one thread. The caller holds the lease.

    Args:
        profile: the agent.
        answers: the answers of the thread.
        config: the config of each run.
        context: the context of each run.
    """

    def __init__(self, profile: AgentProfile, answers: ThreadAnswers, config: RunnableConfig, context: Any) -> None:
        self._profile = profile
        self._agent = profile.agent
        self._answers = answers
        self._config = config
        # Each step is saved before the next one begins.
        self._options: dict[str, Any] = {"context": context, "durability": "sync"}

    async def look(self, io: Io) -> Look:
        """Return the present state of the thread."""
        state = await self._profile.state(io, self._config)
        recorded = await io.call(self._answers.recorded) if state.interrupts else {}
        with row_explained(self._config["configurable"]["thread_id"], "its state"):
            kept = await io.call(self._answers.kept, state) if self._answers.may_have_kept(state) else []
            return Look(state, recorded, self._answers.resume(state, recorded), kept)

    async def unread(self, io: Io) -> list[HumanMessage]:
        """Return what the user has said in a turn that was stopped, or died, before its first step.

        It is in the thread and not in its state: LangGraph drops an input that no step has read when it is given
        another one.
        """
        saver: Any = self._agent.checkpointer
        found = await io.either(saver.get_tuple, saver.aget_tuple, self._config)
        given = None if found is None else found.checkpoint["channel_values"].get(START)
        messages = given.get(self._profile.messages_key) if isinstance(given, Mapping) else None
        return [message for message in messages or () if isinstance(message, HumanMessage)]

    async def input(self, io: Io, new: Sequence[Any], pending: OnMessage | None = None) -> dict[str, list[Any]]:
        """Return the input of the run that new messages begin, with the answers that close calls if it needs them.

        Args:
            new: the messages.
            pending: what becomes of the approvals that wait; by default what their tools declare.
        """
        messages = list(new)
        if self._profile.closes_calls and (pending is not None or self._profile.may_keep):
            await io.call(self._answers.hold, pending)
        if not self._profile.closes_calls:
            state = await self._profile.state(io, self._config)
            # What the ledger knows is closed by the middleware that put it there, which asks a person if it must.
            if needs_closing(self._profile, state) and not await io.call(self._is_on_record, state):
                messages = with_closed_calls(self._profile, state, messages)
        return {self._profile.messages_key: messages}

    async def run(self, io: Io, run_input: Any, *, due_in: StateSnapshot | None = None) -> Reply:
        """Run the agent until the turn ends.

        Args:
            run_input: the input of the first run. Without one the turn may have ended: another writer may have run it
                while this one waited for the lease.
            due_in: the state that waits for an answer which is known to be left to carry out. Then the turn has not
                ended.
        """
        turn, state = Turn(self._profile), due_in
        if run_input is None and due_in is None:
            look = await self.look(io)
            run_input, state = turn.take(look), look.state
        config = self._config if state is None else self._going_on(state)
        while turn.goes_on():
            await io.either(self._agent.invoke, self._agent.ainvoke, run_input, config, **self._options)
            run_input = turn.take(await self.look(io))
        return turn.reply

    async def events(self, io: Io, run_input: Any, turn: Turn) -> AsyncGenerator[Event, None]:
        """Run the agent as `run` does, and yield events."""
        config = self._config
        if run_input is None or isinstance(run_input, Command):
            look = await self.look(io)
            config = self._going_on(look.state)
            turn.resume(look.state)
            if run_input is None:
                run_input = turn.take(look)
        while turn.goes_on():
            stream = self._agent.stream, self._agent.astream
            async with aclosing(io.each(*stream, run_input, config, stream_mode=_MODES, **self._options)) as chunks:
                async for mode, chunk in chunks:
                    for event in turn.events(mode, chunk):
                        yield event
            run_input = turn.take(await self.look(io))

    def _going_on(self, state: StateSnapshot) -> RunnableConfig:
        """Return the config of a run that goes on with the turn of a state, on behalf of the user whose turn it is."""
        user_id = (state.metadata or {}).get("user_id", self._config["configurable"].get("user_id"))
        if user_id is None:
            return self._config
        return {**self._config, "configurable": {**self._config["configurable"], "user_id": user_id}}

    def _is_on_record(self, state: StateSnapshot) -> bool:
        """Return whether the ledger knows a call of the thread that has no answer. It blocks."""
        saver, thread_id = unwrap_saver(self._agent.checkpointer), self._config["configurable"]["thread_id"]
        if not isinstance(saver, HoldfastSaver):
            return False
        return any(saver.effects.entry(thread_id, key) is not None for key in open_effects(self._profile, state))
