"""Taking back runs, as if they had never been."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from holdfast.checkpoints.backends.base import (
    Call,
    CheckpointKey,
    Row,
    Transaction,
    write_place,
)
from holdfast.checkpoints.config import run_value
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained
from holdfast.checkpoints.core.outline import Namespace, Outline
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.threads import reindex
from holdfast.checkpoints.threads.prune import lock_and_outline, remove_checkpoints, searched_up_to


def record_run_writes(
    database: Database, key: CheckpointKey, run_id: str | None, task_id: str, places: Sequence[int], *, replace: bool
) -> list[Call]:
    """The calls that note, before it is done, what a run writes onto a checkpoint that is not its own."""
    if run_id is None:
        return []
    params = {**key._asdict(), **_run(run_id), "task_id": task_id, "replace": replace}
    return [(database.backend.sql["note_write"], {**params, "idx": idx}) for idx in places]


def _run(run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "run_value": run_value(run_id)}


def threads_of_runs(database: Database, run_ids: Sequence[str]) -> list[str]:
    """The threads in which one of the runs has saved something."""
    with database.backend.reading() as transaction:
        found = transaction.run([(database.backend.sql["threads_of_run"], _run(run_id)) for run_id in run_ids])
    return sorted({str(thread_id) for rows in found for (thread_id,) in rows})


def delete_runs(database: Database, thread_id: str, run_ids: Collection[str]) -> None:
    """Delete all that some runs have saved in a thread: their checkpoints, what they wrote onto others, and the message
    rows that nothing else refers to. Who has loaded the thread before may not write to it any more.

    Raises:
        DamagedThread: something in the thread cannot be read. Nothing was deleted.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    with database.backend.writing() as transaction:
        thread = lock_and_outline(transaction, database, thread_id)
        noted, state = transaction.run([(sql["run_writes"], params), (sql["index_state"], params)])
        doomed = {ns: _made_by(there, run_ids) for ns, there in thread.items()}
        losing: dict[str, set[str]] = {}
        for run_id, ns, checkpoint_id, *_ in noted:
            if run_id in run_ids and checkpoint_id not in doomed.get(ns, ()):
                losing.setdefault(ns, set()).add(checkpoint_id)
        if not losing and not any(doomed.values()):
            return
        for ns, there in thread.items():
            survivors = [outline for id_, outline in there.items() if id_ not in doomed[ns]]
            remove_checkpoints(
                transaction,
                database,
                CheckpointKey(thread_id, ns, ""),
                there,
                doomed[ns],
                survivors,
                relink=True,
                losing=losing.get(ns, ()),
            )
        transaction.send(_delete_run_rows(database, thread_id, noted, run_ids, doomed))
        transaction.send([(sql["forget_run"], {**params, "run_id": run_id}) for run_id in run_ids])
        transaction.send(record.taken_back(database, thread_id, run_ids))
        unused, inherited = _rows_of(transaction, database, thread_id, run_ids, doomed)
        heir = _heir(thread, doomed)
        transaction.send([(sql["delete_row"], {**params, "seq": seq}) for seq in unused])
        if min(unused, default=math.inf) <= searched_up_to(state):
            database.backend.full_text.clean(transaction)
        if heir is not None:
            new = {**params, "checkpoint_id": heir.checkpoint_id, "run_id": heir.run_id}
            transaction.send([(sql["inherit_row"], {**new, "seq": seq}) for seq in inherited])
        transaction.send([(sql["next_generation"], params)])
        reindex.reindex(transaction, database, thread_id)
    database.cache.forget(thread_id)


def _made_by(there: Namespace, run_ids: Collection[str]) -> set[str]:
    """The checkpoints of some runs, and the bases that nobody else is built on."""
    made = {id_ for id_, outline in there.items() if outline.run_id in run_ids}
    in_use = {outline.parent_id for id_, outline in there.items() if id_ not in made}
    return made | {id_ for id_, outline in there.items() if outline.is_base and id_ not in in_use}


