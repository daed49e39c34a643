"""The server's background worker: its runs go through the server's own queue, so clients see them like any others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from holdfast.checkpoints import Answered, HoldfastSaver, RetentionPolicy
from holdfast.graph.plans import Io
from holdfast.server.langgraph import registry
from holdfast.settings import load
from holdfast.worker import AnswerWorker, RetentionWorker
from holdfast.worker.periodic import Periodic


class ServerWorker(AnswerWorker):
    """A worker that starts a run of the server for each thread that has answers left."""

    async def carry_out(self, io: Io, thread_id: str, answers: Sequence[Answered]) -> str | None:
        from langgraph_sdk import get_client

        # An answer is usually carried out by the process that recorded it, which then holds the lease.
        async with self._saver.alease(thread_id, wait=0, purpose="a look"):
            pass
        left = {found.interrupt_id for found in await self._saver.interrupts.atodo(thread_id=thread_id)}
        if not _is_known(thread_id):
            return "the server takes UUIDs only"
        if left.isdisjoint(found.interrupt_id for found in answers):
            return None  # another process has carried them out meanwhile
        await registry.restore(thread_id)
        client: Any = get_client(url=None, api_key=None)
        entry = await client.threads.get(thread_id)
        # An expired request has no answer to pass on, and a kept one has no pause to resume now; our own agent finds
        # both on record.
        kept = await self._saver.interrupts.aheld(thread_id)
        due = [found for found in answers if found.interrupt_id in left and not found.expired]
        given = {found.interrupt_id: found.answer for found in due if not kept.get(found.interrupt_id)}
        command = {"command": {"resume": given}} if given else {"input": None}
        await client.runs.create(thread_id, entry["metadata"]["graph_id"], **command)
        return None


def _is_known(thread_id: str) -> bool:
    """Return whether the server can have this thread: it only takes UUIDs."""
    try:
        UUID(thread_id)
    except ValueError:
        return False
    return True


def workers_of(saver: HoldfastSaver) -> list[Periodic]:
    """Return what works in the background: for recorded answers, and for a retention policy if the settings name one.

    Raises:
        ValueError: the policy cannot be used.
    """
    workers: list[Periodic] = [ServerWorker(saver)]
    settings = load()
    if settings.retention is not None:
        policy = RetentionPolicy.from_file(settings.retention)
        workers.append(RetentionWorker(saver, policy, period=settings.retention_interval))
    return workers
