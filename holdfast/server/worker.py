"""What the server does by itself: it carries out what was decided and is not carried out, because a process died in
between, and closes what nobody has decided about in time.

Through the server's own queue, so that its clients see these runs as any others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from holdfast.checkpoints import Answered, HoldfastSaver, ThreadBusy
from holdfast.server import registry

# Seconds between two looks. What a process held that died a moment ago is free after a while: then sooner.
PERIOD: Final = 60.0
SOON: Final = 5.0

_log = logging.getLogger(__name__)


async def carry_out() -> None:
    """Look at the start, and then every minute, for as long as the server runs."""
    # An answer that cannot be carried out is tried once, and not every minute.
    tried: set[tuple[str, str, float]] = set()
    while True:
        try:
            later = await _look(tried)
        except Exception as error:  # noqa: BLE001 - a database that is away for a while must not end this
            _log.warning("What was decided could not be looked for: %s", error)
            later = True
        await asyncio.sleep(SOON if later else PERIOD)


async def _look(tried: set[tuple[str, str, float]]) -> bool:
    """Carry out what there is. Says whether something is left for a moment later."""
    saver = await registry.checkpointer()
    await saver.run_in_executor(saver.interrupts.expire)
    todo = await saver.run_in_executor(saver.interrupts.todo)
    new = [found for found in todo if (found.thread_id, found.interrupt_id, found.at) not in tried]
    later = False
    for thread_id, group in groupby(sorted(new, key=lambda found: found.thread_id), lambda found: found.thread_id):
        answers = list(group)
        try:
            # Most of it is being carried out by whoever decided.
            async with saver.alease(thread_id, wait=0, purpose="a look"):
                pass
            await _resume(saver, thread_id, answers)
        except ThreadBusy:
            later = True
            continue
        except Exception as error:  # noqa: BLE001 - one thread that cannot go on does not keep the others from it
            _log.warning("Thread %s: what was decided could not be carried out: %s", thread_id, error)
        tried.update((found.thread_id, found.interrupt_id, found.at) for found in answers)
    return later


async def _resume(saver: HoldfastSaver, thread_id: str, answers: Sequence[Answered]) -> None:
    """Begin a run that carries out some answers, if nobody has done so meanwhile."""
    from langgraph_sdk import get_client

    left = {found.interrupt_id for found in await saver.run_in_executor(saver.interrupts.todo, thread_id=thread_id)}
    if not _is_known(thread_id) or left.isdisjoint(found.interrupt_id for found in answers):
        return
    await registry.restore(thread_id)
    client: Any = get_client(url=None, api_key=None)
    entry = await client.threads.get(thread_id)
    given = {found.interrupt_id: found.answer for found in answers if not found.expired and found.interrupt_id in left}
    # What expired is no answer to give; our own agent finds it on record.
    command = {"command": {"resume": given}} if given else {"input": None}
    await client.runs.create(thread_id, entry["metadata"]["graph_id"], **command)


def _is_known(thread_id: str) -> bool:
    """Whether the server can have this thread: it only takes UUIDs."""
    try:
        UUID(thread_id)
    except ValueError:
        return False
    return True
