"""What the runtime does about threads and runs is recorded in the database before its client is told.

Each hook goes around a method of the runtime. A change is made to a copy of the registry first, so that a client who is
refused, or whose request could not be stored, leaves no trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException

from holdfast.checkpoints.errors import DatabaseUnavailable
from holdfast.server.langgraph import elsewhere, registry, runtime
from holdfast.server.langgraph.record import RunRecord, current
from holdfast.server.langgraph.runtime import ACTIVE, Entry

Original: TypeAlias = Callable[..., Any]

# Set by how a run ended in the registry.
_STATES: Final = {"success": "done", "interrupted": "cancelled", "error": "failed", "timeout": "failed"}

_locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()


def install() -> None:
    """Put the hooks around the runtime's methods. Idempotent."""
    runtime.wrap("Threads.delete", _delete_thread)
    runtime.wrap("Threads.put", _put_thread)
    runtime.wrap("Threads.patch", _patch_thread)
    runtime.wrap("Threads.search", _search_threads)
    runtime.wrap("Threads.count", _search_threads)
    runtime.wrap("Threads.set_joint_status", _end_run)
    runtime.wrap("Runs.put", _put_run)
    runtime.wrap("Runs.cancel", _cancel_runs)
    runtime.wrap("Runs.delete", _delete_run)
    runtime.wrap("Runs.get", _get_run)
    runtime.wrap("Runs.search", _search_runs)


def _lock_of(thread_id: UUID) -> asyncio.Lock:
    return _locks.setdefault(thread_id, asyncio.Lock())


async def _on_trial(original: Original, thread_id: UUID, /, *args: Any, **options: Any) -> tuple[list[Entry], Any]:
    """Call a method of the runtime on a copy of what the registry has of a thread.

    Returns:
        What the method found, and the connection to the copy, which it has changed.
    """
    trial = runtime.copy_of_registry(thread_id, elsewhere.shown(thread_id))
    return [entry async for entry in await original(trial, *args, **options)], trial


# --- runs


async def _put_run(original: Original, connection: Any, assistant_id: Any, kwargs: Any, **options: Any) -> Any:
    """Accept a run: it is in the registry when it is in the database. One without a lasting thread is not recorded."""
    _check_beginning(options.get("after_seconds") or 0)
    record, thread_id, run_id = current(), options.get("thread_id"), options.get("run_id")
    if record is None or kwargs.get("temporary") or thread_id is None or run_id is None:
        return await original(connection, assistant_id, kwargs, **options)
    thread_id = UUID(str(thread_id))
    if kwargs.get("durability") == "async":  # what a client has seen must outlive the process
        kwargs = {**kwargs, "durability": "sync"}
    if runtime.find_thread(thread_id) is None:  # a cron may name one that no request has named
        await registry.restore(str(thread_id))
    async with _lock_of(thread_id):
        found, trial = await _on_trial(original, thread_id, assistant_id, kwargs, **options)
        if not found or str(found[0]["run_id"]) != str(run_id):
            return _each(found)
        [thread] = trial.store["threads"]
        is_new = runtime.find_thread(thread_id) is None
        if is_new:
            await _begin(record, thread)
        await record.accept(found[0])
        if not enter_run(found[0], thread, is_new=is_new):  # the thread was deleted meanwhile
            await record.delete(run_id)
            return _each([])
    return _each(found)


def _check_beginning(after_seconds: float) -> None:
    """Check that there is a time at which a run begins.

    Raises:
        HTTPException: there is none (422).
    """
    try:
        datetime.now(UTC) + timedelta(seconds=after_seconds)
    except (OverflowError, ValueError):
        raise runtime.refused(
            422,
            "With this after_seconds the run would begin at no date of the calendar, which ends with the year 9999. "
            "Needed: the seconds until it begins.",
        ) from None


