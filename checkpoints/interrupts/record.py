"""What saving a thread does with its questions: more statements in a transaction that is there anyway."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from langgraph.types import Interrupt

from holdfast.checkpoints.backends.base import Call, CheckpointKey, Transaction, write_place
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained, rows_of
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.langgraph_internals import INTERRUPT
from holdfast.checkpoints.serde.values import Attachable

# Where LangGraph keeps the pause of a task.
_PLACE: Final = -3


def ask_again(transaction: Transaction, database: Database, source: str, target: str) -> None:
    """Ask anew, in a fork that has no questions yet, what is asked on its newest checkpoint; each as long as in the
    thread that it is a fork of. A task may have asked other things there before."""
    sql = database.backend.sql
    statement = sql["unlisted"].where("c.thread_id = :thread_id")
    [rows] = transaction.run([(statement, {"thread_id": target})])
    for _, checkpoint_id, task_id, type_, blob in rows:
        key = CheckpointKey(target, "", checkpoint_id)
        params = {"source": source, "target": target, "checkpoint_id": checkpoint_id}
        asked = pauses(opened(transaction, database, key, task_id, type_, blob))
        transaction.send([(sql["ask_again"], {**params, "interrupt_id": pause.id}) for pause in asked])


def opened(
    transaction: Transaction, database: Database, key: CheckpointKey, task_id: str, type_: str, blob: bytes
) -> Any:
    """What a task asks; or, in place of it, why it cannot be read."""
    try:
        with explained(key.thread_id, key.checkpoint_id, INTERRUPT):
            place = write_place(key, task_id, _PLACE)
            part = Attachable(INTERRUPT, *database.sealer.open_value(key.thread_id, place, type_, blob or b""))
            seqs = {abs(ref) for refs in part.lists for ref in refs}
            return part.attach(rows_of(transaction, database, key.thread_id, seqs).make, database.types)
    except HoldfastError as error:
        return error


def pauses(value: Any) -> list[Interrupt[Any]]:
    """The pauses in what a task wrote as its interrupt."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [pause for pause in several if isinstance(pause, Interrupt)]


def noted(database: Database, key: CheckpointKey, task_id: str, writes: Sequence[tuple[str, Any]]) -> list[Call]:
    """The calls that list what a task asks.

    A pause inside of a subgraph comes up to the graph itself, under the same id, so only those there are listed.
    """
    if key.ns:
        return []
    asked = [pause for channel, value in writes if channel == INTERRUPT for pause in pauses(value)]
    if not asked:
        return []
    which = {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id, "task_id": task_id}
    now = {**which, "interrupt_ids": database.backend.array([pause.id for pause in asked])}
    return [*listed(database, key, task_id, asked), (database.backend.sql["close_replaced"], now)]


def moved_on(database: Database, key: CheckpointKey, thread: str) -> list[Call]:
    """The calls that close what was asked before a checkpoint.

    Only where the run has seen a question when it loaded the thread: others are closed by and by (`expire`), and until
    then are known to be over by the checkpoint that they were asked on.
    """
    if key.ns or not getattr(thread, "asked", False):
        return []
    return [(database.backend.sql["close_before"], {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id})]


def taken_back(database: Database, thread_id: str, run_ids: Collection[str]) -> list[Call]:
    """The calls that bring questions back to what they were before some runs, when all else of these is undone."""
    sql, params = database.backend.sql, {"thread_id": thread_id}
    again = [(sql["reopen_for_run"], {**params, "run_id": run_id}) for run_id in run_ids]
    return [*again, (sql["reopen_head"], params), (sql["forget_unasked"], params)]


def listed(
    database: Database,
    key: CheckpointKey,
    task_id: str,
    asked: Sequence[Interrupt[Any]],
    *,
    asked_at: float | None = None,
) -> list[Call]:
    """The calls that give questions their rows.

    Args:
        store: the database.
        key: the checkpoint that they are asked on.
        task_id: the task that asks.
        asked: the questions.
        asked_at: when, if they were saved without; now by default. Nobody knows then how long they were to wait.
    """
    params = {**key._asdict(), "task_id": task_id, "asked_at": asked_at}
    note = database.backend.sql["note_interrupt"]
    return [
        (note, {**params, "interrupt_id": pause.id, "expires_in": _expires_in(pause.value) if not asked_at else None})
        for pause in asked
    ]


def _expires_in(value: Any) -> float | None:
    """How many seconds a question is to wait, if it says so."""
    seconds = value.get("expires_in") if isinstance(value, Mapping) else None
    return float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
