"""The server's background worker: its runs go through the server's own queue, so clients see them like any others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Final, Literal
from uuid import UUID

from holdfast.checkpoints import Answered, Claimed, HoldfastSaver, RetentionPolicy, Run
from holdfast.checkpoints.errors import DatabaseUnavailable, HoldfastError, ThreadBusy
from holdfast.checkpoints.errors.logged import for_log
from holdfast.graph.plans import Io
from holdfast.server.langgraph import elsewhere, hooks, registry, runtime
from holdfast.server.langgraph.answers import answers_due, recorded_already
from holdfast.server.langgraph.record import RunRecord, current, run_to_go_on
from holdfast.settings import load
from holdfast.worker import AnswerWorker, RetentionWorker
from holdfast.worker.periodic import Periodic
from holdfast.worker.turns import AFTER_OUTAGE, ATTEMPTS, PERIOD, died

# Runs of a thread that are looked at for an open one.
_OPEN: Final = 20

_log = logging.getLogger(__name__)


class ServerWorker(AnswerWorker):
    """A worker that starts a run of the server for each thread that has answers left."""

    async def carry_out(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        # An answer is usually carried out by the process that recorded it, which then holds the lease.
        async with self._saver.alease(thread_id, wait=0, purpose="a look"):
            pass
        left = {found.interrupt_id for found in await self._saver.interrupts.atodo(thread_id=thread_id)}
        if not _is_known(thread_id):
            return "the server takes UUIDs only"
        if left.isdisjoint(found.interrupt_id for found in answers):
            return None  # another process has carried them out meanwhile
        if any(run.is_open for run in await self._saver.runs.alist(thread_id, limit=_OPEN)):
            raise ThreadBusy(thread_id, owner="a run", purpose="it was accepted", since=0, waited=0)
        await registry.restore(thread_id)
        metadata = registry.metadata_of(thread_id) or {}
        given = await io.call(answers_due, self._saver, thread_id)
        command: dict[str, Any] = {"command": {"resume": given}} if given else {"input": None}
        # Apart from the request of an approver, who may not begin a run of the thread.
        await asyncio.create_task(self._begin(thread_id, str(metadata["graph_id"]), command), context=Context())
        return None

    async def _begin(self, thread_id: str, graph: str, command: dict[str, Any]) -> None:
        with recorded_already():
            await runtime.begin_run(thread_id, graph, **command)


class RunWorker(Periodic):
    """A worker that goes on with the accepted runs of servers that died or were stopped, as runs of this server.

    It also brings the registry up to date about runs that other servers carry out.

    Args:
        record: the runs of this server.
        period: seconds between two looks.
        attempts: how often a run is begun whose process has died. After that it has failed.
    """

    def __init__(self, record: RunRecord, *, period: float = PERIOD, attempts: int = ATTEMPTS) -> None:
        super().__init__(record.saver, period=period)
        self._record = record
        self._attempts = attempts

    async def _pass(self, io: Io) -> float:
        try:
            await registry.look_elsewhere()
            await registry.all_of(self._go_on(io, claimed) for claimed in await self._record.claim())
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("Accepted runs could not be looked up: %s", for_log(error))
            return AFTER_OUTAGE
        return self._period

    async def _go_on(self, io: Io, claimed: Claimed) -> None:
        """Enter a run of another process into the registry, or end it."""
        run = claimed.run
        try:
            await registry.restore(run.thread_id)
            if run.is_cancelled:
                await self._end(run, "cancelled")
            elif run.attempts > self._attempts:
                await self._end(run, "failed", ProcessDied(died(run.attempts - 1)))
            else:
                entry = await io.call(run_to_go_on, self._saver, claimed)
                hooks.enter_run(entry)
        except DatabaseUnavailable:
            await self._record.release(claimed)
            raise
        except Exception as error:  # noqa: BLE001 - one run that fails must not stop the others
            _log.warning("Run %s cannot be gone on with: %s", run.run_id, for_log(error))
            await self._end(run, "failed", error)

    async def _end(self, run: Run, state: Literal["failed", "cancelled"], error: Exception | None = None) -> None:
        await self._record.end(run.run_id, state, error)
        elsewhere.enter(await self._saver.runs.asome([run.run_id]))
        await registry.refresh(UUID(run.thread_id))


class ProcessDied(HoldfastError):
    """The processes that carried a run out died."""

    @property
    def words_for_clients(self) -> str:
        """The words that the client of the run is told."""
        return str(self)


def _is_known(thread_id: str) -> bool:
    """Return whether the server can have this thread: it only takes UUIDs."""
    try:
        UUID(thread_id)
    except ValueError:
        return False
    return True


def workers_of(saver: HoldfastSaver) -> list[Periodic]:
    """Return what works in the background: for runs of servers that died, for recorded answers, and for a retention
    policy if the settings name one.

    Raises:
        ValueError: the policy cannot be used.
    """
    workers: list[Periodic] = [ServerWorker(saver)]
    if (record := current()) is not None:
        workers.append(RunWorker(record))
    settings = load()
    if settings.retention is not None:
        policy = RetentionPolicy.from_file(settings.retention)
        workers.append(RetentionWorker(saver, policy, period=settings.retention_interval))
    return workers
