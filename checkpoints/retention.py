"""What is kept of a thread: deleting, pruning and copying it, taking back a run. Each thread in its own transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

from langgraph.checkpoint.serde.types import TASKS

from checkpoints import delta, interrupts
from checkpoints.configs import run_value
from checkpoints.errors import NotStorable, ThreadNotEmpty
from checkpoints.keeping import Namespace, Outline, delta_channels, latest, outlines, surviving_ancestor
from checkpoints.loading import explained
from checkpoints.port import Call, CheckpointKey, Row, Transaction, write_place
from checkpoints.sealing import Plain
from checkpoints.store import Store
from checkpoints.values import Attachable

Strategy = Literal["keep_latest", "delete"]

# LangGraph tells a node that it is next by a value in a channel of this name and its own.
_NEXT: Final = "branch:to:"

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


def ids(given: Sequence[str], what: str, text: Callable[[Any], str | None] = str) -> list[str]:
    """Several ids as texts, each once. What `text` has none for is none.

    Raises:
        TypeError: it is one id, which would be taken for an id per letter.
    """
    if isinstance(given, str | bytes):
        raise TypeError(f"{what} is a list of ids, and was given as one: {given!r}. Needed: [{given!r}].")
    return list(dict.fromkeys(id_ for id_ in map(text, given) if id_ is not None))


# --- deleting


def delete_thread(store: Store, thread_id: str) -> None:
    """Delete everything that is stored for a thread, and leave a tombstone."""
    params, sql = {"thread_id": thread_id}, store.backend.sql
    # The order matters: what the ledger keeps depends on the lineage, which the thread leaves then.
    names = ("delete_rows", "delete_run_writes", "delete_interrupts", *_LEDGER, "bury_thread")
    with store.backend.writing() as transaction:
        # A conversation of the stock saver needs its row now, to be the tombstone.
        *_, state = transaction.run([(sql[name], params) for name in ("adopt_thread", "lock_thread", "index_state")])
        transaction.send([*store.backend.delete_calls(thread_id), *((sql[name], params) for name in names)])
        if _searched(state):
            store.backend.full_text.clean(transaction)
    store.memory.forget(thread_id)


def _searched(state: Sequence[Row]) -> int:
    """Up to which row a thread is in the index of full text, from the rows of `index_state`."""
    return next((searched for _, searched, *_ in state), 0)


# --- pruning


def keep_latest(store: Store, thread_id: str) -> None:
    """Delete the checkpoints of a thread that nothing needs to go on with; message rows stay.

    Raises:
        DamagedThread: a checkpoint that is kept is built on one that cannot be read. Nothing was deleted.
    """
    with store.backend.writing() as transaction:
        thread = _lock(transaction, store, thread_id)
        kept = latest(thread, lambda outline: _is_unfinished(transaction, store, thread_id, outline))
        for ns, there in thread.items():
            gone = set(there) - kept.get(ns, set())
            survivors = [there[id_] for id_ in kept.get(ns, ())]
            # A base stays as it is for as long as the checkpoint that is built on it is kept.
            gone -= {
                there[o.parent_id].checkpoint_id
                for o in survivors
                if o.parent_id in there and there[o.parent_id].is_base
            }
            _remove(transaction, store, CheckpointKey(thread_id, ns, ""), there, gone, survivors, relink=False)


def _is_unfinished(transaction: Transaction, store: Store, thread_id: str, outline: Outline) -> bool:
    """Whether the checkpoint has tasks that are still to be done: LangGraph marks them in channels."""
    key = CheckpointKey(thread_id, outline.ns, outline.checkpoint_id)
    [link] = store.backend.chain(transaction, key, (), 1)
    return any(channel == TASKS or channel.startswith(_NEXT) for channel in delta.named(store, key, link))


def _lock(transaction: Transaction, store: Store, thread_id: str) -> dict[str, dict[str, Outline]]:
    """Lock a thread, and say what is in it."""
    sql, params = store.backend.sql, {"thread_id": thread_id}
    # A conversation of the stock saver needs its row now, to be locked.
    transaction.run([(sql["adopt_thread"], params), (sql["lock_thread"], params)])
    checkpoints, written = transaction.run([(sql["outline"], params), (sql["written"], params)])
    return outlines(checkpoints, written)


def _remove(
    transaction: Transaction,
    store: Store,
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
    sql = store.backend.sql
    orphans = [o for o in survivors if o.parent_id is not None and (o.parent_id in gone or o.parent_id in losing)]
    channels = delta_channels(there)
    needs: dict[str, set[str]] = {}
    for outline in orphans:
        lacking = delta.missing(transaction, store, key._replace(checkpoint_id=outline.checkpoint_id), channels)
        needs.setdefault(outline.parent_id or "", set()).update(lacking)
    bases = {
        parent_id: delta.squash(transaction, store, key._replace(checkpoint_id=parent_id), lacking, there)
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
        which = {"thread_id": key.thread_id, "ns": key.ns, "checkpoint_ids": store.backend.array(gone)}
        names = ["delete_writes_of", "delete_run_writes_of", "delete_checkpoints_of"]
        calls += [(sql[name], which) for name in ([] if store.backend.whole else ["delete_blobs_of"]) + names]
    transaction.send(calls)


# --- copying


def copy_thread(store: Store, source: str, target: str) -> None:
    """Copy everything of a thread into one that is empty. A source that is not there leaves the target as it is.

    Raises:
        ThreadNotEmpty: the target has something in it.
        NotStorable: what is stored is encrypted for its place.
    """
    sql = store.backend.sql
    if not isinstance(store.sealer, Plain):
        raise NotStorable(f"Thread {source!r} is encrypted, and an encrypted thread cannot be copied yet.")
    from_, to = {"thread_id": source}, {"thread_id": target}
    with store.backend.writing() as transaction:
        *_, [(exists,)] = transaction.run([(sql["adopt_thread"], from_), (sql["has_checkpoints"], from_)])
        if not exists:
            return
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
        names = ["copy_rows", "copy_checkpoints", "copy_writes", "copy_run_writes", "copy_interrupts", "copy_thread"]
        names.append("join_lineage")
        if not store.backend.whole:
            names.insert(1, "copy_blobs")
        transaction.send([(sql[name], {"thread_id": source, "target": target}) for name in names])
    store.memory.forget(target)


# --- taking back runs


def note_writes(
    store: Store, key: CheckpointKey, run_id: str | None, task_id: str, places: Sequence[int], *, replace: bool
) -> list[Call]:
    """The calls that note, before it is done, what a run writes onto a checkpoint that is not its own."""
    if run_id is None:
        return []
    params = {**key._asdict(), **_run(run_id), "task_id": task_id, "replace": replace}
    return [(store.backend.sql["note_write"], {**params, "idx": idx}) for idx in places]


def _run(run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "run_value": run_value(run_id)}


def threads_of_runs(store: Store, run_ids: Sequence[str]) -> list[str]:
    """The threads in which one of the runs has saved something."""
    with store.backend.reading() as transaction:
        found = transaction.run([(store.backend.sql["threads_of_run"], _run(run_id)) for run_id in run_ids])
    return sorted({str(thread_id) for rows in found for (thread_id,) in rows})


def take_back(store: Store, thread_id: str, run_ids: Collection[str]) -> None:
    """Delete all that some runs have saved in a thread: their checkpoints, what they wrote onto others, and the message
    rows that nothing else refers to. Who has loaded the thread before may not write to it any more.

    Raises:
        DamagedThread: something in the thread cannot be read. Nothing was deleted.
    """
    sql, params = store.backend.sql, {"thread_id": thread_id}
    with store.backend.writing() as transaction:
        thread = _lock(transaction, store, thread_id)
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
            _remove(
                transaction,
                store,
                CheckpointKey(thread_id, ns, ""),
                there,
                doomed[ns],
                survivors,
                relink=True,
                losing=losing.get(ns, ()),
            )
        transaction.send(_undo(store, thread_id, noted, run_ids, doomed))
        transaction.send([(sql["forget_run"], {**params, "run_id": run_id}) for run_id in run_ids])
        transaction.send(interrupts.taken_back(store, thread_id, run_ids))
        unused, inherited = _rows_of(transaction, store, thread_id, run_ids, doomed)
        heir = _heir(thread, doomed)
        transaction.send([(sql["delete_row"], {**params, "seq": seq}) for seq in unused])
        if min(unused, default=math.inf) <= _searched(state):
            store.backend.full_text.clean(transaction)
        if heir is not None:
            new = {**params, "checkpoint_id": heir.checkpoint_id, "run_id": heir.run_id}
            transaction.send([(sql["inherit_row"], {**new, "seq": seq}) for seq in inherited])
        transaction.send([(sql["next_generation"], params)])
    store.memory.forget(thread_id)


def _made_by(there: Namespace, run_ids: Collection[str]) -> set[str]:
    """The checkpoints of some runs, and the bases that nobody else is built on."""
    made = {id_ for id_, outline in there.items() if outline.run_id in run_ids}
    in_use = {outline.parent_id for id_, outline in there.items() if id_ not in made}
    return made | {id_ for id_, outline in there.items() if outline.is_base and id_ not in in_use}


def _undo(
    store: Store, thread_id: str, noted: Sequence[Row], run_ids: Collection[str], doomed: Mapping[str, Collection[str]]
) -> list[Call]:
    """The calls that undo what runs wrote onto checkpoints that stay.

    Args:
        noted: all that is noted of the thread, oldest first. If another run wrote over what one of these wrote, that
            stays, and what was there before is from now on what that run has replaced.
    """
    sql = store.backend.sql
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
    store: Store,
    thread_id: str,
    run_ids: Collection[str],
    doomed: Mapping[str, Collection[str]],
) -> tuple[list[int], list[int]]:
    """The message rows that these runs said first: those that nothing refers to any more, and those that something
    does.

    Rows that other runs said stay, although nothing may refer to them: they are the transcript.
    """
    sql, params = store.backend.sql, {"thread_id": thread_id}
    gone = {id_ for ids_ in doomed.values() for id_ in ids_}
    references, rows = transaction.run([(sql["references"], params), (sql["rows_of_runs"], params)])
    used = {seq for reference in references for seq in _refers_to(store, thread_id, reference)}
    said = [seq for seq, run_id, checkpoint_id in rows if run_id in run_ids or checkpoint_id in gone]
    unsaid = [seq for seq, _, checkpoint_id in rows if checkpoint_id is None]
    return [seq for seq in said + unsaid if seq not in used], [seq for seq in said if seq in used]


def _refers_to(store: Store, thread_id: str, reference: Row) -> set[int]:
    """The message rows that a row of the statement `references` refers to."""
    ns, first, second, idx, type_, blob = reference
    if idx is not None:
        key, channel = CheckpointKey(thread_id, ns, first), ""
        place = write_place(key, second, idx)
    elif store.backend.whole:
        key, channel = CheckpointKey(thread_id, ns, first), ""
        place = store.backend.value_place(key, "", None)
    else:
        key, channel = CheckpointKey(thread_id, ns, second), first
        place = store.backend.value_place(key, channel, {"channel_versions": {channel: second}})
    with explained(thread_id, key.checkpoint_id, channel):
        part = Attachable(channel, *store.sealer.open_value(thread_id, place, type_, blob or b""))
    return {abs(ref) for refs in part.lists for ref in refs}