def _delete_run_rows(
    database: Database,
    thread_id: str,
    noted: Sequence[Row],
    run_ids: Collection[str],
    doomed: Mapping[str, Collection[str]],
) -> list[Call]:
    """The calls that undo what runs wrote onto checkpoints that stay.

    Args:
        noted: all that is noted of the thread, oldest first. If another run wrote over what one of these wrote, that
            stays, and what was there before is from now on what that run has replaced.
    """
    sql = database.backend.sql
    before: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    calls: list[Call] = []
    for run_id, ns, checkpoint_id, task_id, idx, *replaced in noted:
        if checkpoint_id in doomed.get(ns, ()):
            continue
        place = (ns, checkpoint_id, task_id, idx)
        if run_id in run_ids:
            before.setdefault(place, tuple(replaced))
        elif place in before:
            params = _write_params(thread_id, place, before.pop(place))
            calls.append((sql["replaced_by_run"], {**params, "run_id": run_id}))
    for place, old in before.items():
        name = "delete_write" if old[0] is None else "restore_write"
        calls.append((sql[name], _write_params(thread_id, place, old)))
    return calls


_PLACE: Final = ("thread_id", "ns", "checkpoint_id", "task_id", "idx")


def _write_params(thread_id: str, place: Sequence[Any], replaced: Sequence[Any]) -> dict[str, Any]:
    names = (*_PLACE, "channel", "type", "blob")
    return dict(zip(names, (thread_id, *place, *replaced), strict=True))


def _heir(thread: Mapping[str, Namespace], doomed: Mapping[str, Collection[str]]) -> Outline | None:
    """The oldest checkpoint that is left of those that followed one that goes; those of the graph itself come first."""
    heirs = [
        outline
        for ns, there in thread.items()
        for id_, outline in there.items()
        if id_ not in doomed[ns] and outline.parent_id in doomed[ns]
    ]
    return min(heirs, key=lambda outline: (outline.ns != "", outline.checkpoint_id), default=None)


def _rows_of(
    transaction: Transaction,
    database: Database,
    thread_id: str,
    run_ids: Collection[str],
    doomed: Mapping[str, Collection[str]],
) -> tuple[list[int], list[int]]:
    """The message rows that these runs said first: those that nothing refers to any more, and those that something
    does.

    Rows that other runs said stay, although nothing may refer to them: they are the transcript.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    gone = {id_ for ids_ in doomed.values() for id_ in ids_}
    [rows] = transaction.run([(sql["rows_of_runs"], params)])
    used = referenced_rows(transaction, database, thread_id)
    said = [seq for seq, run_id, checkpoint_id in rows if run_id in run_ids or checkpoint_id in gone]
    unsaid = [seq for seq, _, checkpoint_id in rows if checkpoint_id is None]
    return [seq for seq in said + unsaid if seq not in used], [seq for seq in said if seq in used]


def referenced_rows(transaction: Transaction, database: Database, thread_id: str) -> set[int]:
    """The message rows that something in a thread refers to.

    Raises:
        DamagedThread: something cannot be read.
    """
    [references] = transaction.run([(database.backend.sql["references"], {"thread_id": thread_id})])
    return {seq for reference in references for seq in _refers_to(database, thread_id, reference)}


def _refers_to(database: Database, thread_id: str, reference: Row) -> set[int]:
    """The message rows that a row of the statement `references` refers to."""
    ns, first, second, idx, type_, blob = reference
    if idx is not None:
        key, channel = CheckpointKey(thread_id, ns, first), ""
        place = write_place(key, second, idx)
    elif database.backend.whole:
        key, channel = CheckpointKey(thread_id, ns, first), ""
        place = database.backend.value_place(key, "", None)
    else:
        key, channel = CheckpointKey(thread_id, ns, second), first
        place = database.backend.value_place(key, channel, {"channel_versions": {channel: second}})
    with explained(thread_id, key.checkpoint_id, channel):
        part = Attachable(channel, *database.sealer.open_value(thread_id, place, type_, blob or b""))
    return {abs(ref) for refs in part.lists for ref in refs}