def enter_run(run: Entry, thread: Entry | None = None, *, is_new: bool = False) -> bool:
    """Enter a run on record into the registry, as the runtime does.

    Args:
        run: the run.
        thread: its thread, as the runtime has it with this run.
        is_new: whether the thread was not there before.

    Returns:
        Whether its thread is there.
    """
    entry = runtime.find_thread(run["thread_id"])
    if entry is None and (thread is None or not is_new):
        return False
    if entry is None:
        runtime.threads().append(thread)  # type: ignore[arg-type]
    elif entry["status"] != "busy":
        entry["status"] = "busy"
        if thread is not None:
            names = {"graph_id", "assistant_id"} & thread["metadata"].keys()
            metadata = {**entry["metadata"], **{name: thread["metadata"][name] for name in names}}
            entry.update(metadata=metadata, config=thread["config"], updated_at=thread["updated_at"])
    elsewhere.remove(run["run_id"])  # another request may have found its row first
    runtime.runs().append(run)
    elsewhere.arrange(run["thread_id"])
    return True


async def _end_run(
    original: Original, connection: Any, thread_id: Any, run_id: Any, run_status: Any, *rest: Any, **options: Any
) -> Any:
    """Record how a run ended before its client can see it. A rollback deletes the run."""
    record, state = current(), _STATES.get(run_status)
    if record is not None and state is not None:
        error = options.get("exception", rest[2] if len(rest) > 2 else None)
        await record.end(run_id, state, error if state == "failed" else None)  # type: ignore[arg-type]
    result = await original(connection, thread_id, run_id, run_status, *rest, **options)
    thread = runtime.find_thread(UUID(str(thread_id)))
    if thread is not None and thread["status"] == "error" and thread.get("interrupts"):
        thread.update(status="interrupted", error=None)  # what waits can be answered, as the database says
    elsewhere.arrange(UUID(str(thread_id)))  # the thread is busy still if another process has a run of it
    return result


async def _cancel_runs(original: Original, connection: Any, run_ids: Any = None, **options: Any) -> Any:
    """Record which runs were asked to stop: if this process dies, the next one must not go on with them."""
    record, thread_id = current(), options.get("thread_id")
    if record is None:
        return await original(connection, run_ids, **options)
    theirs, rolls_back = [*record.elsewhere.values()], options.get("action") == "rollback"
    before = {run["run_id"]: run["status"] for run in [*runtime.runs(), *theirs] if run["status"] in ACTIVE}
    if rolls_back:
        theirs = [{**run} for run in theirs]  # they are shown as at work until nothing of them is left
        await _roll_back(original, record, theirs, run_ids, **options)
    else:
        more = [] if thread_id is None else elsewhere.shown(UUID(str(thread_id)))
        await original(runtime.with_runs(more), run_ids, **options)
    named = {str(run_id) for run_id in run_ids or ()}
    known = {run["run_id"]: run for run in [*runtime.runs(), *theirs] if run["run_id"] in before}
    stopped = [run for id_, run in known.items() if str(id_) in named or run["status"] == "interrupted"]
    for run in stopped:
        await record.cancel(run["run_id"], has_begun=before[run["run_id"]] == "running", rolls_back=rolls_back)
    for waited_in in {run["thread_id"] for run in stopped if before[run["run_id"]] == "pending"}:
        await registry.refresh(waited_in)
    return None


async def _roll_back(
    original: Original, record: RunRecord, theirs: Iterable[Entry], run_ids: Any, **options: Any
) -> None:
    """Roll back the runs of this server, and mark those of others, which the servers that have them roll back.

    Raises:
        HTTPException: there is none to roll back (404), or the caller may not.
    """
    ours = [run for run in runtime.runs() if run["run_id"] not in record.elsewhere]
    missing = []
    for runs, action in ((ours, "rollback"), (theirs, "interrupt")):
        try:
            await original(runtime.only_runs(runs), run_ids, **{**options, "action": action})
        except HTTPException as error:
            if error.status_code != 404:
                raise
            missing.append(error)
    if len(missing) > 1:
        raise missing[0]
    for thread_id in {run["thread_id"] for run in theirs if run["status"] not in ACTIVE}:
        elsewhere.arrange(thread_id)


