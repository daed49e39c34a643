"""The server's registry of threads, filled from the database.

LangGraph's server keeps its list of threads in memory, so it knows none that is older than its process. The newest
threads are therefore entered when the server starts, and any other when a request first names it.

The in-memory runtime has no public names for this. All use of its private names is in this file, its version is pinned,
and a test starts the real server.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.checkpoints import Head, HoldfastSaver
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN
from holdfast.checkpoints.runtime import unwrap_saver

# Number of threads that are entered at the start, so that clients can list them. Each one is loaded for that.
NEWEST: Final = 100

# Where an entry has the users with whom its thread is shared, as far as they have asked for lists.
SHARED: Final = "shared_with"

# A checkpoint's id is a time in units of 100 ns since the Gregorian calendar began.
_UUID_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)

# Held while a thread is taken out of the list. The server has one event loop.
_deleting = asyncio.Lock()

_log = logging.getLogger(__name__)


def forget() -> None:
    """Empty the registry.

    `langgraph dev` restores what its last process pickled, and starts the unfinished runs again, so a run could happen
    twice. The threads are in the database.
    """
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    for kind in ("threads", "runs"):
        GLOBAL_STORE[kind] = []


def delete_one_by_one() -> None:
    """Let the runtime delete one thread at a time.

    It looks up the index of a thread in its list, waits for the checkpointer, and then removes the entry at that index.
    With two deletions at once, one would remove another thread.
    """
    from langgraph_runtime_inmem.ops import Threads

    delete = Threads.delete

    @functools.wraps(delete)
    async def one_by_one(*args: Any, **kwargs: Any) -> Any:
        async with _deleting:
            return await delete(*args, **kwargs)

    Threads.delete = staticmethod(one_by_one)


async def restore_newest() -> None:
    """Enter the newest threads. One that cannot be read is entered as failed."""
    from langgraph_api.graph import GRAPHS

    saver = await server_saver()
    if not isinstance(saver, HoldfastSaver):
        return  # another checkpointer has no index: a thread is entered when a request names it
    for graph in GRAPHS.values():  # a graph that is made for each request passes its types then
        saver.allow_types_of(graph)
    for head in reversed(await asyncio.to_thread(saver.heads, NEWEST)):
        await _enter(saver, head)


async def restore(thread_id: str) -> None:
    """Bring the registry's entry of a thread up to date.

    Enters a thread that only the database knows, and updates or removes one that another process wrote to or deleted.
    """
    wanted = _id(thread_id)
    entry = None if wanted is None else _find(wanted)
    if wanted is None or (entry is not None and entry["status"] == "busy"):
        return  # a run of this server brings it up to date when it ends
    saver = await server_saver()
    heads = await asyncio.to_thread(_heads, saver, str(wanted))
    for head in heads:
        if entry is None:
            await _enter(saver, head)
        elif "values" not in entry or _time(head.checkpoint_id) > entry["state_updated_at"]:
            await _refresh(entry, head, await _read(saver, head))
    if entry is not None and entry.get("values") and not heads:
        if isinstance(saver, HoldfastSaver) and await asyncio.to_thread(saver.is_deleted, str(wanted)):
            await _forget(wanted)
        else:
            _empty(entry)


async def restore_copies() -> None:
    """Bring the entries of copies up to date. The runtime enters a copy without the values of its source."""
    for entry in [entry for entry in _threads() if "values" not in entry]:
        await restore(str(entry["thread_id"]))


async def restore_after_deletion(thread_id: str) -> None:
    """Bring the entry of a thread up to date after a run of it was deleted, whose values the entry may have."""
    wanted = _id(thread_id)
    if wanted is not None and (entry := _find(wanted)) is not None and entry.get("values"):
        entry["state_updated_at"] = _UUID_EPOCH
    await restore(thread_id)


def metadata_of(thread_id: str) -> Mapping[str, Any] | None:
    """Return the metadata of the registry's entry of a thread; `None` if there is no entry."""
    wanted = _id(thread_id)
    entry = None if wanted is None else _find(wanted)
    return None if entry is None else entry["metadata"]


def has_run(thread_id: str, run_id: str) -> bool:
    """Return whether a run that the server knows is one of a thread. The runtime does not check this for all routes."""
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    wanted = (_id(thread_id), _id(run_id))
    return any((run["thread_id"], run["run_id"]) == wanted for run in GLOBAL_STORE["runs"])


async def mark_shared(user_id: str, thread_ids: Collection[str]) -> None:
    """Note in the registry which threads are shared with a user, for the filter of the user's lists."""
    for thread_id in thread_ids:
        await restore(thread_id)
    for entry in _threads():
        others = [member for member in entry["metadata"].get(SHARED, ()) if member != user_id]
        members = [*others, user_id] if str(entry["thread_id"]) in thread_ids else others
        if members:
            entry["metadata"][SHARED] = members
        else:
            entry["metadata"].pop(SHARED, None)


