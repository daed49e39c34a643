"""Rollback of runs: deletion of everything that only they have saved."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row
from holdfast.checkpoints.config import run_value
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline
from holdfast.checkpoints.errors import DamagedThread
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.load import explained
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.threads import reindex
from holdfast.checkpoints.threads.prune import lock_and_outline, remove_checkpoints, searched_up_to


def record_run_writes(
    database: Database, key: CheckpointKey, run_id: str | None, task_id: str, places: Sequence[int], *, replace: bool
) -> list[Call]:
    """Build the calls that record what a run writes onto another run's checkpoint, before it is written.

    Args:
        database: the database.
        key: the checkpoint.
        run_id: the run; `None` if it has no id, so that it can never be rolled back.
        task_id: the task that writes.
        places: the places of the writes within the task.
        replace: whether the writes replace those that are there.
    """
    if run_id is None:
        return []
    params = {**key._asdict(), **_run_params(run_id), "task_id": task_id, "replace": replace}
    return [(database.backend.sql["note_write"], {**params, "idx": idx}) for idx in places]


def _run_params(run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "run_value": run_value(run_id)}


def threads_of_runs(database: Database, run_ids: Sequence[str]) -> list[str]:
    """Return the ids of the threads in which at least one of the runs has saved something."""
    with database.backend.reading() as transaction:
        found = transaction.run([(database.backend.sql["threads_of_run"], _run_params(run_id)) for run_id in run_ids])
    return sorted({str(row.thread_id) for rows in found for row in rows})


def delete_runs(database: Database, thread_id: str, run_ids: Collection[str]) -> None:
    """Delete what some runs have saved in a thread.

    That is their checkpoints, their writes onto other checkpoints, and the message rows to which nothing refers any
    more. A writer that loaded the thread before is refused afterwards.

    Raises:
        DamagedThread: a part of the thread cannot be read. Nothing was deleted.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    with database.backend.writing() as transaction:
        thread = lock_and_outline(transaction, database, thread_id)
        run_writes, state = transaction.run([(sql["run_writes"], params), (sql["index_state"], params)])
        gone = {ns: _checkpoints_of_runs(there, run_ids) for ns, there in thread.items()}
        losing: dict[str, set[str]] = {}
        for write in run_writes:
            if write.run_id in run_ids and write.checkpoint_id not in gone.get(write.ns, ()):
                losing.setdefault(write.ns, set()).add(write.checkpoint_id)
        if not losing and not any(gone.values()):
            return
        for ns, there in thread.items():
            survivors = [outline for id_, outline in there.items() if id_ not in gone[ns]]
            remove_checkpoints(
                transaction,
                database,
                CheckpointKey(thread_id, ns, ""),
                there,
                gone[ns],
                survivors,
                relink=[outline.checkpoint_id for outline in survivors],
                losing=losing.get(ns, ()),
            )
        transaction.send(_undo_run_writes(database, thread_id, run_writes, run_ids, gone))
        transaction.send([(sql["forget_run"], {**params, "run_id": run_id}) for run_id in run_ids])
        transaction.send(record.restore_requests(database, thread_id, run_ids))
        unused, used = _rows_of_runs(transaction, database, thread_id, run_ids, gone)
        heir = _heir(thread, gone)
        transaction.send([(sql["delete_row"], {**params, "seq": seq}) for seq in unused])
        if min(unused, default=math.inf) <= searched_up_to(state):
            database.backend.full_text.clean(transaction)
        if heir is not None:
            inherited = {**params, "checkpoint_id": heir.checkpoint_id, "run_id": heir.run_id}
            transaction.send([(sql["inherit_row"], {**inherited, "seq": seq}) for seq in used])
        transaction.send([(sql["next_generation"], params)])
        reindex.reindex(transaction, database, thread_id)
    database.forget(thread_id)


def _checkpoints_of_runs(there: Namespace, run_ids: Collection[str]) -> set[str]:
    """Return the ids of some runs' checkpoints, and of the bases on which no other checkpoint is built."""
    own = {id_ for id_, outline in there.items() if outline.run_id in run_ids}
    in_use = {outline.parent_id for id_, outline in there.items() if id_ not in own}
    return own | {id_ for id_, outline in there.items() if outline.is_base and id_ not in in_use}


