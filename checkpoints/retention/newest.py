"""Pruning of a thread to its newest checkpoints, in such a way that conversations that go on can do all they could."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Namespace, Outline, outlines
from holdfast.checkpoints.threads import prune

MOST: Final = 256
"""The maximum number of checkpoints that one transaction deletes of a namespace: SQLite has one writer at a time."""

MOST_BESIDE: Final = 3
"""The number of checkpoints that are usually kept besides the newest ones; see `checkpoints_to_keep`."""


class Kept(NamedTuple):
    """The checkpoints of a thread that stay."""

    by_namespace: dict[str, set[str]]
    parents: set[str]
    """The root checkpoints that another one may be linked to in place of a deleted parent."""


def keep_newest(transaction: Transaction, database: Database, thread_id: str, count: int, *, most: int = MOST) -> int:
    """Delete the oldest checkpoints of a thread, and keep the newest ones and what is needed besides.

    Args:
        transaction: the transaction.
        database: the database.
        thread_id: the thread.
        count: how many checkpoints to keep at least.
        most: the maximum number to delete of a namespace.

    Returns:
        How many were deleted. If it is `most` or more, there may be others.

    Raises:
        DamagedThread: a kept checkpoint depends on one that cannot be read. Nothing was deleted.
    """
    thread = prune.lock_and_outline(transaction, database, thread_id)
    kept = _to_keep(transaction, database, thread_id, thread, count, most)
    return prune.remove_others(transaction, database, thread_id, thread, kept.by_namespace, kept.parents)


def count_older(transaction: Transaction, database: Database, thread_id: str, count: int) -> int:
    """Return how many checkpoints `keep_newest` would delete in the end. Changes nothing."""
    sql, params = database.backend.sql, {"thread_id": thread_id}
    rows, written = transaction.run([(sql["outline"], params), (sql["written"], params)])
    thread = outlines(rows, written)
    kept = _to_keep(transaction, database, thread_id, thread, count, len(rows))
    return sum(len(there) - len(kept.by_namespace.get(ns, ())) for ns, there in thread.items())


def _to_keep(
    transaction: Transaction, database: Database, thread_id: str, thread: Mapping[str, Namespace], count: int, most: int
) -> Kept:
    [asked] = transaction.run([(database.backend.sql["asked_at"], {"thread_id": thread_id})])
    return checkpoints_to_keep(
        thread,
        count,
        lambda outline: prune.has_tasks(transaction, database, thread_id, outline),
        {row.checkpoint_id for row in asked},
        most,
    )


def checkpoints_to_keep(
    thread: Mapping[str, Namespace],
    count: int,
    has_tasks: Callable[[Outline], bool],
    asked: Collection[str] = (),
    most: int = MOST,
) -> Kept:
    """Return the checkpoints of a thread that stay.

    In the root namespace:

    - the newest ones, as many as `count`;
    - the checkpoint before the last run, so that the run can be rolled back;
    - the input of the last turn, and the checkpoint before each input that is kept, so that each of these turns can be
      undone;
    - the checkpoints with open requests, kept ones too;
    - all that is needed to continue the thread; see `prune.checkpoints_to_keep`.

    In the namespaces of subgraphs: the newest ones, if they are not older than the root checkpoints above; of a memory
    of its own also the state before these; and all that is needed to continue the thread.

    Args:
        thread: all checkpoints of the thread.
        count: the number of newest checkpoints.
        has_tasks: returns whether a checkpoint has tasks left to run.
        asked: the ids of the checkpoints with open requests.
        most: the maximum number of checkpoints to delete of a namespace: the oldest ones.
    """
    root = _states(thread.get("", {}))
    newest = sorted(root)[-count:]
    turn = _last_turn(root, newest[-1]) if newest else set()
    own = {*newest, *turn, *(id_ for id_ in asked if id_ in root)}
    own |= _before_inputs(root, own)
    kept = prune.checkpoints_to_keep(thread, has_tasks, own)
    cut = min({*newest, *turn}, default="")
    for ns, there in thread.items():
        ids = sorted(_states(there))
        if ns:
            kept.setdefault(ns, set()).update(id_ for id_ in ids[-count:] if id_ >= cut)
            if ":" not in ns:
                kept[ns].update([id_ for id_ in ids if id_ < cut][-1:])
        gone = [id_ for id_ in ids if id_ not in kept.get(ns, ())]
        kept.setdefault(ns, set()).update(gone[most:])
    kept[""] |= _before_inputs(root, kept[""])
    return Kept(kept, turn)


def _states(there: Namespace) -> dict[str, Outline]:
    return {id_: outline for id_, outline in there.items() if not outline.is_base}


def _last_turn(root: Namespace, head: str) -> set[str]:
    """Return the input of the last turn, and the checkpoint before the last run."""
    found: set[str] = set()
    run_id, at = root[head].run_id, root.get(head)
    in_run = True
    while at is not None:
        if in_run and at.run_id != run_id:
            in_run = False
            found.add(at.checkpoint_id)
        if at.metadata.get("source") == "input":
            before = root.get(at.parent_id or "")
            found |= {at.checkpoint_id} | ({before.checkpoint_id} if before and in_run else set())
            break
        at = root.get(at.parent_id or "")
    return found


def _before_inputs(root: Namespace, kept: Collection[str]) -> set[str]:
    """Return the checkpoints before inputs that are kept."""
    found: set[str] = set()
    todo = list(kept)
    while todo:
        outline = root.get(todo.pop())
        parent = root.get(outline.parent_id or "") if outline and outline.metadata.get("source") == "input" else None
        if parent is not None and parent.checkpoint_id not in found:
            found.add(parent.checkpoint_id)
            todo.append(parent.checkpoint_id)
    return found
