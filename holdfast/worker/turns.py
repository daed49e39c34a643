"""Turns that were accepted, as runs: a worker claims them, carries them out, and records how they ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Final, Literal, NamedTuple, Self

from langchain_core.exceptions import ModelError
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import Claimed, EndedRun, Lease, Run
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    HoldfastError,
    NotOpen,
    ThreadBusy,
    ThreadConflict,
    UnknownRun,
)
from holdfast.checkpoints.errors.logged import for_log
from holdfast.graph import BadAnswer, Conversation, NothingWaits
from holdfast.graph import Event as TurnEvent
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.graph.plans import BLOCKING, Io
from holdfast.graph.plans import run as run_plan
from holdfast.worker.periodic import Periodic

# Seconds between two looks for turns that other processes have accepted, or have left behind.
PERIOD: Final = 1.0

# Seconds until the database is tried again that was out of reach.
AFTER_OUTAGE: Final = 5.0

AT_ONCE: Final = 100
ATTEMPTS: Final = 5
GRACE: Final = 30.0

RUN: Final[ContextVar[Run | None]] = ContextVar("holdfast_run", default=None)
"""The run that the present code is part of, also in the nodes of its graph. For logs."""

PROCESS_DIED: Final = "ProcessDied"
"""The name of the error of a turn whose processes have died so often that it is not begun again."""

_log = logging.getLogger(__name__)


class TurnListener:
    """What is told of turns while they go on, in the thread or on the event loop that they run in."""

    def began(self, run: Run) -> None:
        """Take note that this worker is at work on a run."""

    def event(self, run: Run, event: TurnEvent) -> None:
        """Take an event of a turn."""

    def failed(self, run: Run, error: Exception) -> None:
        """Take the error of a turn, before it has ended."""

    def ended(self, run: Run, outcome: str | None, seconds: float) -> None:
        """Take note that this worker is done with a run.

        Args:
            run: the run, as it is on record by now.
            outcome: "done", "cancelled", or the name of the error; `None` if the run was given back.
            seconds: how long this worker was at work on it.
        """


class _Ending(NamedTuple):
    """How a run ended."""

    state: Literal["done", "failed", "cancelled"]
    error_type: str | None = None
    error: str | None = None

    @property
    def outcome(self) -> str:
        """The state, or the name of the error."""
        return self.error_type or self.state


@dataclass
class _Turn:
    """A run that this worker carries out."""

    claimed: Claimed
    stopped: Event = field(default_factory=Event)
    """Set when the run is to stop: it was cancelled, or is another worker's by now."""
    thread: Thread | None = None
    task: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Stop the turn: between two events, or on an event loop wherever it waits. For any thread."""
        was_stopped = self.stopped.is_set()
        self.stopped.set()
        if self.task is not None and not was_stopped:
            with suppress(RuntimeError):  # the loop is closed
                self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class TurnWorker(Periodic):
    """A worker that carries out the accepted turns of an agent.

    With an event loop each turn is a task, and without one a thread. When it stops, it begins no more turns, and waits
    for those that are under way.

    Args:
        agent: the agent, with a checkpointer of `open_checkpointer`.
        period: seconds between two looks. What this process accepts is begun at once, by `wake`.
        at_once: the maximum number of turns at the same time.
        attempts: how often a turn is begun whose process has died. After that it has failed.
        grace: seconds to wait for turns when it stops. One that has not ended then is given to another worker, or ends
            with its process if it has a thread.
        context: the context of each run, for an agent with a `context_schema`.
        messages_key: as for `Conversation`.
        listener: is told of the turns while they go on.

    Raises:
        NeedsOwnDatabase: the agent has another checkpointer.
        ValueError: the period is not above 0.
    """

    def __init__(
        self,
        agent: AnyAgent,
        *,
        period: float = PERIOD,
        at_once: int = AT_ONCE,
        attempts: int = ATTEMPTS,
        grace: float = GRACE,
        context: Any = None,
        messages_key: str | None = None,
        listener: TurnListener | None = None,
    ) -> None:
        super().__init__(own_saver(agent.checkpointer, "A worker"), period=period)
        self._agent = agent
        self._options: dict[str, Any] = {"context": context, "messages_key": messages_key}
        self._at_once, self._attempts, self._grace = at_once, attempts, grace
        self._listener = listener or TurnListener()
        self._turns: dict[str, _Turn] = {}
        self.profile = AgentProfile(agent, messages_key)
        self._claims = self._saver.runs.claims(self.stop_turn, room=self._room, has_more=self._has_more)
        self._is_at_work = self._is_woken = self._is_full = False
        self._looks_at = 0.0

    # --- looking

    async def _pass(self, io: Io) -> float:
        self._begin_taken(io)
        if self._is_woken or time.monotonic() >= self._looks_at:
            self._is_woken = False  # before the look: what wakes the worker meanwhile is not seen by it
            rest = await self._look(io)
            self._looks_at = time.monotonic() + rest
        return max(self._looks_at - time.monotonic(), 0.0)

    async def _look(self, io: Io) -> float:
        """Begin what other processes have accepted or left behind. Return the seconds until the next look."""
        free = max(self._at_once - len(self._turns), 0)
        try:
            claimed = await io.call(self._claims.claim, self.profile.name, free)
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("Accepted turns could not be looked up: %s", for_log(error))
            return AFTER_OUTAGE
        for one in claimed:
            self._begin(io, self._added(one))
        self._is_full = len(claimed) == free
        return self._period

    def wake(self) -> None:
        """Look at once for accepted turns. It may be called from any thread."""
        self._is_woken = True
        super().wake()

    def begin_accepted(self) -> None:
        """Begin what was claimed when it was accepted, on the event loop of this worker."""
        self._begin_taken(self._on_loop)

    def _room(self) -> int:
        return self._at_once - len(self._turns) if self._is_at_work and not self.is_stopping else 0

    def _has_more(self) -> None:
        super().wake()

    def _begin_taken(self, io: Io) -> None:
        for claimed in self._claims.taken():
            self._begin(io, self._added(claimed))

    async def carry_out_all(self, io: Io) -> list[str]:
        """Carry out one accepted turn after the other, until none is left. Return their threads."""
        threads: list[str] = []
        while claimed := await io.call(self._claims.claim, self.profile.name, 1):
            turn = self._added(claimed[0])
            if not await self._carry_out(io, turn):
                break
            threads.append(turn.claimed.run.thread_id)
        return threads

    def stop_turn(self, run_id: str) -> None:
        """Stop a turn of this worker, after `runs.cancel` or when another worker has it. It may be called anywhere."""
        if turn := self._turns.get(run_id):
            turn.stop()

    def stop_turns_of(self, thread_id: str) -> None:
        """Stop the turns of this worker in a thread that was deleted. It may be called anywhere."""
        for turn in [*self._turns.values()]:
            if turn.claimed.run.thread_id == thread_id:
                turn.stop()

    # --- beginning and ending

    def _added(self, claimed: Claimed) -> _Turn:
        turn = self._turns[claimed.run.run_id] = _Turn(claimed)
        self._listener.began(claimed.run)
        return turn

    def _begin(self, io: Io, turn: _Turn) -> None:
        if io is BLOCKING:
            work = self._carry_out(io, turn)
            turn.thread = Thread(target=run_plan, args=(work,), name="holdfast-turn", daemon=True)
            turn.thread.start()
        else:
            turn.task = asyncio.create_task(self._carry_out(io, turn))

    async def _carry_out(self, io: Io, turn: _Turn) -> bool:
        """Carry out a run, and record how it ended. Return whether it has ended."""
        claimed, began, context = turn.claimed, time.monotonic(), RUN.set(turn.claimed.run)
        ending: _Ending | None = None
        ended: EndedRun | None = None
        try:
            ending = await self._ending(io, turn)
            if ending is None:
                await io.call(self._claims.release, claimed)
            else:
                ended = await io.call(self._claims.finish, claimed, *ending)
        except asyncio.CancelledError:  # this worker stops
            await io.call(self._claims.release, claimed)
            raise
        except Exception as error:  # noqa: BLE001 - the claim expires, and a worker goes on with the run
            _log.warning("Run %s: how it ended could not be recorded: %s", claimed.run.run_id, for_log(error))
            return False
        else:
            return ending is not None
        finally:
            self._claims.forget(claimed.run.run_id)
            del self._turns[claimed.run.run_id]
            run = claimed.run if ended is None else ended.run
            self._listener.ended(run, ending and ending.outcome, time.monotonic() - began)
            if ended is None or ended.has_next or self._is_full:
                self.wake()
            RUN.reset(context)

    async def _ending(self, io: Io, turn: _Turn) -> _Ending | None:
        """Carry out a run, and return how it ended; `None` if it is given back."""
        run = turn.claimed.run
        if run.is_cancelled:
            return _Ending("cancelled")
        if run.attempts > self._attempts:
            return _Ending("failed", PROCESS_DIED, died(run.attempts - 1))
        try:
            async with aclosing(self._events(io, turn.claimed)) as events:
                async for event in events:
                    self._listener.event(run, event)
                    if turn.stopped.is_set():
                        return _Ending("cancelled")
        except asyncio.CancelledError:
            if not turn.stopped.is_set() or turn.task is None:
                raise
            turn.task.uncancel()
            return _Ending("cancelled")
        except (ThreadBusy, DatabaseUnavailable, NotOpen) as error:
            _log.warning("Run %s is given back: %s", run.run_id, for_log(error))
            return None
        except UnknownRun:  # it was deleted before it could begin; its thread must not begin anew
            return _Ending("cancelled")
        except Exception as error:  # noqa: BLE001 - one turn that fails must not stop the others
            if isinstance(error, ThreadConflict) and await io.call(self._is_deleted, run):
                return _Ending("cancelled")
            _log.warning("Run %s failed: %s", run.run_id, for_log(error))
            _log.debug("Run %s failed.", run.run_id, exc_info=error)  # with its message, which may hold a text
            self._listener.failed(run, error)
            return _Ending("failed", type(error).__name__, _told(error))
        return _Ending("done")

    def _is_deleted(self, run: Run) -> bool:
        try:
            self._saver.runs.get(run.run_id)
        except UnknownRun:
            return True
        return False

    async def _events(self, io: Io, claimed: Claimed) -> AsyncGenerator[TurnEvent, None]:
        """Begin the turn of a run, or go on with it, and yield its events."""
        run, runs = claimed.run, self._saver.runs
        is_new = claimed.lease is not None
        async with self._lease(io, claimed) as lease:
            # The run may have waited for the lease, and may have been deleted meanwhile.
            sends = run.kind == "message" and (is_new or not await io.call(runs.was_sent, run))
            # An approver who answers may not read the thread; the turn is its user's.
            user_id = run.user_id if run.kind == "message" else await io.call(self._saver.threads.owner, run.thread_id)
            given = {"metadata": claimed.input.get("metadata"), "lease": lease, "claimed": claimed, **self._options}
            conversation = Conversation(self._agent, run.thread_id, user_id, **given)
            if sends:
                message = HumanMessage(**claimed.input["message"], id=run.run_id)
                pending = claimed.input["pending"]
                streams = io.each(conversation.stream, conversation.astream, message, pending=pending)
            else:
                streams = io.each(conversation.stream_retry, conversation.astream_retry)
            with suppress(*() if sends else (NothingWaits,)):  # it has ended already
                async with aclosing(streams) as events:
                    async for event in events:
                        yield event
        interrupt_id = claimed.input.get("interrupt_id")
        if interrupt_id and await io.call(self._saver.interrupts.is_dropped, run.thread_id, interrupt_id):
            raise NothingWaits(
                "The conversation went on in the moment of this answer, before it could be carried out. The call was "
                "closed and did not run."
            )

    def _lease(self, io: Io, claimed: Claimed) -> AbstractAsyncContextManager[Lease]:
        """Hold the lease for a run: the one that was taken with its claim, or else a new one."""
        if claimed.lease is not None:
            return nullcontext(claimed.lease)
        thread_id, purpose = claimed.run.thread_id, self.profile.lease_purpose
        return io.holding(self._saver.lease, self._saver.alease, thread_id, purpose=purpose)

    # --- stopping

    def run(self) -> None:
        try:
            self._open()
            super().run()
        finally:
            for turn in list(self._turns.values()):
                if turn.thread is not None:
                    turn.thread.join(self._grace)
            self._claims.close()

    async def arun(self) -> None:
        try:
            self._open()
            await super().arun()
        finally:
            tasks = [turn.task for turn in self._turns.values() if turn.task is not None]
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=self._grace)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            await self._on_loop.call(self._claims.close)

    def __enter__(self) -> Self:
        self._open()
        return super().__enter__()

    async def __aenter__(self) -> Self:
        self._open()
        return await super().__aenter__()

    def _open(self) -> None:
        """Let this worker claim what its process accepts."""
        self._is_at_work = True
        self._claims.open(self.profile.name)


def died(times: int) -> str:
    """Return the words about a turn whose process has died again and again."""
    return (
        f"The process that carried this turn out died {times} times, so it is not begun again. What it had saved is in "
        "the thread. To go on, accept a retry, or send another message."
    )


def _is_told(error: Exception) -> bool:
    return isinstance(error, HoldfastError | ModelError | BadAnswer | NothingWaits)


def _told(error: Exception) -> str:
    """Return the words for clients. Another error may hold what is not for them."""
    return str(error) if _is_told(error) else "The turn failed. The log of the worker has the error."
