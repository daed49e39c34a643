"""The statements by which saving, copying and rolling back a thread keep its requests for a person up to date.

A request is a pause of a graph (`interrupt`) as a row of its own. Each statement runs in a transaction that is there
anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, write_place
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.langgraph_internals import INTERRUPT, graph_type
from holdfast.checkpoints.load import explained, rows_of
from holdfast.checkpoints.serde.values import Attachable

if TYPE_CHECKING:
    from langgraph.types import Interrupt

# The index under which LangGraph stores the pauses of a task among its writes.
_INTERRUPT_INDEX: Final = -3


def insert_requests_of_fork(transaction: Transaction, database: Database, source: str, target: str) -> None:
    """Give a fork, which has no requests yet, those of its newest checkpoint.

    Each expires when the request of the source does. A task may have asked for other things there before; these are
    left out.
    """
    sql = database.backend.sql
    statement = sql["unlisted"].where("asked.thread_id = :thread_id")
    [rows] = transaction.run([(statement, {"thread_id": target})])
    for _, checkpoint_id, task_id, type_, blob in rows:
        key = CheckpointKey(target, "", checkpoint_id)
        params = {"source": source, "target": target, "checkpoint_id": checkpoint_id}
        pauses = interrupts_in(read_interrupts(transaction, database, key, task_id, type_, blob))
        transaction.send([(sql["ask_again"], {**params, "interrupt_id": pause.id}) for pause in pauses])


def read_interrupts(
    transaction: Transaction, database: Database, key: CheckpointKey, task_id: str, type_: str, blob: bytes
) -> Any:
    """Read what a task wrote when it paused, or return the error that says why it cannot be read."""
    try:
        with explained(key.thread_id, key.checkpoint_id, INTERRUPT):
            place = write_place(key, task_id, _INTERRUPT_INDEX)
            part = Attachable(INTERRUPT, *database.sealer.open_value(key.thread_id, place, type_, blob or b""))
            seqs = {abs(ref) for refs in part.lists for ref in refs}
            return part.attach(rows_of(transaction, database, key.thread_id, seqs).make, database.types)
    except HoldfastError as error:
        return error


def interrupts_in(value: Any) -> list[Interrupt[Any]]:
    """Return the interrupts in what a task wrote when it paused."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [pause for pause in values if isinstance(pause, graph_type("Interrupt"))]


def save_requests(
    database: Database, key: CheckpointKey, task_id: str, writes: Sequence[tuple[str, Any]]
) -> list[Call]:
    """Return the calls that save the requests in a task's writes, and close those that they replace.

    A pause in a subgraph reaches the graph itself under the same id, so those of subgraphs are left out.
    """
    if key.ns:
        return []
    pauses = [pause for channel, value in writes if channel == INTERRUPT for pause in interrupts_in(value)]
    if not pauses:
        return []
    task = {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id, "task_id": task_id}
    current = {**task, "interrupt_ids": database.backend.array([pause.id for pause in pauses])}
    return [*insert_requests(database, key, task_id, pauses), (database.backend.sql["close_replaced"], current)]


def close_earlier_requests(database: Database, key: CheckpointKey, thread: str) -> list[Call]:
    """Return the calls that close the requests of the checkpoints before this one.

    There are none unless the run has loaded a thread with a request. Other requests are over as soon as a newer
    checkpoint exists, and `Interrupts.expire` closes their rows later.
    """
    if key.ns or not getattr(thread, "had_interrupt", False):
        return []
    return [(database.backend.sql["close_before"], {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id})]


def restore_requests(database: Database, thread_id: str, run_ids: Collection[str]) -> list[Call]:
    """Return the calls that reset requests to what they were before some runs, after all else of the runs is undone."""
    sql, params = database.backend.sql, {"thread_id": thread_id}
    reopened = [(sql["reopen_for_run"], {**params, "run_id": run_id}) for run_id in run_ids]
    return [*reopened, (sql["reopen_head"], params), (sql["forget_unasked"], params)]


def insert_requests(
    database: Database,
    key: CheckpointKey,
    task_id: str,
    pauses: Sequence[Interrupt[Any]],
    *,
    asked_at: float | None = None,
) -> list[Call]:
    """Return the calls that insert requests, unless they are there already.

    Args:
        database: the database.
        key: the checkpoint on which the task paused.
        task_id: the task.
        pauses: its interrupts.
        asked_at: the time of a pause that was saved without a request; by default now. Such a request never expires,
            since the time that its value allows may be over already.
    """
    params = {**key._asdict(), "task_id": task_id, "asked_at": asked_at}
    statement = database.backend.sql["note_interrupt"]
    return [
        (
            statement,
            {**params, "interrupt_id": pause.id, "expires_in": None if asked_at else _expires_in(pause.value)},
        )
        for pause in pauses
    ]


def _expires_in(value: Any) -> float | None:
    """Return the seconds after which a request expires, if its value has them."""
    seconds = value.get("expires_in") if isinstance(value, Mapping) else None
    return float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
