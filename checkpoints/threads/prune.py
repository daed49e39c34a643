"""What is kept of a thread: deleting and pruning it. Each thread in its own transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

from holdfast.checkpoints.backends.base import Call, CheckpointKey, Row, Transaction
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
from holdfast.checkpoints.threads.index import is_unfinished

Strategy = Literal["keep_latest", "delete"]

# What becomes of the ledger when a thread is deleted.
_LEDGER: Final = ("forget_effects", "empty_effects", "leave_lineage")

# LangGraph's server says `delete_all` where its savers say `delete`.
_STRATEGIES: Final[Mapping[str, Strategy]] = {
    "keep_latest": "keep_latest",
    "delete": "delete",
    "delete_all": "delete",
}


def strategy_of(name: str) -> Strategy:
    """
    Raises:
        ValueError: there is no such strategy.
    """
    if name not in _STRATEGIES:
        raise ValueError(f"There is no strategy {name!r} of pruning. Needed: 'keep_latest' or 'delete'.")
    return _STRATEGIES[name]


def unique_ids(given: Sequence[str], what: str, text: Callable[[Any], str | None] = str) -> list[str]:
    """Several ids as texts, each once. What `text` has none for is none.

    Raises:
        TypeError: it is one id, which would be taken for an id per letter.
    """
    if isinstance(given, str | bytes):
        raise TypeError(f"{what} is a list of ids, and was given as one: {given!r}. Needed: [{given!r}].")
    return list(dict.fromkeys(id_ for id_ in map(text, given) if id_ is not None))


# --- deleting


def delete_thread(database: Database, thread_id: str) -> None:
    """Delete everything that is stored for a thread, and leave a tombstone."""
    params, sql = {"thread_id": thread_id}, database.backend.sql
    # The order matters: what the ledger keeps depends on the lineage, which the thread leaves then.
    names = ("delete_rows", "delete_run_writes", "delete_interrupts", "delete_events", *_LEDGER, "bury_thread")
    with database.backend.writing() as transaction:
        # A conversation of the stock saver needs its row now, to be the tombstone.
        *_, state = transaction.run([(sql[name], params) for name in ("adopt_thread", "lock_thread", "index_state")])
        transaction.send([*database.backend.delete_calls(thread_id), *((sql[name], params) for name in names)])
        if searched_up_to(state):
            database.backend.full_text.clean(transaction)
    database.cache.forget(thread_id)


def searched_up_to(state: Sequence[Row]) -> int:
    """Up to which row a thread is in the index of full text, from the rows of `index_state`."""
    return next((up_to for _, up_to, *_ in state), 0)


# --- pruning


def checkpoints_to_keep(thread: Mapping[str, Namespace], has_tasks: Callable[[Outline], bool]) -> dict[str, set[str]]:
    """Which checkpoints are still needed to go on with a thread, by namespace; one without any can go.

    - Of the graph itself its newest checkpoint. If a run has begun on it and no step of that is through, then also what
      its input has cut off: results of calls that were waited for are there, and nowhere else yet.
    - Of a call of a subgraph its newest checkpoint, as long as that of the graph from which it was made is needed. One
      that is not there yet is newer: a call may be saved before the checkpoint from which it was made.
    - Of a subgraph with a memory of its own the newest one; and where several calls at once share it, the last of each.

    Args:
        thread: the thread's checkpoints.
        has_tasks: whether a checkpoint has tasks that are still to be done.
    """
    root = _with_what_was_cut_off(thread.get("", {}), has_tasks)
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


def _with_what_was_cut_off(root: Namespace, has_tasks: Callable[[Outline], bool]) -> set[str]:
    newest = max((id_ for id_, outline in root.items() if not outline.is_base), default=None)
    kept: set[str] = set()
    while newest is not None:
        kept.add(newest)
        head, newest = root[newest], None
        parent = root.get(head.parent_id or "")
        given = head if _is_input(head) else parent if parent and _has_only_taken(head, parent) else None
        before = root.get(given.parent_id or "") if given else None
        if given and before and not before.is_base and (given is head or has_tasks(head)):
            kept.add(given.checkpoint_id)
            newest = before.checkpoint_id
    return kept


def _is_input(outline: Outline) -> bool:
    return outline.metadata.get("source") == "input"


def _has_only_taken(head: Outline, parent: Outline) -> bool:
    """Whether a run has taken its input and done nothing with it yet."""
    return _is_input(parent) and head.metadata.get("source") == "loop" and not head.is_written


def keep_latest(database: Database, thread_id: str) -> None:
    """Delete the checkpoints of a thread that nothing needs to go on with; message rows stay.

    Raises:
        DamagedThread: a checkpoint that is kept is built on one that cannot be read. Nothing was deleted.
    """
    with database.backend.writing() as transaction:
        thread = lock_and_outline(transaction, database, thread_id)
        kept = checkpoints_to_keep(thread, lambda outline: _is_unfinished(transaction, database, thread_id, outline))
        for ns, there in thread.items():
            gone = set(there) - kept.get(ns, set())
            survivors = [there[id_] for id_ in kept.get(ns, ())]
            # A base stays as it is for as long as the checkpoint that is built on it is kept.
            gone -= {
                there[o.parent_id].checkpoint_id
                for o in survivors
                if o.parent_id in there and there[o.parent_id].is_base
            }
            remove_checkpoints(
                transaction, database, CheckpointKey(thread_id, ns, ""), there, gone, survivors, relink=False
            )


def _is_unfinished(transaction: Transaction, database: Database, thread_id: str, outline: Outline) -> bool:
    """Whether the checkpoint has tasks that are still to be done."""
    key = CheckpointKey(thread_id, outline.ns, outline.checkpoint_id)
    return is_unfinished(dict.fromkeys(history.channels_of(transaction, database, key), True))


def lock_and_outline(transaction: Transaction, database: Database, thread_id: str) -> dict[str, dict[str, Outline]]:
    """Lock a thread, and say what is in it."""
    sql, params = database.backend.sql, {"thread_id": thread_id}
    # A conversation of the stock saver needs its row now, to be locked.
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
    relink: bool,
    losing: Collection[str] = (),
) -> None:
    """Delete checkpoints of one namespace. What survivors need of them is squashed into a base.

    Args:
        key: thread and namespace.
        there: all checkpoints of the namespace.
        gone: the ids of those to delete.
        survivors: the others, as far as their parents may be deleted.
        relink: whether a survivor follows its nearest surviving ancestor from now on, or nothing.
        losing: the ids of checkpoints that stay but lose some of their writes.
    """
    sql = database.backend.sql
    orphans = [o for o in survivors if o.parent_id is not None and (o.parent_id in gone or o.parent_id in losing)]
    channels = delta_channels(there)
    needs: dict[str, set[str]] = {}
    for outline in orphans:
        lacking = history.channels_missing(
            transaction, database, key._replace(checkpoint_id=outline.checkpoint_id), channels
        )
        needs.setdefault(outline.parent_id or "", set()).update(lacking)
    bases = {
        parent_id: history.squash(transaction, database, key._replace(checkpoint_id=parent_id), lacking, there)
        for parent_id, lacking in needs.items()
        if lacking
    }
    calls: list[Call] = []
    for base in bases.values():
        calls += base.calls if base else []
    for outline in orphans:
        if base := bases.get(outline.parent_id or ""):
            new: str | None = base.checkpoint_id
        elif outline.parent_id in gone:
            new = surviving_ancestor(there, outline, gone) if relink else None
        else:
            continue
        params = {**key._replace(checkpoint_id=outline.checkpoint_id)._asdict(), "parent_id": new}
        calls.append((sql["set_parent"], params))
    if gone:
        which = {"thread_id": key.thread_id, "ns": key.ns, "checkpoint_ids": database.backend.array(gone)}
        names = ["delete_writes_of", "delete_run_writes_of", "delete_checkpoints_of"]
        calls += [(sql[name], which) for name in ([] if database.backend.whole else ["delete_blobs_of"]) + names]
    transaction.send(calls)
