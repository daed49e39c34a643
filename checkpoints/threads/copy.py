"""Another thread with what one holds: all of it, or as it was at one of its checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from holdfast.checkpoints.backends.base import Call, CheckpointKey, Row, Transaction
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, made_from
from holdfast.checkpoints.errors import (
    NotStorable,
    ThreadNotEmpty,
    UnknownCheckpoint,
    UnknownMessage,
    UnknownThread,
)
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.serde.encryption import Plain
from holdfast.checkpoints.serde.messages import sql_text
from holdfast.checkpoints.threads import index, reindex
from holdfast.checkpoints.threads.prune import lock_and_outline, remove_checkpoints
from holdfast.checkpoints.threads.rollback import referenced_rows

_COPIED: Final = (
    "copy_rows",
    "copy_checkpoints",
    "copy_writes",
    "copy_run_writes",
    "copy_interrupts",
    "copy_thread",
    "copy_events",
    "join_lineage",
)


def copy_thread(database: Database, source: str, target: str) -> bool:
    """Copy everything of a thread into one that is empty. A source that is not there leaves the target as it is.

    Returns:
        Whether there was something to copy.

    Raises:
        ThreadNotEmpty: the target has something in it.
        NotStorable: what is stored is encrypted for its place.
    """
    with database.backend.writing() as transaction:
        copied = _copy(transaction, database, source, target)
    database.cache.forget(target)
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
    """Copy a thread, as it was at one of its checkpoints, into one that is empty.

    Args:
        store: the database.
        source: the thread.
        target: the other one.
        checkpoint_id: a checkpoint of the graph itself; the newest by default.
        message_id: in place of it: the first checkpoint that had this message in its state.
        actor: who does this, for the record.

    Raises:
        UnknownThread: the source is not there.
        UnknownCheckpoint, UnknownMessage: it has no such checkpoint or message.
        ThreadNotEmpty, NotStorable: as `copy_thread`.
    """
    with database.backend.writing() as transaction:
        if not _copy(transaction, database, source, target):
            raise UnknownThread(source)
        thread = lock_and_outline(transaction, database, target)
        root = {id_: outline for id_, outline in thread.get("", {}).items() if not outline.is_base}
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
                index.add_event(sql, target, "fork", origin, actor),
            ]
        )
        reindex.reindex(transaction, database, target)
    database.cache.forget(target)


def _copy(transaction: Transaction, database: Database, source: str, target: str) -> bool:
    sql = database.backend.sql
    if not isinstance(database.sealer, Plain):
        raise NotStorable(f"Thread {source!r} is encrypted, and an encrypted thread cannot be copied yet.")
    from_, to = {"thread_id": source}, {"thread_id": target}
    *_, [(exists,)] = transaction.run([(sql["adopt_thread"], from_), (sql["has_checkpoints"], from_)])
    if not exists:
        return False
    # Always in the same order: two copies in opposite directions must not wait for each other.
    transaction.run(
        [
            (sql["add_thread"], to),
            *((sql["lock_thread"], {"thread_id": thread_id}) for thread_id in sorted({source, target})),
        ]
    )
    found = transaction.run([(sql["has_checkpoints"], to), (sql["has_rows"], to)])
    if any(there for [(there,)] in found):
        raise ThreadNotEmpty(target)
    # What is left of runs that were taken back, or of one that is about to begin, is of no thread.
    left = [(sql[name], to) for name in ("delete_run_writes", "delete_interrupts", "delete_events")]
    transaction.send([*database.backend.delete_calls(target), *left])
    names = _COPIED if database.backend.whole else ("copy_blobs", *_COPIED)
    transaction.send([(sql[name], {"thread_id": source, "target": target}) for name in names])
    return True


def _first_with(
    transaction: Transaction, database: Database, thread_id: str, message_id: str, thread: Mapping[str, Namespace]
) -> str:
    """The first root checkpoint that had a message in its state."""
    params = {"thread_id": thread_id, "message_id": sql_text(message_id)}
    [found] = transaction.run([(database.backend.sql["message_place"], params)])
    if not found:
        raise UnknownMessage(thread_id, message_id, pruned=False)
    [(first,)] = found
    root = {id_: outline for id_, outline in thread.get("", {}).items() if not outline.is_base}
    # A subgraph may have saved it before the graph did.
    at = min((id_ for id_ in root if id_ >= first), default=None)
    if at is None or not any(first in there for there in thread.values()):
        raise UnknownMessage(thread_id, message_id, pruned=True)
    if root[at].metadata.get("source") == "input":
        # There it is on its way: what is said to the fork next would take its place.
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
    """Remove from a copy what came after one of its checkpoints, or beside it.

    Args:
        transaction: in which both threads are locked.
        store: the database.
        at: the checkpoint.
        thread: what is in the copy.
        source: the thread that it is a copy of.
        is_head: whether nothing came after it: then what its tasks have done so far stays.
    """
    sql, root = database.backend.sql, thread[""]
    path = _path(root, at.checkpoint_id)
    thread_id, place = {"thread_id": at.thread_id}, {"thread_id": at.thread_id, "checkpoint_id": at.checkpoint_id}
    [asked] = transaction.run([(sql["asked_in"], thread_id)])
    asked_by = {} if is_head else _asked_by(thread, at.checkpoint_id, asked)
    stays: set[str] = set()
    gone: set[str] = set()
    for ns, there in thread.items():
        last = max(there) if is_head else asked_by.get(ns, "")
        kept = {id_ for id_, outline in there.items() if _is_before(outline, path, at.checkpoint_id, last)}
        left = there.keys() - kept
        remove_checkpoints(
            transaction, database, at._replace(ns=ns), there, left, [there[id_] for id_ in kept], relink=ns != ""
        )
        stays |= kept
        gone |= left
    if not is_head:
        for ns, checkpoint_id in {**asked_by, "": at.checkpoint_id}.items():
            which = {"ns": ns, "checkpoint_ids": database.backend.array([checkpoint_id])}
            transaction.send(
                [
                    (sql["cut_writes"], {**place, "ns": ns, "checkpoint_id": checkpoint_id}),
                    (sql["delete_run_writes_of"], {**thread_id, **which}),
                ]
            )
        transaction.send([(sql["delete_interrupts"], thread_id)])
        record.ask_again(transaction, database, source, at.thread_id)
        if (moment := moment_of(at.checkpoint_id)) is not None:
            # The prompt in force may be among them: the next run puts it on record again.
            transaction.send([(sql["cut_events"], {**thread_id, "at": moment}), _forget_prompt(database, at.thread_id)])
    [rows] = transaction.run([(sql["rows_of_runs"], place)])
    used = referenced_rows(transaction, database, at.thread_id)
    for seq, run_id, first in rows:
        if first in stays or (first is not None and first not in gone and first <= at.checkpoint_id):
            continue
        if seq not in used:
            transaction.send([(sql["delete_row"], {**thread_id, "seq": seq})])
        elif first is not None:
            transaction.send([(sql["inherit_row"], {**place, "run_id": run_id, "seq": seq})])


def _forget_prompt(database: Database, thread_id: str) -> Call:
    return database.backend.sql["set_prompt"], {"thread_id": thread_id, "prompt": None}


def _path(root: Namespace, checkpoint_id: str) -> set[str]:
    """A checkpoint and those that it follows from."""
    path: set[str] = set()
    at: str | None = checkpoint_id
    while at is not None and at in root and at not in path:
        path.add(at)
        at = root[at].parent_id
    return path


def _asked_by(thread: Mapping[str, Namespace], at: str, asked: Iterable[Row]) -> dict[str, str]:
    """Of the subgraphs that asked something when the graph itself was at a checkpoint: the one that they asked it on.
    There they wait for the answer; begun anew, they would ask under another id."""
    asked_by: dict[str, str] = {}
    for ns, checkpoint_id in asked:
        outline = thread.get(ns, {}).get(checkpoint_id)
        if ns and outline is not None and made_from(outline) == at:
            asked_by[ns] = max(checkpoint_id, asked_by.get(ns, ""))
    return asked_by


def _is_before(outline: Outline, path: Collection[str], at: str, last: str) -> bool:
    """Whether a checkpoint belongs to what led to one of the graph itself.

    Args:
        outline: the checkpoint.
        path: the one of the graph, and those that it follows from.
        at: the one of the graph.
        last: of what a subgraph did from there on, the last that belongs to it.
    """
    if outline.ns == "":
        return outline.checkpoint_id in path
    root = made_from(outline)
    if root == at:
        return outline.checkpoint_id <= last
    return outline.checkpoint_id <= max(at, last) and (root is None or root in path)
