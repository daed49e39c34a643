"""Answers that are on record: they are carried out, and requests that have expired are closed."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final

from holdfast.checkpoints import Answered, HoldfastSaver
from holdfast.checkpoints.errors import ThreadBusy
from holdfast.checkpoints.errors.logged import for_log
from holdfast.graph.plans import Io, blocking, twin
from holdfast.worker.periodic import Periodic

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
    """The threads with another writer, or with a turn that was accepted. The next pass looks at them again."""
    left: dict[str, str] = field(default_factory=dict)
    """The threads that another agent has to go on with, or a person, with the reason. This worker does not look at them
    again."""
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
        """Carry out all turns that were accepted and all answers that are left, and close requests that have expired.

        A thread that fails does not stop the others.

        Raises:
            DatabaseUnavailable: the database is out of reach.
        """
        first = await self._first(io)
        outcome = await self._look(io)
        outcome.carried_out[:0] = first
        return outcome

    arun_once = twin(run_once)

    async def _first(self, io: Io) -> Sequence[str]:
        """Do what comes before the answers in a single pass, and return the threads that it has carried out."""
        return ()

    async def _look(self, io: Io) -> Pass:
        outcome = Pass()
        await io.call(self._saver.interrupts.expire)
        await io.call(self._saver.interrupts.look_ahead, PERIOD)
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
            _log.warning("Recorded answers could not be looked up: %s", for_log(error))
            return min(SOON, self._period)
        return min(SOON, self._period) if outcome.busy else self._period

    async def _try(self, io: Io, thread_id: str, answers: Sequence[Answered], outcome: Pass) -> None:
        try:
            why_left = await self.carry_out(io, thread_id, answers)
        except ThreadBusy:
            outcome.busy.append(thread_id)
            return
        except Exception as error:  # noqa: BLE001 - one thread that fails must not stop the others
            _log.warning("Thread %s: a recorded answer could not be carried out: %s", thread_id, for_log(error))
            _log.debug("Thread %s: a recorded answer could not be carried out.", thread_id, exc_info=error)
            outcome.failed[thread_id] = str(error)
        else:
            if why_left is None:
                outcome.carried_out.append(thread_id)
            else:
                outcome.left[thread_id] = why_left
        self._tried.update(map(_key, answers))


def _key(found: Answered) -> tuple[str, str, datetime]:
    return found.thread_id, found.interrupt_id, found.at
