"""The server's registry of threads, filled from the database.

LangGraph's server keeps its list of threads in memory, so it knows none that is older than its process. The newest
threads are therefore entered when the server starts, and any other when a request first names it. So are their runs:
those that other processes carry out, and those that have ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from holdfast.checkpoints import Begun, Head, HoldfastSaver, Run
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN
from holdfast.server.langgraph import elsewhere, runtime
from holdfast.server.langgraph.record import current
from holdfast.server.langgraph.runtime import Entry, server_saver

__all__ = ["SHARED", "server_saver"]

# Number of threads that are entered at the start, so that clients can list them. Each one is loaded for that.
NEWEST: Final = 100

# Number of a thread's runs that a request finds.
_RUNS: Final = 100

# Where an entry has the users with whom its thread is shared, as far as they have asked for lists.
SHARED: Final = "shared_with"

# A checkpoint's id is a time in units of 100 ns since the Gregorian calendar began.
_UUID_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)

_log = logging.getLogger(__name__)


def forget() -> None:
    """Empty the registry.

    `langgraph dev` restores what its last process pickled, and starts the unfinished runs again, so a run could happen
    twice. The threads are in the database.
    """
    runtime.forget()


async def restore_newest() -> None:
    """Enter the newest threads. One that cannot be read is entered as failed."""
    saver = await server_saver()
    if not isinstance(saver, HoldfastSaver):
        return  # another checkpointer has no index: a thread is entered when a request names it
    for graph in runtime.graphs().values():  # a graph that is made for each request passes its types then
        saver.allow_types_of(graph)
    is_open, leased = await asyncio.to_thread(saver.runs.open, NEWEST), await _leased()
    for head in reversed(await asyncio.to_thread(saver.heads, NEWEST)):
        await _enter(saver, head, [run for run in is_open if run.thread_id == head.thread_id], leased)
    for begun in reversed(await asyncio.to_thread(saver.threads.newest_begun, NEWEST)):
        await _enter_begun(begun, [run for run in is_open if run.thread_id == begun.thread_id])
    for thread_id in {run.thread_id for run in is_open}:
        await restore(thread_id)


async def restore(thread_id: str) -> None:
    """Bring the registry's entry of a thread up to date.

    Enters a thread that only the database knows, and updates or removes one that another process wrote to or deleted.
    """
    wanted = _id(thread_id)
    if wanted is None:
        return
    saver = await server_saver()
    rows = await saver.runs.alist(str(wanted), limit=_RUNS) if isinstance(saver, HoldfastSaver) else []
    entry, has_changed = runtime.find_thread(wanted), False
    if entry is not None:
        has_changed = elsewhere.enter(rows)
        if elsewhere.is_at_work_here(wanted):
            return  # a run of this server brings it up to date when it ends
    heads = await asyncio.to_thread(_heads, saver, str(wanted))
    for head in heads:
        if entry is None:
            await _enter(saver, head, rows)
        elif has_changed or await _is_outdated(entry, head):
            await _refresh(entry, head, await _read(saver, head), rows)
    if not heads:
        await _restore_without_head(saver, wanted, entry, rows)


async def _restore_without_head(
    saver: BaseCheckpointSaver[Any], thread_id: UUID, entry: Entry | None, rows: Collection[Run]
) -> None:
    begun = await saver.threads.abegun(str(thread_id)) if isinstance(saver, HoldfastSaver) else None
    if entry is None:
        if begun is not None:
            await _enter_begun(begun, rows)
    elif begun is None and isinstance(saver, HoldfastSaver) and (entry.get("values") or not _has_runs(thread_id)):
        if await asyncio.to_thread(saver.is_deleted, str(thread_id)):
            await _forget(thread_id)
        else:
            _empty(entry)
    elif entry.get("values"):
        _empty(entry)
    elif begun is not None:
        _set_status_before_first_step(entry, rows)


async def look_elsewhere() -> None:
    """Bring the runs that other processes carry out up to date, and the threads that they began or ended work on."""
    if (record := current()) is None:
        return
    known, leased = [*record.elsewhere], {_id(thread_id) for thread_id in await _leased()}
    rows = await record.saver.runs.asome([str(run_id) for run_id in known]) if known else []
    here = {entry["thread_id"] for entry in runtime.threads()}
    theirs = {thread_id for thread_id in here & leased if not elsewhere.is_at_work_here(thread_id)}
    threads = theirs ^ record.leased | {UUID(row.thread_id) for row in rows if not row.is_open}
    elsewhere.enter(rows)
    for run_id in {*known} - {UUID(row.run_id) for row in rows}:  # they were deleted
        if (gone := record.elsewhere.get(run_id)) is not None:
            threads.add(gone["thread_id"])
        elsewhere.remove(run_id)
    await all_of(map(refresh, threads))


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do these at the same time. Each comes to its end, also if one of them fails.

    Raises:
        Exception: the error of the first that failed.
    """
    for error in await asyncio.gather(*works, return_exceptions=True):
        if error is not None:
            raise error


