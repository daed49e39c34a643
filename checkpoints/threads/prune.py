"""Retention policies and deletion: prune a thread, or delete it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import (
    Namespace,
    Outline,
    delta_channels,
    made_from,
    outlines,
    surviving_ancestor,
)
from holdfast.checkpoints.delta import history
from holdfast.checkpoints.langgraph_internals import NS_END
from holdfast.checkpoints.load.sends import keep_sends
from holdfast.checkpoints.threads.index import is_unfinished

Strategy = Literal["keep_latest", "delete"]

# Statements that delete what belongs to some threads alone.
_OF_THREAD: Final = (
    "delete_rows",
    "delete_run_writes",
    "delete_interrupts",
    "delete_events",
    "delete_members",
    "delete_runs",
)

# Statements for the ledger when threads are deleted. What it keeps depends on the lineage, which the last one ends.
_LEDGER: Final = ("forget_effects", "empty_effects", "leave_lineage")

# LangGraph's server says `delete_all` where its savers say `delete`.
_STRATEGIES: Final[Mapping[str, Strategy]] = {
    "keep_latest": "keep_latest",
    "delete": "delete",
    "delete_all": "delete",
}


def strategy_of(name: str) -> Strategy:
    """Return the pruning strategy of a name.

    Raises:
        ValueError: there is no such strategy.
    """
    if name not in _STRATEGIES:
        raise ValueError(f"There is no strategy {name!r} of pruning. Needed: 'keep_latest' or 'delete'.")
    return _STRATEGIES[name]


def unique_ids(ids: Sequence[str], argument: str, text: Callable[[Any], str | None] = str) -> list[str]:
    """Return each id once, as a text.

    Args:
        ids: the ids.
        argument: the name of the caller's argument, for the error.
        text: makes a text of an id; an id for which it returns `None` is left out.

    Raises:
        TypeError: `ids` is a single text, whose letters would be taken for ids.
    """
    if isinstance(ids, str | bytes):
        raise TypeError(f"{argument} is the single value {ids!r}. Needed: a list of ids, such as [{ids!r}].")
    return list(dict.fromkeys(id_ for id_ in map(text, ids) if id_ is not None))


# --- deleting


def delete_thread(database: Database, thread_id: str) -> None:
    """Delete everything that is stored for a thread, and leave a tombstone."""
    with database.backend.writing() as transaction:
        # A thread of a stock saver has no row of its own yet. It gets one, which becomes the tombstone.
        names = ("adopt_thread", "lock_thread")
        transaction.run([(database.backend.sql[name], {"thread_id": thread_id}) for name in names])
        bury_threads(transaction, database, [thread_id])
    database.forget(thread_id)
    database.sealer.erase(thread_id)


def bury_threads(transaction: Transaction, database: Database, thread_ids: Sequence[str]) -> None:
    """Delete everything that is stored for some threads, which are locked, and leave their tombstones."""
    sql, params = database.backend.sql, {"thread_ids": database.backend.array(thread_ids)}
    states = transaction.run([(sql["index_state"], {"thread_id": thread_id}) for thread_id in thread_ids])
    names = (*_OF_THREAD, *_LEDGER, "bury_threads", *(("delete_keys",) if database.sealer.encrypts else ()))
    transaction.send([*database.backend.delete_all_checkpoints(thread_ids), *((sql[name], params) for name in names)])
    if any(map(searched_up_to, states)):
        database.backend.full_text.clean(transaction)


def searched_up_to(state: Sequence[Row]) -> int:
    """Return the last message row of a thread that the full-text index has, given the rows of `index_state`."""
    return next((row.searched for row in state), 0)


# --- pruning


def keep_latest(database: Database, thread_id: str) -> None:
    """Delete the checkpoints of a thread that are not needed to continue it. Message rows stay.

    Raises:
        DamagedThread: a kept checkpoint depends on one that cannot be read. Nothing was deleted.
    """
    with database.backend.writing() as transaction:
        thread = lock_and_outline(transaction, database, thread_id)
        kept = checkpoints_to_keep(thread, lambda outline: has_tasks(transaction, database, thread_id, outline))
        remove_others(transaction, database, thread_id, thread, kept)


def remove_others(
    transaction: Transaction,
    database: Database,
    thread_id: str,
    thread: Mapping[str, Namespace],
    kept: Mapping[str, Collection[str]],
    relink: Collection[str] = (),
) -> int:
    """Delete the checkpoints of a thread that are not among those to keep, and return how many these were.

    Args:
        transaction: the transaction, in which the thread is locked.
        database: the database.
        thread_id: the thread.
        thread: all checkpoints of the thread.
        kept: the ids of those that stay, by namespace.
        relink: see `remove_checkpoints`.
    """
    number = 0
    for ns, there in thread.items():
        gone = set(there) - set(kept.get(ns, ()))
        survivors = [there[id_] for id_ in kept.get(ns, ())]
        # A base stays unchanged as long as the checkpoint that is built on it is kept.
        parents = [there.get(outline.parent_id or "") for outline in survivors]
        gone -= {parent.checkpoint_id for parent in parents if parent is not None and parent.is_base}
        key = CheckpointKey(thread_id, ns, "")
        remove_checkpoints(transaction, database, key, there, gone, survivors, relink=relink)
        number += len(gone)
    return number


def checkpoints_to_keep(
    thread: Mapping[str, Namespace], has_tasks: Callable[[Outline], bool], also: Collection[str] = ()
) -> dict[str, set[str]]:
    """Return the ids of the checkpoints that are needed to continue a thread, by namespace.

    - In the root namespace, the newest checkpoint. If a run has begun on it and has not completed a step, also the
      checkpoint that its input interrupted: it alone has the results of calls that had finished there.
    - In the namespace of a subgraph call, the newest checkpoint, if the root checkpoint that made the call is kept or
      is not saved yet. A call may be saved before the root checkpoint that made it.
    - In the namespace of a subgraph with a memory of its own, the newest checkpoint. If concurrent calls share the
      namespace, the last checkpoint of each.

    A namespace that is not in the result can be deleted.

    Args:
        thread: the thread's checkpoints.
        has_tasks: returns whether a checkpoint has tasks left to run.
        also: the ids of more root checkpoints to keep, with the calls that they have made.
    """
    root = _root_to_keep(thread.get("", {}), has_tasks) | set(also)
    newest_root = max(root, default="")
    kept = {"": root} if root else {}
    for ns, there in thread.items():
        states = {id_: outline for id_, outline in there.items() if not outline.is_base}
        if ns == "" or not states:
            continue
        newest = states[max(states)]
        if NS_END in ns and (made := made_from(newest)) and made not in root and made < newest_root:
            continue
        parents = {outline.parent_id for outline in states.values()}
        kept[ns] = {newest.checkpoint_id} | {
            outline.checkpoint_id
            for outline in states.values()
            if outline.checkpoint_id not in parents and made_from(outline) in root
        }
    return kept


def _root_to_keep(root: Namespace, has_tasks: Callable[[Outline], bool]) -> set[str]:
    newest = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    kept: set[str] = set()
    while newest is not None:
        kept.add(newest)
        head, newest = root[newest], None
        parent = root.get(head.parent_id or "")
        input_ = head if _is_input(head) else parent if parent and _has_only_read_input(head, parent) else None
        interrupted = root.get(input_.parent_id or "") if input_ else None
        if input_ and interrupted and not interrupted.is_base and (input_ is head or has_tasks(head)):
            kept.add(input_.checkpoint_id)
            newest = interrupted.checkpoint_id
    return kept


def _is_input(outline: Outline) -> bool:
    return outline.metadata.get("source") == "input"


def _has_only_read_input(head: Outline, parent: Outline) -> bool:
    """Return whether a run has applied its input and no task of it has written anything."""
    return _is_input(parent) and head.metadata.get("source") == "loop" and not head.is_written


def has_tasks(transaction: Transaction, database: Database, thread_id: str, outline: Outline) -> bool:
    """Return whether a checkpoint has tasks left to run."""
    key = CheckpointKey(thread_id, outline.ns, outline.checkpoint_id)
    return is_unfinished(dict.fromkeys(history.channels_of(transaction, database, key), True))


def lock_and_outline(transaction: Transaction, database: Database, thread_id: str) -> dict[str, dict[str, Outline]]:
    """Lock a thread, and return the outlines of its checkpoints by namespace and id."""
    sql, params = database.backend.sql, {"thread_id": thread_id}
    # A thread of a stock saver has no row of its own yet. It gets one, since that row is the lock.
    transaction.run([(sql["adopt_thread"], params), (sql["lock_thread"], params)])
    checkpoints, written = transaction.run([(sql["outline"], params), (sql["written"], params)])
    return outlines(checkpoints, written)


def remove_checkpoints(
    transaction: Transaction,
    database: Database,
    key: CheckpointKey,
    there: Namespace,
    gone: Collection[str],
    survivors: Collection[Outline],
    *,
    relink: Collection[str],
    losing: Collection[str] = (),
) -> None:
    """Delete checkpoints of one namespace, after squashing what survivors need of them into a base.

    Args:
        transaction: the transaction, in which the thread is locked.
        database: the database.
        key: the thread and the namespace.
        there: all checkpoints of the namespace.
        gone: the ids of the checkpoints to delete.
        survivors: the checkpoints that stay and whose parent may be deleted.
        relink: the ids of the survivors of which the nearest becomes the parent of one whose own parent is deleted. If
            none of these is its ancestor, it has no parent any more.
        losing: the ids of checkpoints that stay but lose some of their writes.
    """
    sql = database.backend.sql
    orphans = [o for o in survivors if o.parent_id is not None and (o.parent_id in gone or o.parent_id in losing)]
    for outline in orphans:
        keep_sends(transaction, database, key._replace(checkpoint_id=outline.checkpoint_id))
    channels = delta_channels(there)
    needs: dict[str, set[str]] = {}
    for outline in orphans:
        missing = history.channels_missing(
            transaction, database, key._replace(checkpoint_id=outline.checkpoint_id), channels
        )
        needs.setdefault(outline.parent_id or "", set()).update(missing)
    bases = {
        parent_id: history.squash(transaction, database, key._replace(checkpoint_id=parent_id), missing, there)
        for parent_id, missing in needs.items()
        if missing
    }
    calls: list[Call] = []
    for outline in orphans:
        new_parent = bases.get(outline.parent_id or "")
        if new_parent is None:
            if outline.parent_id not in gone:
                continue
            new_parent = surviving_ancestor(there, outline, set(there) - set(relink))
        params = {**key._replace(checkpoint_id=outline.checkpoint_id)._asdict(), "parent_id": new_parent}
        calls.append((sql["set_parent"], params))
    if gone:
        calls += database.backend.delete_checkpoints(key.thread_id, key.ns, gone)
    transaction.send(calls)
