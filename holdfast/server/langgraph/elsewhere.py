"""The runs that are on record and that this server does not carry out: those of other processes, and those that have
ended.

One that has ended is in the runtime's list of runs. Of the open ones of a thread only the first may be there, as a run
that is "running": the queue lets it end before it begins another one of the thread. It would begin a pending one, and
wait for a later one for ever. What reads runs is shown the others as well, by `shown`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from holdfast.checkpoints import Run
from holdfast.server.langgraph import runtime
from holdfast.server.langgraph.record import current, graph_of_row
from holdfast.server.langgraph.runtime import Entry

_STATUSES: Final = {"done": "success", "failed": "error", "cancelled": "interrupted"}


def enter(rows: Iterable[Run]) -> bool:
    """Enter runs of a thread that are on record and that the registry does not have, or update them.

    Returns:
        Whether any was changed.
    """
    changed = {UUID(row.thread_id) for row in rows if _enter(row)}
    for thread_id in changed:
        arrange(thread_id)
    return bool(changed)


def _enter(row: Run) -> bool:
    record, run_id = current(), _id(row.run_id)
    if record is None or run_id is None:
        return False
    known = runtime.find_run(run_id)
    # One that this server has just claimed is shown as another's until it is entered, which takes its time.
    if known is not None and run_id not in record.elsewhere and record.has(row.run_id):
        return False
    if row.is_open:
        is_new = run_id not in record.elsewhere
        record.elsewhere.setdefault(run_id, _entry(row, run_id, "pending"))
        return is_new
    entry = record.elsewhere.pop(run_id, None)
    if entry is None and (known is not None or graph_of_row(row) is None):
        return False  # it is known, or is a turn of a conversation in Python, which has its own record
    if known is None:
        runtime.runs().append(entry or _entry(row, run_id, ""))
    found = known or runtime.runs()[-1]
    found.update(status=_STATUSES[row.state], updated_at=row.ended_at or found["updated_at"])
    return True


def arrange(thread_id: UUID) -> None:
    """Let the first open run of a thread be the next: one of another process holds those of this server up.

    The order is that of the database's clock, which is the same to each server: else two might wait for each other.
    """
    record = current()
    theirs = open_runs(thread_id)
    if record is None or not theirs:
        return
    active = (run for run in runtime.active_runs(thread_id) if run["run_id"] not in record.elsewhere)
    ours = [record.accepted_at(run["run_id"]) or run["created_at"] for run in active]
    first = theirs[0] if not ours or theirs[0]["created_at"] < min(ours) else None
    for run in theirs:
        run["status"] = "running" if run is theirs[0] else "pending"
    runtime.runs()[:] = [run for run in runtime.runs() if run["run_id"] not in record.elsewhere or run is first]
    if first is not None and runtime.find_run(first["run_id"]) is None:
        runtime.runs().append(first)
    if (thread := runtime.find_thread(thread_id)) is not None:
        thread["status"] = "busy"


def open_runs(thread_id: UUID) -> list[Entry]:
    """Return the open runs of a thread that other processes carry out, oldest first."""
    known = [] if (record := current()) is None else record.elsewhere.values()
    return sorted((run for run in known if run["thread_id"] == thread_id), key=lambda run: run["created_at"])


def shown(thread_id: UUID) -> list[Entry]:
    """Return the open runs of a thread that the runtime's list lacks."""
    return [run for run in open_runs(thread_id) if runtime.find_run(run["run_id"]) is None]


def remove(run_id: UUID) -> None:
    """Take a run out of the registry."""
    runtime.runs()[:] = [run for run in runtime.runs() if run["run_id"] != run_id]
    if (record := current()) is not None:
        record.elsewhere.pop(run_id, None)


def is_at_work_here(thread_id: UUID) -> bool:
    """Return whether this server has a run of a thread that has not ended."""
    record = current()
    known = record.elsewhere if record is not None else {}
    return any(run["run_id"] not in known for run in runtime.active_runs(thread_id))


def _entry(row: Run, run_id: UUID, status: str) -> Entry:
    graph = graph_of_row(row) or next(iter(runtime.graphs()))
    own: dict[str, Any] = {"run_id": row.run_id, "thread_id": row.thread_id, "graph_id": graph}
    return {
        "run_id": run_id,
        "thread_id": UUID(row.thread_id),
        "assistant_id": runtime.assistant_of(graph),
        "metadata": {},
        "status": status,
        "kwargs": {"config": {"configurable": own}},
        "multitask_strategy": "enqueue",
        "created_at": row.accepted_at,
        "updated_at": row.ended_at or row.started_at or row.accepted_at,
    }


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
