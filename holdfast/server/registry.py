"""The server's registry of threads, filled from the database.

LangGraph's server keeps its threads in the memory of its process: what is older than the process it does not know,
though the database does. So a thread is entered into the registry when the server starts, if it was written lately, and
else when it is first asked for.

This reaches into the in-memory runtime, whose names are not public: all of it is in this file, the runtime's version is
pinned, and a test starts the real server.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import Head, HoldfastError, HoldfastSaver
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN
from holdfast.checkpoints.runtime import unwrap_saver

# How many threads a server knows from the start, for those who list them. Each takes as long as loading it does.
NEWEST: Final = 100

# A checkpoint's id is a time in units of 100 ns since the Gregorian calendar began.
_UUID_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)

# Whoever takes a thread out of the list holds this; all of it happens on the server's one event loop.
_deleting = asyncio.Lock()

_log = logging.getLogger(__name__)


def forget() -> None:
    """Empty the registry.

    `langgraph dev` brings back what its last process had pickled, and begins its unfinished runs again: a run that was
    acknowledged would happen twice. What it held is in the database.
    """
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    for kind in ("threads", "runs"):
        GLOBAL_STORE[kind] = []


def delete_one_by_one() -> None:
    """Let the runtime delete one thread at a time.

    It looks up a thread's place in its list, waits for the checkpointer, and then takes out what is at that place. Of
    two at once, one would take out somebody else's thread.
    """
    from langgraph_runtime_inmem.ops import Threads

    delete = Threads.delete

    @functools.wraps(delete)
    async def one_by_one(*args: Any, **kwargs: Any) -> Any:
        async with _deleting:
            return await delete(*args, **kwargs)

    Threads.delete = staticmethod(one_by_one)


async def restore_newest() -> None:
    """Enter the threads that were written last. One that cannot be read is entered as failed."""
    saver = await checkpointer()
    for head in reversed(await asyncio.to_thread(saver.heads, NEWEST)):
        await _enter(saver, head)


async def restore(thread_id: str) -> None:
    """Bring what the registry has of a thread up to date: enter one that only the database knows, and see to one that
    another process has written to or deleted."""
    wanted = _id(thread_id)
    entry = None if wanted is None else _find(wanted)
    if wanted is None or (entry is not None and entry["status"] == "busy"):
        return  # a run of this server brings it up to date when it ends
    saver = await checkpointer()
    heads = await asyncio.to_thread(lambda: saver.heads(thread_id=str(wanted)))
    for head in heads:
        if entry is None:
            await _enter(saver, head)
        elif _time(head.checkpoint_id) > entry["state_updated_at"]:
            await _refresh(entry, head, await _read(saver, head))
    if entry is not None and entry["values"] and not heads:
        await _forget(wanted)


async def _enter(saver: HoldfastSaver, head: Head) -> None:
    thread_id = _id(head.thread_id)
    if thread_id is None:
        return  # the server only takes UUIDs; from Python and on the command line such a thread goes on
    read = await _read(saver, head)
    if _find(thread_id) is not None:  # somebody else has asked for it meanwhile
        return
    entry = _entry(thread_id, head, {} if isinstance(read, Exception) else read)
    _threads().append(entry)
    await _refresh(entry, head, read)


async def _read(saver: HoldfastSaver, head: Head) -> Mapping[str, Any] | Exception:
    """The metadata of a thread's newest checkpoint, or why that cannot be read."""
    try:
        found = await saver.aget_tuple(_config(head))
    except HoldfastError as error:
        return error
    return found.metadata if found else {}


async def _refresh(entry: dict[str, Any], head: Head, read: Mapping[str, Any] | Exception) -> None:
    """Status, values and pauses, as the newest checkpoint has them."""
    from langgraph_runtime_inmem.database import connect
    from langgraph_runtime_inmem.ops import Threads

    checkpoint: dict[str, Any] | None = None
    failed = read if isinstance(read, Exception) else None
    async with connect() as connection:
        try:
            if failed is None:
                # In the form in which the runtime derives a thread's status from it.
                state = await Threads.State.get(connection, _config(head))
                tasks = [{"id": task.id, "interrupts": task.interrupts} for task in state.tasks]
                checkpoint = {"values": state.values, "next": state.next, "tasks": tasks}
        except Exception as error:  # noqa: BLE001 - whatever a graph does with it, this thread must not stop the server
            failed = error
        if failed is not None:
            _log.warning("Thread %s cannot be read: %s", head.thread_id, failed)
        await Threads.set_status(connection, entry["thread_id"], checkpoint, failed)
    entry["updated_at"] = entry["state_updated_at"] = _time(head.checkpoint_id)


async def _forget(thread_id: UUID) -> None:
    async with _deleting:
        _threads()[:] = [entry for entry in _threads() if entry["thread_id"] != thread_id]


def _config(head: Head) -> RunnableConfig:
    return {"configurable": {"thread_id": head.thread_id, "checkpoint_ns": ""}}


def _entry(thread_id: UUID, head: Head, metadata: Mapping[str, Any]) -> dict[str, Any]:
    from langgraph_api.graph import GRAPHS

    user_id = metadata.get("user_id")  # the server writes "" where nobody was named
    own = {key: value for key, value in metadata.items() if key not in {*OF_THE_RUN, "user_id"}}
    return {
        "thread_id": thread_id,
        "created_at": _time(head.first_id),
        "updated_at": _time(head.checkpoint_id),
        "state_updated_at": _time(head.checkpoint_id),
        # Without a graph the server shows an empty state; a thread begun elsewhere is the first graph's.
        "metadata": {"graph_id": next(iter(GRAPHS)), **own, **({"user_id": user_id} if user_id else {})},
        "status": "idle",
        "config": {"configurable": {"user_id": user_id}} if user_id else {},
        "values": None,
    }


async def checkpointer() -> HoldfastSaver:
    """The server's checkpointer."""
    from langgraph_api._checkpointer import get_checkpointer

    saver = unwrap_saver(await get_checkpointer())
    if not isinstance(saver, HoldfastSaver):
        raise TypeError(f"The server has to keep its threads with Holdfast, and not with {type(saver).__name__}.")
    return saver


def _threads() -> list[dict[str, Any]]:
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    found: list[dict[str, Any]] = GLOBAL_STORE["threads"]
    return found


def _find(thread_id: UUID) -> dict[str, Any] | None:
    return next((entry for entry in _threads() if entry["thread_id"] == thread_id), None)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _time(checkpoint_id: str) -> datetime:
    """When a checkpoint was made. Its id is a UUID of version 6: https://www.rfc-editor.org/rfc/rfc9562#section-5.6"""
    number = UUID(checkpoint_id).int
    return _UUID_EPOCH + timedelta(microseconds=((number >> 80) << 12 | (number >> 64) & 0xFFF) // 10)