async def refresh(thread_id: UUID) -> None:
    """Set the status of a thread to that which the database has."""
    saver, entry = await server_saver(), runtime.find_thread(thread_id)
    if entry is None or elsewhere.is_at_work_here(thread_id):
        return
    rows = await saver.runs.alist(str(thread_id), limit=1) if isinstance(saver, HoldfastSaver) else []
    for head in await asyncio.to_thread(_heads, saver, str(thread_id)):
        await _refresh(entry, head, await _read(saver, head), rows)
        return
    _set_status_before_first_step(entry, rows)


async def restore_copies() -> None:
    """Bring the entries of copies up to date. The runtime enters a copy without the values of its source."""
    for entry in [entry for entry in runtime.threads() if "values" not in entry]:
        await restore(str(entry["thread_id"]))


async def restore_after_deletion(thread_id: str) -> None:
    """Bring the entry of a thread up to date after a run of it was deleted, whose values the entry may have."""
    wanted = _id(thread_id)
    if wanted is not None and (entry := runtime.find_thread(wanted)) is not None and entry.get("values"):
        entry["state_updated_at"] = _UUID_EPOCH
    await restore(thread_id)


def metadata_of(thread_id: str) -> Mapping[str, Any] | None:
    """Return the metadata of the registry's entry of a thread; `None` if there is no entry."""
    wanted = _id(thread_id)
    entry = None if wanted is None else runtime.find_thread(wanted)
    return None if entry is None else entry["metadata"]


def own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that are a thread's own, of those of its entry or of a checkpoint."""
    return {key: value for key, value in metadata.items() if key not in {*OF_THE_RUN, SHARED, "user_id"}}


async def has_run(thread_id: str, run_id: str) -> bool:
    """Return whether a run is one of a thread. The runtime does not check this for all routes."""
    if not _has_run(thread_id, run_id):
        await restore(thread_id)  # it may be another process's
    return _has_run(thread_id, run_id)


def _has_run(thread_id: str, run_id: str) -> bool:
    wanted = (_id(thread_id), _id(run_id))
    known = [*runtime.runs(), *(elsewhere.open_runs(wanted[0]) if wanted[0] is not None else ())]
    return any((run["thread_id"], run["run_id"]) == wanted for run in known)


async def mark_shared(user_id: str, thread_ids: Collection[str]) -> None:
    """Note in the registry which threads are shared with a user, for the filter of the user's lists."""
    for thread_id in thread_ids:
        await restore(thread_id)
    for entry in runtime.threads():
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


async def _enter(
    saver: BaseCheckpointSaver[Any], head: Head, rows: Collection[Run], leased: Collection[str] | None = None
) -> None:
    thread_id = _id(head.thread_id)
    if thread_id is None:
        return  # the server only takes UUIDs; the command line and Python take any id
    read = await _read(saver, head)
    known = await asyncio.to_thread(_known, saver, head.thread_id, {} if isinstance(read, Exception) else read)
    if runtime.find_thread(thread_id) is not None:  # another request has entered it meanwhile
        elsewhere.enter(rows)  # which it may have read before
        return
    entry = _entry(thread_id, *known, _time(head.first_id), _time(head.checkpoint_id))
    runtime.threads().append(entry)
    elsewhere.enter(rows)
    await _refresh(entry, head, read, rows, leased)


async def _is_outdated(entry: Entry, head: Head) -> bool:
    """Return whether an entry is older than its thread, or says "busy" and nobody is at work any more."""
    if "values" not in entry or _time(head.checkpoint_id) > entry["state_updated_at"]:
        return True
    is_busy = entry["status"] == "busy" and not elsewhere.open_runs(entry["thread_id"])
    return is_busy and head.thread_id not in await _leased(head.thread_id)


async def _leased(thread_id: str | None = None) -> Collection[str]:
    record = current()
    return () if record is None else await record.saver.threads.arunning(thread_id)


async def _enter_begun(begun: Begun, rows: Collection[Run]) -> None:
    """Enter a thread that has no checkpoint yet."""
    thread_id = _id(begun.thread_id)
    if thread_id is None:
        return
    if runtime.find_thread(thread_id) is not None:
        elsewhere.enter(rows)
        return
    entry = _entry(thread_id, begun.user_id, begun.metadata, begun.created_at, begun.updated_at)
    runtime.threads().append(entry)
    elsewhere.enter(rows)
    if not rows and (record := current()) is not None:  # when the server starts, only those that are open are known
        rows = await record.saver.runs.alist(begun.thread_id, limit=1)
    _set_status_before_first_step(entry, rows)


def _known(
    saver: BaseCheckpointSaver[Any], thread_id: str, metadata: Mapping[str, Any]
) -> tuple[str | None, Mapping[str, Any]]:
    """Return the user and the metadata of a thread. Its newest checkpoint names the user of the last run."""
    user_id = metadata.get("user_id")  # the server writes "" if no user was named
    if not isinstance(saver, HoldfastSaver):
        return user_id, metadata
    begun = saver.threads.begun(thread_id)
    if begun is None:  # it is not in the index of threads yet
        return saver.threads.owner(thread_id) or user_id, metadata
    return begun.user_id or user_id, {**metadata, **begun.metadata}


