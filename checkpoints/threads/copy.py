"""Copies of a thread: all of it, or its state at one checkpoint (a fork)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, made_from
from holdfast.checkpoints.encryption.keys_of_threads import give_key
from holdfast.checkpoints.encryption.reseal import Resealing
from holdfast.checkpoints.errors import (
    ThreadNotEmpty,
    UnknownCheckpoint,
    UnknownMessage,
    UnknownThread,
)
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.serde.messages import sql_text
from holdfast.checkpoints.threads import index, reindex
from holdfast.checkpoints.threads.prune import lock_and_outline, remove_checkpoints
from holdfast.checkpoints.threads.rollback import referenced_rows

_LEFTOVERS: Final = ("delete_run_writes", "delete_interrupts", "delete_events", "delete_members")

_COPIED: Final = (
    "copy_rows",
    "copy_run_writes",
    "copy_interrupts",
    "copy_thread",
    "copy_events",
    "copy_members",
    "join_lineage",
)


def copy_thread(database: Database, source: str, target: str) -> bool:
    """Copy a whole thread into an empty one. If the source does not exist, the target stays as it is.

    Returns:
        Whether the source exists.

    Raises:
        ThreadNotEmpty: the target is not empty.
        DamagedThread: the source is encrypted, and a part of it cannot be read.
    """
    _give_key(database, source)
    with database.backend.writing() as transaction:
        copied = _copy(transaction, database, source, target)
    database.forget(target)
    return copied


def fork_thread(
    database: Database,
    source: str,
    target: str,
    *,
    checkpoint_id: str | None = None,
    message_id: str | None = None,
    actor: str | None = None,
) -> None:
    """Copy a thread, as it was at one of its root checkpoints, into an empty one.

    Args:
        database: the database.
        source: the id of the thread.
        target: the id of the new thread.
        checkpoint_id: the root checkpoint; the newest by default.
        message_id: alternatively, the first checkpoint that had this message in its state.
        actor: the person who forks it, for the record.

    Raises:
        UnknownThread: the source does not exist.
        UnknownCheckpoint, UnknownMessage: the source has no such checkpoint or message.
        ThreadNotEmpty, DamagedThread: as `copy_thread`.
    """
    _give_key(database, source)
    with database.backend.writing() as transaction:
        if not _copy(transaction, database, source, target):
            raise UnknownThread(source)
        thread = lock_and_outline(transaction, database, target)
        root = _root(thread)
        if message_id is not None:
            checkpoint_id = _first_with(transaction, database, source, message_id, thread)
        at = max(root, default="") if checkpoint_id is None else checkpoint_id
        if at not in root:
            raise UnknownCheckpoint(source, at)
        _cut(transaction, database, CheckpointKey(target, "", at), thread, source, is_head=at == max(root))
        sql, origin = database.backend.sql, {"thread_id": source, "checkpoint_id": at}
        transaction.send(
            [
                (sql["set_origin"], {"thread_id": target, "origin": source, "checkpoint_id": at}),
                index.add_event(database, target, "fork", origin, actor),
            ]
        )
        reindex.reindex(transaction, database, target)
    database.forget(target)


def _copy(transaction: Transaction, database: Database, source: str, target: str) -> bool:
    sql = database.backend.sql
    from_, to = {"thread_id": source}, {"thread_id": target}
    *_, [found] = transaction.run([(sql["adopt_thread"], from_), (sql["has_checkpoints"], from_)])
    if not found.has_checkpoints:
        return False
    # Locked in the order of the ids, so that two copies in opposite directions do not deadlock.
    transaction.run(
        [
            (sql["add_thread"], to),
            *((sql["lock_thread"], {"thread_id": thread_id}) for thread_id in sorted({source, target})),
        ]
    )
    [[checkpoints], [rows]] = transaction.run([(sql["has_checkpoints"], to), (sql["has_rows"], to)])
    if checkpoints.has_checkpoints or rows.has_rows:
        raise ThreadNotEmpty(target)
    # Leftovers of deleted runs, or of a run that is about to begin, do not count as contents.
    leftovers = [(sql[name], {"thread_ids": database.backend.array([target])}) for name in _LEFTOVERS]
    transaction.send([*database.backend.delete_all_checkpoints([target]), *leftovers])
    ours = [(sql[name], {"thread_id": source, "target": target}) for name in _COPIED]
    transaction.send([*database.backend.copy_all_checkpoints(source, target), *ours])
    if database.sealer.encrypts:
        give_key(transaction, database.backend, database.sealer, target)
        Resealing(transaction, database.backend, database.sealer, source, target).run()
    return True


def _give_key(database: Database, source: str) -> None:
    """Encrypt the source first, if the database is being encrypted at this moment and the source is not yet."""
    database.sealer.key_no(source)


def _first_with(
    transaction: Transaction, database: Database, thread_id: str, message_id: str, thread: Mapping[str, Namespace]
) -> str:
    """Return the id of the first root checkpoint that had a message in its state.

    Raises:
        UnknownMessage: the thread has no such message, or that checkpoint was pruned.
    """
    params = {"thread_id": thread_id, "message_id": sql_text(message_id)}
    [rows] = transaction.run([(database.backend.sql["message_place"], params)])
    if not rows:
        raise UnknownMessage(thread_id, message_id, pruned=False)
    first = rows[0].checkpoint_id
    root = _root(thread)
    # A subgraph may have saved the message before the root graph did.
    at = min((id_ for id_ in root if id_ >= first), default=None)
    if at is None or not any(first in there for there in thread.values()):
        raise UnknownMessage(thread_id, message_id, pruned=True)
    if root[at].metadata.get("source") == "input":
        # An input checkpoint has not applied the message yet: the next message to the fork would replace it.
        return min((id_ for id_, outline in root.items() if outline.parent_id == at), default=at)
    return at


def _cut(
    transaction: Transaction,
    database: Database,
    at: CheckpointKey,
    thread: Mapping[str, Namespace],
    source: str,
    *,
    is_head: bool,
) -> None:
    """Remove from a copy everything that does not lead to one of its checkpoints.

    Args:
        transaction: the transaction, in which both threads are locked.
        database: the database.
        at: the checkpoint.
        thread: the outlines of the copy's checkpoints.
        source: the id of the original thread.
        is_head: whether the checkpoint is the newest, so that the writes of its tasks stay.
    """
    sql, root = database.backend.sql, thread[""]
    path = _path(root, at.checkpoint_id)
    thread_id, place = {"thread_id": at.thread_id}, {"thread_id": at.thread_id, "checkpoint_id": at.checkpoint_id}
    [interrupts] = transaction.run([(sql["asked_in"], thread_id)])
    interrupted = {} if is_head else _interrupted_at(thread, at.checkpoint_id, interrupts)
    kept_ids: set[str] = set()
    gone_ids: set[str] = set()
    for ns, there in thread.items():
        last = max(there) if is_head else interrupted.get(ns, "")
        kept = {id_ for id_, outline in there.items() if _leads_to(outline, path, at.checkpoint_id, last)}
        gone = there.keys() - kept
        survivors = [there[id_] for id_ in kept]
        remove_checkpoints(transaction, database, at._replace(ns=ns), there, gone, survivors, relink=kept if ns else ())
        kept_ids |= kept
        gone_ids |= gone
    if not is_head:
        for ns, checkpoint_id in {**interrupted, "": at.checkpoint_id}.items():
            which = {"ns": ns, "checkpoint_ids": database.backend.array([checkpoint_id])}
            transaction.send(
                [
                    (sql["cut_writes"], {**place, "ns": ns, "checkpoint_id": checkpoint_id}),
                    (sql["delete_run_writes_of"], {**thread_id, **which}),
                ]
            )
        transaction.send([(sql["delete_interrupts"], {"thread_ids": database.backend.array([at.thread_id])})])
        record.insert_requests_of_fork(transaction, database, source, at.thread_id)
        if (moment := moment_of(at.checkpoint_id)) is not None:
            # The current prompt may be among them; the next run records it again.
            transaction.send(
                [(sql["cut_events"], {**thread_id, "at": moment}), (sql["set_prompt"], {**thread_id, "prompt": None})]
            )
    [rows] = transaction.run([(sql["rows_of_runs"], place)])
    # What is damaged stays damaged in the copy; the thread itself has all rows.
    used = referenced_rows(transaction, database, at.thread_id, readable=True)
    for row in rows:
        first = row.checkpoint_id
        if first in kept_ids or (first is not None and first not in gone_ids and first <= at.checkpoint_id):
            continue
        if row.seq not in used:
            transaction.send([(sql["delete_row"], {**thread_id, "seq": row.seq})])
        elif first is not None:
            transaction.send([(sql["inherit_row"], {**place, "run_id": row.run_id, "seq": row.seq})])


def _root(thread: Mapping[str, Namespace]) -> dict[str, Outline]:
    """Return the root checkpoints of a thread, without bases."""
    return {id_: outline for id_, outline in thread.get("", {}).items() if not outline.is_base}


def _path(root: Namespace, checkpoint_id: str) -> set[str]:
    """Return the ids of a checkpoint and of its ancestors."""
    path: set[str] = set()
    at: str | None = checkpoint_id
    while at is not None and at in root and at not in path:
        path.add(at)
        at = root[at].parent_id
    return path


def _interrupted_at(thread: Mapping[str, Namespace], at: str, interrupts: Iterable[Row]) -> dict[str, str]:
    """Return the checkpoints at which subgraph calls of a root checkpoint were interrupted, by namespace.

    They are kept, so that the calls wait there for the answer. A call that started anew would ask under another id.
    """
    interrupted: dict[str, str] = {}
    for row in interrupts:
        outline = thread.get(row.ns, {}).get(row.checkpoint_id)
        if row.ns and outline is not None and made_from(outline) == at:
            interrupted[row.ns] = max(row.checkpoint_id, interrupted.get(row.ns, ""))
    return interrupted


def _leads_to(outline: Outline, path: Collection[str], at: str, last: str) -> bool:
    """Return whether a checkpoint is part of what led to a root checkpoint.

    Args:
        outline: the checkpoint.
        path: the ids of the root checkpoint and its ancestors.
        at: the id of the root checkpoint.
        last: the id of the last checkpoint to keep of the calls that the root checkpoint made in this namespace.
    """
    if outline.ns == "":
        return outline.checkpoint_id in path
    root = made_from(outline)
    if root == at:
        return outline.checkpoint_id <= last
    return outline.checkpoint_id <= max(at, last) and (root is None or root in path)
