"""Another thread with what one holds: all of it, or as it was at one of its checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from checkpoints import indexing, reindexing
from checkpoints.errors import NotStorable, ThreadNotEmpty, UnknownCheckpoint, UnknownMessage, UnknownThread
from checkpoints.guard import moment_of
from checkpoints.keeping import Namespace, Outline, made_from
from checkpoints.port import CheckpointKey, Transaction
from checkpoints.retention import locked, remove
from checkpoints.sealing import Plain
from checkpoints.store import Store
from checkpoints.taking_back import rows_referred_to

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


def copy_thread(store: Store, source: str, target: str) -> bool:
    """Copy everything of a thread into one that is empty. A source that is not there leaves the target as it is.

    Returns:
        Whether there was something to copy.

    Raises:
        ThreadNotEmpty: the target has something in it.
        NotStorable: what is stored is encrypted for its place.
    """
    with store.backend.writing() as transaction:
        copied = _copy(transaction, store, source, target)
    store.memory.forget(target)
    return copied


def fork_thread(
    store: Store,
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
        message_id: in place of it: the checkpoint that had this message first.
        actor: who does this, for the record.

    Raises:
        UnknownThread: the source is not there.
        UnknownCheckpoint, UnknownMessage: it has no such checkpoint or message.
        ThreadNotEmpty, NotStorable: as `copy_thread`.
    """
    with store.backend.writing() as transaction:
        if not _copy(transaction, store, source, target):
            raise UnknownThread(source)
        thread = locked(transaction, store, target)
        root = {id_: outline for id_, outline in thread.get("", {}).items() if not outline.is_base}
        if message_id is not None:
            checkpoint_id = _first_with(transaction, store, target, message_id, thread)
        at = checkpoint_id or max(root, default=None)
        if at is None or at not in root:
            raise UnknownCheckpoint(source, at or "")
        if at != max(root):
            _cut(transaction, store, CheckpointKey(target, "", at), thread, source)
        sql, origin = store.backend.sql, {"thread_id": source, "checkpoint_id": at}
        transaction.send(
            [
                (sql["set_origin"], {"thread_id": target, "origin": source, "checkpoint_id": at}),
                indexing.event(sql, target, "fork", origin, actor),
            ]
        )
        reindexing.reindex(transaction, store, target)
    store.memory.forget(target)


def _copy(transaction: Transaction, store: Store, source: str, target: str) -> bool:
    sql = store.backend.sql
    if not isinstance(store.sealer, Plain):
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
    names = _COPIED if store.backend.whole else ("copy_blobs", *_COPIED)
    transaction.send([(sql[name], {"thread_id": source, "target": target}) for name in names])
    return True


def _first_with(
    transaction: Transaction, store: Store, thread_id: str, message_id: str, thread: Mapping[str, Namespace]
) -> str:
    """The root checkpoint that had a message first."""
    params = {"thread_id": thread_id, "message_id": message_id}
    [found] = transaction.run([(store.backend.sql["message_place"], params)])
    if not found:
        raise UnknownMessage(thread_id, message_id, pruned=False)
    [(first,)] = found
    # A subgraph may have saved it before the graph did.
    later = [id_ for id_, outline in thread.get("", {}).items() if id_ >= first and not outline.is_base]
    if not later or not any(first in there for there in thread.values()):
        raise UnknownMessage(thread_id, message_id, pruned=True)
    return min(later)


def _cut(
    transaction: Transaction, store: Store, at: CheckpointKey, thread: Mapping[str, Namespace], source: str
) -> None:
    """Remove from a copy what came after one of its checkpoints, or beside it."""
    sql, root = store.backend.sql, thread[""]
    path = _path(root, at.checkpoint_id)
    gone: set[str] = set()
    for ns, there in thread.items():
        kept = {id_ for id_, outline in there.items() if _is_before(outline, path, at.checkpoint_id)}
        left = there.keys() - kept
        remove(transaction, store, at._replace(ns=ns), there, left, [there[id_] for id_ in kept], relink=ns != "")
        gone |= left
    place = {"thread_id": at.thread_id, "checkpoint_id": at.checkpoint_id}
    noted = {"thread_id": at.thread_id, "ns": "", "checkpoint_ids": store.backend.array([at.checkpoint_id])}
    _, _, _, _, rows = transaction.run(
        [
            (sql["cut_writes"], place),
            (sql["delete_run_writes_of"], noted),
            (sql["delete_interrupts"], place),
            (sql["ask_again"], {"thread_id": source, "target": at.thread_id, "checkpoint_id": at.checkpoint_id}),
            (sql["rows_of_runs"], place),
        ]
    )
    used = rows_referred_to(transaction, store, at.thread_id)
    later = [
        seq
        for seq, _, first in rows
        if seq not in used and (first is None or first > at.checkpoint_id or first in gone)
    ]
    transaction.send([(sql["delete_row"], {"thread_id": at.thread_id, "seq": seq}) for seq in later])
    if (moment := moment_of(at.checkpoint_id)) is not None:
        transaction.send([(sql["cut_events"], {"thread_id": at.thread_id, "at": moment})])


def _path(root: Namespace, checkpoint_id: str) -> set[str]:
    """A checkpoint and those that it follows from."""
    path: set[str] = set()
    at: str | None = checkpoint_id
    while at is not None and at in root and at not in path:
        path.add(at)
        at = root[at].parent_id
    return path


def _is_before(outline: Outline, path: Collection[str], at: str) -> bool:
    """Whether a checkpoint belongs to what led to one of the graph itself."""
    if outline.ns == "":
        return outline.checkpoint_id in path
    # What a subgraph did after that checkpoint was made from it, or from a later one.
    root = made_from(outline)
    return outline.checkpoint_id < at and (root is None or (root in path and root != at))
