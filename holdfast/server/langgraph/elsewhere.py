"""Runs in the registry that this server does not carry out: those of other processes, and those that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from holdfast.checkpoints import Run
from holdfast.server.langgraph import runtime
from holdfast.server.langgraph.record import RunRecord, current, graph_of_row
from holdfast.server.langgraph.runtime import Entry

# An open run is never "pending": this server would begin it.
_STATUSES: Final = {
    "accepted": "running",
    "running": "running",
    "done": "success",
    "failed": "error",
    "cancelled": "interrupted",
}


def enter(rows: Iterable[Run]) -> bool:
    """Enter runs that are on record and that the registry does not have, or update them.

    Returns:
        Whether any was changed.
    """
    changed = [_enter(row) for row in rows]
    return any(changed)


def _enter(row: Run) -> bool:
    record, run_id, status = current(), _id(row.run_id), _STATUSES[row.state]
    if record is None or run_id is None or record.holds(row.run_id):
        return False
    entry = runtime.find_run(run_id)
    if entry is None:
        if not row.is_open and graph_of_row(row) is None:
            return False  # a turn of a conversation in Python, which has its own record
        runtime.runs().append(_entry(row, run_id, status))
    elif run_id not in record.elsewhere or entry["status"] == status:
        return False
    else:
        entry.update(status=status, updated_at=row.ended_at or entry["updated_at"])
    (record.elsewhere.add if row.is_open else record.elsewhere.discard)(run_id)
    return True


def remove(run_id: UUID) -> None:
    """Take a run out of the registry."""
    runtime.runs()[:] = [run for run in runtime.runs() if run["run_id"] != run_id]
    if (record := current()) is not None:
        record.elsewhere.discard(run_id)


def is_at_work_here(thread_id: UUID) -> bool:
    """Return whether this server has a run of a thread that has not ended."""
    record = current()
    known = record.elsewhere if record is not None else ()
    return any(run["run_id"] not in known for run in runtime.active_runs(thread_id))


def ready(limit: int) -> list[Entry]:
    """Return runs of this server that wait, and that no earlier run of their thread is in front of.

    The runtime begins none while the registry has a running one of the thread, and what other servers have is running:
    two servers that accept a run of one thread at once would wait for each other.

    Args:
        limit: the maximum number of runs.
    """
    record, now = current(), datetime.now(UTC)
    if record is None:
        return []
    waiting = [run for run in runtime.runs() if run["status"] == "pending" and run["created_at"] < now]
    first = (run for run in sorted(waiting, key=_created_at) if _is_first(record, run))
    return [*islice(first, limit)]


def _created_at(run: Entry) -> datetime:
    created_at: datetime = run["created_at"]
    return created_at


def _is_first(record: RunRecord, run: Entry) -> bool:
    accepted_at = record.accepted_at(run["run_id"])
    if accepted_at is None:
        return False
    for other in runtime.active_runs(run["thread_id"]):
        if other["run_id"] in record.elsewhere:  # by the times of the database, which are the same to each server
            is_behind = (accepted_at, str(run["run_id"])) < (other["created_at"], str(other["run_id"]))
        else:
            is_behind = other is run or (other["status"] == "pending" and run["created_at"] < other["created_at"])
        if not is_behind:
            return False
    return True


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
