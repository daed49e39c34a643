"""Turns of processes that died: what is left of one is accepted as a run, which a worker of any process carries out."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from langgraph.types import StateSnapshot

from holdfast.checkpoints import DeadTurn, HoldfastSaver, NewRun
from holdfast.checkpoints.errors.logged import for_log
from holdfast.deploy.tools import GraphTools
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.events import unfinished
from holdfast.graph.messages import unclosed_calls
from holdfast.graph.own_database import own_saver
from holdfast.graph.plans import Io
from holdfast.worker.periodic import Periodic

# Seconds between two looks. A lease ends 15 seconds after its process, and a living one renews it as often as this.
PERIOD: Final = 5.0

_log = logging.getLogger(__name__)


class DeadTurnWorker(Periodic):
    """A worker that looks for turns whose process has died; a subclass says how one is gone on with.

    Args:
        saver: the checkpointer.
        purpose: the purpose of the leases that these turns hold.
        period: seconds between two looks.
    """

    def __init__(self, saver: HoldfastSaver, purpose: str, *, period: float = PERIOD) -> None:
        super().__init__(saver, period=period)
        self._purpose = purpose
        self._seen: Collection[DeadTurn] = ()
        # Those that this worker leaves alone. Each is looked at once.
        self._left: set[DeadTurn] = set()

    @abstractmethod
    async def go_on(self, io: Io, dead: DeadTurn) -> str | None:
        """Let a turn be gone on with. Return why it is left alone, if it is."""

    async def look(self, io: Io) -> None:
        """Let all turns be gone on with that dead processes have left. One that fails does not stop the others.

        Raises:
            DatabaseUnavailable: the database is out of reach.
        """
        await self._go_on_with(io, await self._found(io))

    async def _found(self, io: Io) -> Sequence[DeadTurn]:
        found = await io.call(self._saver.runs.dead_turns, self._purpose)
        self._left.intersection_update(found)
        return [dead for dead in found if dead not in self._left]

    async def _go_on_with(self, io: Io, found: Sequence[DeadTurn]) -> None:
        for dead in found:
            await self._try(io, dead)

    async def _pass(self, io: Io) -> float:
        # While the database was away, or this machine asleep, the leases of living processes have ended too. By the
        # next look these have renewed them.
        seen, self._seen = self._seen, ()
        try:
            found = await self._found(io)
            await self._go_on_with(io, [dead for dead in found if dead in seen])
            self._seen = found
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("Turns of dead processes could not be looked up: %s", for_log(error))
        return self._period

    async def _try(self, io: Io, dead: DeadTurn) -> None:
        try:
            why_left = await self.go_on(io, dead)
        except Exception as error:  # noqa: BLE001 - the next look tries it again
            _log.warning("Thread %s: its dead turn could not be looked at: %s", dead.thread_id, for_log(error))
            return
        if why_left is None:
            _log.info("Thread %s: its turn goes on, whose process has died (%s)", dead.thread_id, dead.owner)
        else:
            _log.info("Thread %s: its turn is left, whose process has died: %s", dead.thread_id, why_left)
            self._left.add(dead)


class DeadTurns(DeadTurnWorker):
    """A worker that accepts a retry for each turn of an agent whose process has died, for `TurnWorker` to carry out.

    So it is begun by one process, at most as often as any accepted turn, and its run tells what became of it.

    Args:
        profile: the agent, with a checkpointer of `open_checkpointer`.
        accepted: called when a retry was accepted.
        period: seconds between two looks.
    """

    def __init__(self, profile: AgentProfile, accepted: Callable[[], object], *, period: float = PERIOD) -> None:
        saver = own_saver(profile.agent.checkpointer, "A worker")
        super().__init__(saver, profile.lease_purpose, period=period)
        self._profile = profile
        self._accepted = accepted
        self._tools = GraphTools.of(profile.agent)

    async def go_on(self, io: Io, dead: DeadTurn) -> str | None:
        state = await self._profile.state(io, {"configurable": {"thread_id": dead.thread_id}})
        answers = await io.call(self._saver.interrupts.todo, thread_id=dead.thread_id)
        if why := self._why_left(state, {answer.interrupt_id for answer in answers}):
            return why
        metadata: Mapping[str, Any] = state.metadata or {}
        retry = NewRun(dead.thread_id, self._profile.name, "retry", {}, metadata.get("user_id"))
        if await io.call(self._saver.runs.take_up, dead, retry):
            self._accepted()
        return None

    def _why_left(self, state: StateSnapshot, answered: set[str]) -> str | None:
        if not unfinished(state, answered):
            return "it waits for a person, or no step of this agent is left"
        if any(task.error for task in state.tasks):
            return "it had failed"
        if self._profile.has_breakpoints:
            return "it may have stopped at a breakpoint"
        calls = [call for group in unclosed_calls(self._profile.messages(state)) for call in group.message.tool_calls]
        missing = next((call["name"] for call in calls if not self._tools.has(call["name"])), None)
        return None if missing is None else f"this agent has no tool {missing!r}"
