"""The server's registry of threads, filled from the database.

LangGraph's server keeps its threads in the memory of its process: what is older than the process it does not know,
though the database does. So a thread is entered into the registry when the server starts, if it was written lately, and
else when it is first asked for.

This reaches into the in-memory runtime, whose names are not public: all of it is in this file, the runtime's version is
pinned, and a test starts the real server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from checkpoints import Head, HoldfastError, HoldfastSaver, unwrapped

# How many threads a server knows from the start, for those who list them. Each takes as long as loading it does.
NEWEST: Final = 100

# What LangGraph and its server put into the metadata of a checkpoint; the rest is the thread's own.
_OF_THE_RUN: Final = {
    "source", "step", "parents", "writes", "thread_id", "run_id", "run_attempt", "created_by", "checkpoint_ns",
    "checkpoint_id", "langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host",
    "langgraph_api_url", "langgraph_request_id", "langgraph_auth_user_id",
}  # fmt: skip

# A checkpoint's id is a time in units of 100 ns since the Gregorian calendar began.
_UUID_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)

_log = logging.getLogger(__name__)


def forget() -> None:
    """Empty the registry.

    `langgraph dev` brings back what its last process had pickled, and begins its unfinished runs again: a run that was
    acknowledged would happen twice. What it held is in the database.
    """
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    for kind in ("threads", "runs"):
        GLOBAL_STORE[kind] = []


async def restore_newest() -> None:
    """Enter the threads that were written last. One that cannot be read is entered as failed."""
    saver = await _saver()
    for head in reversed(await asyncio.to_thread(saver.heads, NEWEST)):
        await _enter(saver, head)


async def restore(thread_id: str) -> None:
    """Enter a thread, if the registry does not know it and the database does."""
    wanted = _id(thread_id)
    if wanted is None or _known(wanted):
        return
    saver = await _saver()
    for head in await asyncio.to_thread(lambda: saver.heads(thread_id=str(wanted))):
        await _enter(saver, head)


async def _enter(saver: HoldfastSaver, head: Head) -> None:
    from langgraph_runtime_inmem.database import connect
    from langgraph_runtime_inmem.ops import Threads

    thread_id = _id(head.thread_id)
    if thread_id is None:
        return  # the server only takes UUIDs; from Python and on the command line such a thread goes on
    config: RunnableConfig = {"configurable": {"thread_id": head.thread_id, "checkpoint_ns": ""}}
    metadata: dict[str, Any] = {}
    checkpoint: dict[str, Any] | None = None
    failed: Exception | None = None
    try:
        found = await saver.aget_tuple(config)
        metadata = dict(found.metadata) if found else {}
    except HoldfastError as error:
        failed = error
    entry = _entry(thread_id, head, metadata)
    async with connect() as connection:
        if _known(thread_id):  # somebody else has asked for it meanwhile
            return
        connection.store["threads"].append(entry)
        try:
            checkpoint = await _payload(connection, config) if failed is None else None
        except Exception as error:  # noqa: BLE001 - whatever a graph does with it, this thread must not stop the server
            failed = error
        if failed is not None:
            _log.warning("Thread %s cannot be read: %s", head.thread_id, failed)
        await Threads.set_status(connection, thread_id, checkpoint, failed)
        entry["updated_at"] = entry["state_updated_at"] = _time(head.checkpoint_id)


async def _payload(connection: Any, config: RunnableConfig) -> dict[str, Any]:
    """The newest checkpoint, in the form in which the runtime derives a thread's status from it."""
    from langgraph_runtime_inmem.ops import Threads

    state = await Threads.State.get(connection, config)
    tasks = [{"id": task.id, "interrupts": task.interrupts} for task in state.tasks]
    return {"values": state.values, "next": state.next, "tasks": tasks}


def _entry(thread_id: UUID, head: Head, metadata: Mapping[str, Any]) -> dict[str, Any]:
    from langgraph_api.graph import GRAPHS

    own = {key: value for key, value in metadata.items() if key not in _OF_THE_RUN}
    user_id = metadata.get("user_id")
    return {
        "thread_id": thread_id,
        "created_at": _time(head.first_id),
        "updated_at": _time(head.checkpoint_id),
        "state_updated_at": _time(head.checkpoint_id),
        # Without a graph the server shows an empty state; a thread begun elsewhere is the first graph's.
        "metadata": {"graph_id": next(iter(GRAPHS)), **own},
        "status": "idle",
        "config": {"configurable": {"user_id": user_id}} if user_id else {},
        "values": None,
    }


async def _saver() -> HoldfastSaver:
    from langgraph_api._checkpointer import get_checkpointer

    saver = unwrapped(await get_checkpointer())
    if not isinstance(saver, HoldfastSaver):
        raise TypeError(f"The server has to keep its threads with Holdfast, and not with {type(saver).__name__}.")
    return saver


def _known(thread_id: UUID) -> bool:
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    return any(thread["thread_id"] == thread_id for thread in GLOBAL_STORE["threads"])


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _time(checkpoint_id: str) -> datetime:
    """When a checkpoint was made. Its id is a UUID of version 6: https://www.rfc-editor.org/rfc/rfc9562#section-5.6"""
    number = UUID(checkpoint_id).int
    return _UUID_EPOCH + timedelta(microseconds=((number >> 80) << 12 | (number >> 64) & 0xFFF) // 10)