async def _delete_run(original: Original, connection: Any, run_id: Any, **options: Any) -> Any:
    record, wanted = current(), UUID(str(run_id))
    if record is not None and wanted in record.elsewhere:
        connection = runtime.with_runs([record.elsewhere[wanted]])
    result = await original(connection, run_id, **options)
    if record is not None:
        elsewhere.remove(wanted)
        await record.delete(run_id)
        await registry.refresh(UUID(str(options["thread_id"])))
    return result


async def _get_run(original: Original, connection: Any, run_id: Any, **options: Any) -> Any:
    thread_id = options.get("thread_id")
    if thread_id is not None and (more := elsewhere.shown(UUID(str(thread_id)))):
        connection = runtime.with_runs(more)
    return await _at_once(original(connection, run_id, **options))


async def _search_runs(original: Original, connection: Any, thread_id: Any, **options: Any) -> Any:
    if more := elsewhere.shown(UUID(str(thread_id))):
        connection = runtime.with_runs(more)
    return await _at_once(original(connection, thread_id, **options))


# --- threads


async def _put_thread(original: Original, connection: Any, thread_id: Any, **options: Any) -> Any:
    """Create a thread: its user and metadata are in the database when its client is told."""
    record = current()
    if record is None:
        return await original(connection, thread_id, **options)
    thread_id = UUID(str(thread_id))
    async with _lock_of(thread_id):
        found, _ = await _on_trial(original, thread_id, thread_id, **options)
        if found and runtime.find_thread(thread_id) is None:
            await _begin(record, found[0])
            if runtime.find_thread(thread_id) is None:
                runtime.threads().append(found[0])
    return _each(found)


async def _patch_thread(original: Original, connection: Any, thread_id: Any, **options: Any) -> Any:
    record = current()
    if record is None:
        return await original(connection, thread_id, **options)
    thread_id = UUID(str(thread_id))
    async with _lock_of(thread_id):
        found, _ = await _on_trial(original, thread_id, thread_id, **options)
        for changed in found:
            await _begin(record, changed)
            if (entry := runtime.find_thread(thread_id)) is not None:
                entry.update(metadata=changed["metadata"], updated_at=changed["updated_at"])
    return _each(found)


async def _search_threads(original: Original, connection: Any, **options: Any) -> Any:
    """Search or count threads, with the statuses that they have now: others may have begun or ended turns.

    A thread without values is no match for a search in values, over which the runtime fails.
    """
    with suppress(DatabaseUnavailable):  # the worker says so in the log
        await registry.look_elsewhere()
    return await original(runtime.with_values() if options.get("values") else connection, **options)


async def _delete_thread(original: Original, *args: Any, **options: Any) -> Any:
    """Delete one thread at a time.

    The runtime looks up the index of a thread in its list, waits for the checkpointer, and then removes the entry at
    that index. With two deletions at once, one would remove another thread.
    """
    async with runtime.deleting:
        return await original(*args, **options)


async def _begin(record: RunRecord, thread: Entry) -> None:
    """Put a thread of the registry on record.

    Raises:
        HTTPException: the database is out of reach.
    """
    metadata = registry.own_metadata(thread["metadata"])
    await record.begin_thread(str(thread["thread_id"]), metadata, thread["metadata"].get("user_id") or None)


async def _at_once(asked: Awaitable[AsyncIterator[Entry]]) -> AsyncIterator[Entry]:
    """Look up entries now. The server reads what was found a moment later, when the lists may be arranged anew."""
    return _each([entry async for entry in await asked])


async def _each(found: Iterable[Entry]) -> AsyncIterator[Entry]:
    for entry in found:
        yield entry
