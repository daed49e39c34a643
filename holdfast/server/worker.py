"""The server's background worker: carries out recorded answers whose process died, and closes expired requests.

Its runs go through the server's own queue, so clients see them like any others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from holdfast.checkpoints import Answered, HoldfastSaver
from holdfast.checkpoints.errors import ThreadBusy
from holdfast.server import registry

# Seconds between two passes. The shorter time is for a thread whose lease is held, perhaps by a process that has died.
PERIOD: Final = 60.0
SOON: Final = 5.0

_log = logging.getLogger(__name__)


async def run_worker() -> None:
    """Carry out recorded answers at the start, and then every minute, for as long as the server runs."""
    # An answer that cannot be carried out is tried once, not every minute.
    tried: set[tuple[str, str, datetime]] = set()
    while True:
        try:
            later = await _carry_out(tried)
        except Exception as error:  # noqa: BLE001 - a database that is out of reach for a while must not end the worker
            _log.warning("Recorded answers could not be looked up: %s", error)
            later = True
        await asyncio.sleep(SOON if later else PERIOD)


async def _carry_out(tried: set[tuple[str, str, datetime]]) -> bool:
    """Carry out the recorded answers that are left. Return whether a busy thread has to be looked at again soon."""
    saver = await registry.server_saver()
    await saver.interrupts.aexpire()
    todo = await saver.interrupts.atodo()
    new = [found for found in todo if (found.thread_id, found.interrupt_id, found.at) not in tried]
    later = False
    for thread_id, group in groupby(sorted(new, key=lambda found: found.thread_id), lambda found: found.thread_id):
        answers = list(group)
        try:
            # An answer is usually carried out by the process that recorded it, which then holds the lease.
            async with saver.alease(thread_id, wait=0, purpose="a look"):
                pass
            await _resume(saver, thread_id, answers)
        except ThreadBusy:
            later = True
            continue
        except Exception as error:  # noqa: BLE001 - one thread that fails must not stop the others
            _log.warning("Thread %s: a recorded answer could not be carried out: %s", thread_id, error)
        tried.update((found.thread_id, found.interrupt_id, found.at) for found in answers)
    return later


async def _resume(saver: HoldfastSaver, thread_id: str, answers: Sequence[Answered]) -> None:
    """Start a run that carries out some answers, unless another process has done so meanwhile."""
    from langgraph_sdk import get_client

    left = {found.interrupt_id for found in await saver.interrupts.atodo(thread_id=thread_id)}
    if not _is_known(thread_id) or left.isdisjoint(found.interrupt_id for found in answers):
        return
    await registry.restore(thread_id)
    client: Any = get_client(url=None, api_key=None)
    entry = await client.threads.get(thread_id)
    given = {found.interrupt_id: found.answer for found in answers if not found.expired and found.interrupt_id in left}
    # An expired request has no answer to pass on; our own agent finds the expiry on record.
    command = {"command": {"resume": given}} if given else {"input": None}
    await client.runs.create(thread_id, entry["metadata"]["graph_id"], **command)


def _is_known(thread_id: str) -> bool:
    """Return whether the server can have this thread: it only takes UUIDs."""
    try:
        UUID(thread_id)
    except ValueError:
        return False
    return True
