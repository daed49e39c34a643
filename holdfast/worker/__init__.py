"""Carry out what the database has for an agent: turns that were accepted, answers on record, requests that expired.

A worker is needed for turns of `Conversation.submit`, and for what a process leaves behind that dies: the turn that it
was at work on, accepted or not, and an answer that it had recorded. One in each process is enough; they need no other
coordination than the database.

    async with Worker(agent):              # or: with, for example in a program without an event loop
        ...                                # what the application does; the worker is at work beside it
    Worker(agent).run_once()               # or: all that is left now, for example in a job that runs every minute
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final

from langgraph.types import StateSnapshot

from holdfast.checkpoints import Answered
from holdfast.checkpoints.errors import ThreadBusy
from holdfast.checkpoints.interrupts.forms import tools_of_request
from holdfast.deploy.tools import GraphTools
from holdfast.graph import Conversation, NothingWaits
from holdfast.graph.conversation.agents import MESSAGES, AnyAgent
from holdfast.graph.kept import kept_calls
from holdfast.graph.own_database import own_saver
from holdfast.graph.plans import Io
from holdfast.worker.answers import PERIOD, SOON, AnswerWorker, Pass
from holdfast.worker.dead_turns import DeadTurns, DeadTurnWorker
from holdfast.worker.retention import RetentionWorker
from holdfast.worker.turns import AT_ONCE, PROCESS_DIED, TurnListener, TurnWorker

__all__ = [
    "AT_ONCE",
    "PERIOD",
    "SOON",
    "AnswerWorker",
    "DeadTurnWorker",
    "DeadTurns",
    "Pass",
    "RetentionWorker",
    "TurnListener",
    "TurnWorker",
    "Worker",
]


# The runs of a thread are carried out in their order, so those that are open are among the newest.
_NEWEST: Final = 20


class Worker(AnswerWorker):
    """A worker for the turns of an agent: those that were accepted, those of dead processes, and recorded answers.

    Several may be at work in several processes: the lease of each thread lets one go on. Threads of other agents in the
    same database are left alone: runs that name another agent, and answers for which no step of this agent waits, or
    whose tool it lacks.

    Args:
        agent: the agent, with a checkpointer of `open_checkpointer`. Agents that share a database need different names.
        period: seconds between two looks for answers and expired requests.
        context: the context of each run, for an agent with a `context_schema`.
        turns: the worker for accepted turns, by default `TurnWorker(agent, context=context)`.
        dead_turns: whether turns that were not accepted, such as those of `Conversation.send`, are gone on with if
            their process dies. A turn that was cancelled, or has failed, is not.

    Raises:
        NeedsOwnDatabase: the agent has another checkpointer, which has no record of answers.
        ValueError: the period is not above 0.
    """

    def __init__(
        self,
        agent: AnyAgent,
        *,
        period: float = PERIOD,
        context: Any = None,
        turns: TurnWorker | None = None,
        dead_turns: bool = True,
    ) -> None:
        super().__init__(own_saver(agent.checkpointer, "A worker"), period=period)
        self.turns = turns or TurnWorker(agent, context=context)
        self.dead_turns = DeadTurns(self.turns.profile, self.turns.wake) if dead_turns else None
        self._agent = agent
        self._context = context
        self._tools = GraphTools.of(agent)

    def run(self) -> None:
        with self.turns, self.dead_turns or nullcontext():
            super().run()

    async def arun(self) -> None:
        async with self.turns, self.dead_turns or nullcontext():
            await super().arun()

    async def _first(self, io: Io) -> Sequence[str]:
        if self.dead_turns is not None:
            await self.dead_turns.look(io)
        return await self.turns.carry_out_all(io)

    async def carry_out(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        if why := await self._given_up(io, thread_id, answers):
            return why
        config = {"configurable": {"thread_id": thread_id}}
        state = await io.either(self._agent.get_state, self._agent.aget_state, config)
        if why := why_left(state, {found.interrupt_id for found in answers}, self._tools):
            return why
        owner = await io.call(self._saver.threads.owner, thread_id)
        conversation = Conversation(self._agent, thread_id, owner, wait=0, context=self._context)
        with suppress(NothingWaits):  # another process has carried them out meanwhile
            await io.either(conversation.retry, conversation.aretry)
        return None

    async def _given_up(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        """Return why answers are not carried out again: the processes of their run died too often. `None` if not.

        Raises:
            ThreadBusy: a run that was accepted will carry them out.
        """
        runs = await io.call(self._saver.runs.list, thread_id, limit=_NEWEST)
        if any(run.is_open for run in runs):
            raise ThreadBusy(thread_id, owner="a worker", purpose="a turn that was accepted", since=0.0, waited=0.0)
        latest = max(answer.at for answer in answers)
        died = next((run for run in runs[:1] if run.error_type == PROCESS_DIED), None)
        return str(died.error) if died is not None and died.ended_at is not None and died.ended_at > latest else None


def why_left(state: StateSnapshot, due: Collection[str], tools: GraphTools) -> str | None:
    """Return why an agent cannot take the answers to some requests: another agent has asked. `None` if it can.

    Args:
        state: the state of the thread, as this agent sees it.
        due: the ids of the requests.
        tools: the agent's tools.
    """
    names = [name for pause in state.interrupts if pause.id in due for name in tools_of_request(pause.value)]
    # A call that was kept open is asked about again when the turn that is under way ends.
    messages = state.values.get(MESSAGES, []) if isinstance(state.values, dict) else []
    names += [kept.call["name"] for kept in kept_calls(messages) if kept.interrupt_id in due]
    if not names and not any(pause.id in due for pause in state.interrupts):
        return "no step of this agent waits for the answer"
    return next((f"this agent has no tool {name!r}" for name in names if not tools.has(name)), None)