def _heads(saver: BaseCheckpointSaver[Any], thread_id: str) -> list[Head]:
    """Return the head of a thread, if there is one. Another checkpointer does not know when a thread began."""
    if isinstance(saver, HoldfastSaver):
        return saver.heads(thread_id=thread_id)
    found = saver.get_tuple(_config(thread_id))
    return [] if found is None else [Head(thread_id, found.checkpoint["id"], found.checkpoint["id"])]


async def _enter(saver: BaseCheckpointSaver[Any], head: Head) -> None:
    thread_id = _id(head.thread_id)
    if thread_id is None:
        return  # the server only takes UUIDs; the command line and Python take any id
    read = await _read(saver, head)
    # The checkpoint names the user of the last run, who may be a member.
    owner = await asyncio.to_thread(saver.threads.owner, head.thread_id) if isinstance(saver, HoldfastSaver) else None
    if _find(thread_id) is not None:  # another request has entered it meanwhile
        return
    entry = _entry(thread_id, head, {} if isinstance(read, Exception) else read, owner)
    _threads().append(entry)
    await _refresh(entry, head, read)


async def _read(saver: BaseCheckpointSaver[Any], head: Head) -> Mapping[str, Any] | Exception:
    """Return the metadata of a thread's newest checkpoint, or the error with which that cannot be read."""
    try:
        found = await saver.aget_tuple(_config(head.thread_id))
    except Exception as error:  # noqa: BLE001 - each checkpointer has its own
        return error
    return cast("Mapping[str, Any]", found.metadata) if found else {}


async def _refresh(entry: dict[str, Any], head: Head, read: Mapping[str, Any] | Exception) -> None:
    """Set an entry's status, values and pauses to those of the newest checkpoint."""
    from langgraph_runtime_inmem.database import connect
    from langgraph_runtime_inmem.ops import Threads

    checkpoint: dict[str, Any] | None = None
    failed = read if isinstance(read, Exception) else None
    async with connect() as connection:
        try:
            if failed is None:
                # In the form from which the runtime derives a thread's status.
                state = await Threads.State.get(connection, _config(head.thread_id))
                tasks = [{"id": task.id, "interrupts": task.interrupts} for task in state.tasks]
                checkpoint = {"values": state.values, "next": state.next, "tasks": tasks}
        except Exception as error:  # noqa: BLE001 - a thread that a graph cannot read must not stop the server
            failed = error
        if failed is not None:
            _log.warning("Thread %s cannot be read: %s", head.thread_id, failed)
        await Threads.set_status(connection, entry["thread_id"], checkpoint, failed)
    entry["updated_at"] = entry["state_updated_at"] = _time(head.checkpoint_id)


def _empty(entry: dict[str, Any]) -> None:
    """Set an entry to that of a thread whose runs were all deleted."""
    entry.update(status="idle", values=None, interrupts={}, error=None, state_updated_at=datetime.now(UTC))


async def _forget(thread_id: UUID) -> None:
    async with _deleting:
        _threads()[:] = [entry for entry in _threads() if entry["thread_id"] != thread_id]


def _config(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def _entry(thread_id: UUID, head: Head, metadata: Mapping[str, Any], owner: str | None) -> dict[str, Any]:
    from langgraph_api.graph import GRAPHS

    user_id = owner or metadata.get("user_id")  # the server writes "" if no user was named
    own = {key: value for key, value in metadata.items() if key not in {*OF_THE_RUN, SHARED, "user_id"}}
    return {
        "thread_id": thread_id,
        "created_at": _time(head.first_id),
        "updated_at": _time(head.checkpoint_id),
        "state_updated_at": _time(head.checkpoint_id),
        # Without a graph the server shows an empty state. A thread that began elsewhere is given the first graph.
        "metadata": {"graph_id": next(iter(GRAPHS)), **own, **({"user_id": user_id} if user_id else {})},
        "status": "idle",
        "config": {"configurable": {"user_id": user_id}} if user_id else {},
        "values": None,
    }


async def server_saver() -> BaseCheckpointSaver[Any]:
    """Return the server's checkpointer. It is Holdfast's, or that of another database."""
    from langgraph_api._checkpointer import get_checkpointer

    saver: BaseCheckpointSaver[Any] = unwrap_saver(await get_checkpointer())
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
    """Return the time at which a checkpoint was made, from its id, a UUID of version 6: https://www.rfc-editor.org/rfc/rfc9562#section-5.6"""
    number = UUID(checkpoint_id).int
    return _UUID_EPOCH + timedelta(microseconds=((number >> 80) << 12 | (number >> 64) & 0xFFF) // 10)
