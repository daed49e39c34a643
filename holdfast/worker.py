"""Carry out answers that are on record, and close requests that have expired, in an application or a server.

An answer is usually carried out by the process that recorded it. A worker does it for a process that died in between,
and for answers that were recorded elsewhere, such as by `interrupts.answer` in an inbox.

    with Worker(agent):                    # or: async with, for example in the lifespan of a web application
        ...                                # what the application does; the worker looks every minute
    Worker(agent).run_once()               # or: one pass, for example in a job that runs every minute
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from langgraph.types import StateSnapshot

from holdfast.checkpoints import Answered, HoldfastSaver
from holdfast.checkpoints.errors import ThreadBusy
from holdfast.checkpoints.interrupts.forms import tools_of_request
from holdfast.deploy.tools import GraphTools
from holdfast.graph import Conversation, NothingWaits
from holdfast.graph.conversation.agents import MESSAGES, AnyAgent
from holdfast.graph.kept import kept_calls
from holdfast.graph.own_database import own_saver
from holdfast.graph.plans import Io, blocking, twin
from holdfast.periodic import Periodic

__all__ = ["AnswerWorker", "Pass", "Worker"]

# Seconds between two passes. The shorter time is for a thread whose lease is held, perhaps by a process that has died.
PERIOD: Final = 60.0
SOON: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pass:
    """The outcome of one pass, by thread."""

    carried_out: list[str] = field(default_factory=list)
    """The threads that went on."""
    busy: list[str] = field(default_factory=list)
    """The threads whose lease another writer holds. The next pass looks at them again."""
    left: dict[str, str] = field(default_factory=dict)
    """The threads that another agent has to go on with, with the reason. This worker does not look at them again."""
    failed: dict[str, str] = field(default_factory=dict)
    """The threads that failed, with the error. This worker does not try them again; any run of the thread does."""


class AnswerWorker(Periodic):
    """A worker that looks for recorded answers; a subclass says how they are carried out.

    Args:
        saver: the checkpointer.
        period: seconds between two passes.
    """

    def __init__(self, saver: HoldfastSaver, *, period: float = PERIOD) -> None:
        super().__init__(saver, period=period)
        # An answer that cannot be carried out is tried once, not in every pass.
        self._tried: set[tuple[str, str, datetime]] = set()

    @abstractmethod
    async def carry_out(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        """Carry out the answers of a thread. Return why they are left to others, if they are.

        Raises:
            ThreadBusy: another writer holds the thread's lease.
        """

    @blocking
    async def run_once(self, io: Io) -> Pass:
        """Record that requests have expired, and carry out all answers that are left.

        A thread that fails does not stop the others.

        Raises:
            DatabaseUnavailable: the database is out of reach.
        """
        return await self._look(io)

    arun_once = twin(run_once)

    async def _look(self, io: Io) -> Pass:
        outcome = Pass()
        await io.call(self._saver.interrupts.expire)
        todo = await io.call(self._saver.interrupts.todo)
        new = sorted((found for found in todo if _key(found) not in self._tried), key=lambda found: found.thread_id)
        for thread_id, group in groupby(new, lambda found: found.thread_id):
            if self._stopped.is_set():
                break
            await self._try(io, thread_id, list(group), outcome)
        return outcome

    async def _pass(self, io: Io) -> float:
        """Make a pass, and return the seconds until the next one."""
        try:
            outcome = await self._look(io)
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("Recorded answers could not be looked up: %s", error)
            return min(SOON, self._period)
        return min(SOON, self._period) if outcome.busy else self._period

    async def _try(self, io: Io, thread_id: str, answers: Sequence[Answered], outcome: Pass) -> None:
        try:
            why_left = await self.carry_out(io, thread_id, answers)
        except ThreadBusy:
            outcome.busy.append(thread_id)
            return
        except Exception as error:  # noqa: BLE001 - one thread that fails must not stop the others
            _log.warning("Thread %s: a recorded answer could not be carried out: %s", thread_id, error)
            outcome.failed[thread_id] = str(error)
        else:
            if why_left is None:
                outcome.carried_out.append(thread_id)
            else:
                outcome.left[thread_id] = why_left
        self._tried.update(map(_key, answers))


class Worker(AnswerWorker):
    """A worker that goes on with an agent's threads, as `Conversation.retry` does.

    Several may be at work in several processes: the lease of each thread lets one go on. Threads of other agents in the
    same database are left alone: those in which no step of this agent waits for the answer, or whose tool it lacks.

    Args:
        agent: the agent, with a checkpointer of `open_checkpointer`.
        period: seconds between two passes.
        context: the context of each run, for an agent with a `context_schema`.

    Raises:
        NeedsOwnDatabase: the agent has another checkpointer, which has no record of answers.
        ValueError: the period is not above 0.
    """

    def __init__(self, agent: AnyAgent, *, period: float = PERIOD, context: Any = None) -> None:
        super().__init__(own_saver(agent.checkpointer, "A worker"), period=period)
        self._agent = agent
        self._context = context
        self._tools = GraphTools.of(agent)

    async def carry_out(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        config = {"configurable": {"thread_id": thread_id}}
        state = await io.either(self._agent.get_state, self._agent.aget_state, config)
        if why := why_left(state, {found.interrupt_id for found in answers}, self._tools):
            return why
        owner = await io.call(self._saver.threads.owner, thread_id)
        conversation = Conversation(self._agent, thread_id, owner, wait=0, context=self._context)
        with suppress(NothingWaits):  # another process has carried them out meanwhile
            await io.either(conversation.retry, conversation.aretry)
        return None


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


def _key(found: Answered) -> tuple[str, str, datetime]:
    return found.thread_id, found.interrupt_id, found.at