def _undo_run_writes(
    database: Database,
    thread_id: str,
    run_writes: Sequence[Row],
    run_ids: Collection[str],
    gone: Mapping[str, Collection[str]],
) -> list[Call]:
    """Build the calls that undo the writes of runs onto checkpoints that stay.

    If another run has overwritten a write of one of these runs, its write stays. What the deleted run had replaced is
    then recorded as what the other run has replaced.

    Args:
        database: the database.
        thread_id: the thread.
        run_writes: the recorded writes of all runs in the thread, oldest first.
        run_ids: the runs to undo.
        gone: the ids of the checkpoints that are deleted, by namespace.
    """
    sql = database.backend.sql
    replaced: dict[tuple[Any, ...], Row] = {}
    calls: list[Call] = []
    for write in run_writes:
        if write.checkpoint_id in gone.get(write.ns, ()):
            continue
        place = (write.ns, write.checkpoint_id, write.task_id, write.idx)
        if write.run_id in run_ids:
            replaced.setdefault(place, write)
        elif place in replaced:
            params = {**_write_params(thread_id, replaced.pop(place)), "run_id": write.run_id}
            calls.append((sql["replaced_by_run"], params))
    for write in replaced.values():
        name = "delete_write" if write.channel is None else "restore_write"
        calls.append((sql[name], _write_params(thread_id, write)))
    return calls


def _write_params(thread_id: str, write: Row) -> dict[str, Any]:
    """Return the place of a recorded write, and the write that it replaced there."""
    names = ("ns", "checkpoint_id", "task_id", "idx", "channel", "type", "blob")
    return {"thread_id": thread_id, **{name: getattr(write, name) for name in names}}


def _heir(thread: Mapping[str, Namespace], gone: Mapping[str, Collection[str]]) -> Outline | None:
    """Return the oldest surviving child of a deleted checkpoint, preferably in the root namespace.

    It becomes the owner of the deleted runs' message rows that are still in use.
    """
    heirs = [
        outline
        for ns, there in thread.items()
        for id_, outline in there.items()
        if id_ not in gone[ns] and outline.parent_id in gone[ns]
    ]
    return min(heirs, key=lambda outline: (outline.ns != "", outline.checkpoint_id), default=None)


def _rows_of_runs(
    transaction: Transaction,
    database: Database,
    thread_id: str,
    run_ids: Collection[str],
    gone: Mapping[str, Collection[str]],
) -> tuple[list[int], list[int]]:
    """Return the seqs of the message rows that these runs were the first to save: the unused ones, and those in use.

    Rows that other runs saved stay even if nothing refers to them, since they are the transcript.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    deleted = {id_ for ids_ in gone.values() for id_ in ids_}
    [rows] = transaction.run([(sql["rows_of_runs"], params)])
    used = referenced_rows(transaction, database, thread_id)
    said = [row.seq for row in rows if row.run_id in run_ids or row.checkpoint_id in deleted]
    unclaimed = [row.seq for row in rows if row.checkpoint_id is None]
    return [seq for seq in said + unclaimed if seq not in used], [seq for seq in said if seq in used]


def referenced_rows(
    transaction: Transaction, database: Database, thread_id: str, *, readable: bool = False
) -> set[int]:
    """Return the seqs of the message rows to which a checkpoint or a write of a thread refers.

    Args:
        transaction: the transaction.
        database: the database.
        thread_id: the thread.
        readable: whether to leave out what cannot be read, instead of raising an error.

    Raises:
        DamagedThread: a checkpoint or a write cannot be read.
    """
    seqs: set[int] = set()
    for key, place, value in database.backend.stored_values(transaction, thread_id):
        with (
            suppress(DamagedThread) if readable else nullcontext(),
            explained(thread_id, key.checkpoint_id, value.channel),
        ):
            plain = database.sealer.open_value(thread_id, place, value.type, value.blob or b"")
            seqs.update(abs(ref) for refs in Attachable(value.channel, *plain).lists for ref in refs)
    return seqs