async def _read(saver: BaseCheckpointSaver[Any], head: Head) -> Mapping[str, Any] | Exception:
    """Return the metadata of a thread's newest checkpoint, or the error with which that cannot be read."""
    try:
        found = await saver.aget_tuple(_config(head.thread_id))
    except Exception as error:  # noqa: BLE001 - each checkpointer has its own
        return error
    return cast("Mapping[str, Any]", found.metadata) if found else {}


async def _refresh(
    entry: Entry,
    head: Head,
    read: Mapping[str, Any] | Exception,
    rows: Iterable[Run],
    leased: Collection[str] | None = None,
) -> None:
    """Set an entry's status, values and pauses to those of the newest checkpoint.

    Args:
        entry: the entry.
        head: the newest checkpoint.
        read: its metadata, or the error with which it cannot be read.
        rows: the newest runs of the thread.
        leased: the threads whose lease is held, if they are known.
    """
    if leased is None:
        leased = await _leased(head.thread_id)
    checkpoint: dict[str, Any] | None = None
    failed = unreadable = read if isinstance(read, Exception) else None
    if unreadable is None:
        try:
            # In the form from which the runtime derives a thread's status.
            state = await runtime.state_of(_config(head.thread_id))
            tasks = [{"id": task.id, "interrupts": task.interrupts} for task in state.tasks]
            checkpoint = {"values": state.values, "next": state.next, "tasks": tasks}
            failed = None if state.interrupts else _failure(state, rows, _time(head.checkpoint_id))
        except Exception as error:  # noqa: BLE001 - a thread that a graph cannot read must not stop the server
            failed = unreadable = error
    if unreadable is not None:
        _log.warning("Thread %s cannot be read: %s", head.thread_id, unreadable)
    await runtime.set_status(entry["thread_id"], checkpoint, failed)
    entry["updated_at"] = entry["state_updated_at"] = _time(head.checkpoint_id)
    _note_lease(entry, leased)
    elsewhere.arrange(entry["thread_id"])


def _note_lease(entry: Entry, leased: Collection[str]) -> None:
    """Set a thread to busy while another process holds its lease, such as a conversation in Python."""
    record, is_held = current(), str(entry["thread_id"]) in leased
    if record is not None:
        (record.leased.add if is_held else record.leased.discard)(entry["thread_id"])
    if is_held:
        entry["status"] = "busy"


def _failure(state: StateSnapshot, rows: Iterable[Run], head_at: datetime) -> Exception | None:
    """Return why the last turn of a thread failed, if it did."""
    newest = next(iter(rows), None)
    if newest is not None and newest.state == "failed" and newest.ended_at is not None and newest.ended_at >= head_at:
        kind: type[RuntimeError] = type(newest.error_type or "RuntimeError", (RuntimeError,), {})
        return kind(newest.error or "")
    errors: list[Any] = [task.error for task in state.tasks if task.error is not None]
    for error in errors:  # of a remote graph it is text
        return error if isinstance(error, Exception) else RuntimeError(str(error))
    return None


def _set_status_before_first_step(entry: Entry, rows: Iterable[Run]) -> None:
    """Set the status of a thread without a checkpoint, which that of its newest run is."""
    newest = next(iter(rows), None)
    if any(runtime.active_runs(entry["thread_id"])):
        entry["status"] = "busy"
    elif newest is not None and newest.state == "failed":
        entry.update(status="error", error={"error": newest.error_type, "message": newest.error})
    else:
        entry["status"] = "idle"
    elsewhere.arrange(entry["thread_id"])


def _empty(entry: Entry) -> None:
    """Set an entry to that of a thread whose runs were all deleted."""
    entry.update(status="idle", values=None, interrupts={}, error=None, state_updated_at=datetime.now(UTC))


def _has_runs(thread_id: UUID) -> bool:
    return any(run["thread_id"] == thread_id for run in runtime.runs())


async def _forget(thread_id: UUID) -> None:
    async with runtime.deleting:
        runtime.threads()[:] = [entry for entry in runtime.threads() if entry["thread_id"] != thread_id]


def _config(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def _entry(
    thread_id: UUID, user_id: str | None, metadata: Mapping[str, Any], created_at: datetime, updated_at: datetime
) -> Entry:
    return {
        "thread_id": thread_id,
        "created_at": created_at,
        "updated_at": updated_at,
        "state_updated_at": updated_at,
        # Without a graph the server shows an empty state. A thread that began elsewhere is given the first graph.
        "metadata": {
            "graph_id": next(iter(runtime.graphs())),
            **own_metadata(metadata),
            **({"user_id": user_id} if user_id else {}),
        },
        "status": "idle",
        "config": {"configurable": {"user_id": user_id}} if user_id else {},
        "values": None,
    }


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _time(checkpoint_id: str) -> datetime:
    """Return the time at which a checkpoint was made, from its id, a UUID of version 6: https://www.rfc-editor.org/rfc/rfc9562#section-5.6"""
    number = UUID(checkpoint_id).int
    return _UUID_EPOCH + timedelta(microseconds=((number >> 80) << 12 | (number >> 64) & 0xFFF) // 10)
