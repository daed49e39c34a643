"""A save: messages become rows, and rows, conflict check and what refers to the rows commit together.

`attempt` has the two ways of a save: at once, and with the thread locked. Both make the same decisions.

A save that a lost connection cut off is repeated, although it may have been committed. Saves are idempotent:

- The values are encoded once. A running graph changes messages in place, and what is saved must be what was put.
- Every decision is made again while the thread is locked. A transaction that is still committing holds that lock.
- A checkpoint that is there exactly as it was to be saved is left alone, and is not checked for conflicts: another
  writer may have continued from it. Writes that are there stay or are replaced by themselves, and their messages are
  found as rows.
- A save into a thread that was deleted meanwhile is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

from holdfast.checkpoints.backends import records
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import metadata_of, ns_of, run_of, run_text, user_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.cache.thread_state import ThreadRow, ThreadState
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import leans
from holdfast.checkpoints.core.placement import RowOwner
from holdfast.checkpoints.delta import claim_writes
from holdfast.checkpoints.encryption.opening import stale_thread
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.langgraph_internals import START, WRITES_IDX_MAP
from holdfast.checkpoints.save.attempt import Save, Stale
from holdfast.checkpoints.save.kinds import AtOnce, Kind
from holdfast.checkpoints.threads import index, reindex, rollback


def save_checkpoint(
    database: Database,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    also: Sequence[Call] = (),
    *,
    replaces_head: bool = False,
    is_branch: bool = False,
) -> RunnableConfig:
    """Save a checkpoint with its messages: all of it or nothing.

    Args:
        database: the open database.
        config: names the thread, the namespace and the parent of the checkpoint.
        checkpoint: the checkpoint.
        metadata: its metadata.
        new_versions: the versions of the channels that changed since the parent.
        also: more statements for the same transaction.
        replaces_head: whether the checkpoint becomes the head without following the head that was loaded.
        is_branch: whether it is a refused checkpoint, whose id is below the head's. It leaves the head, the index of
            threads and what was said as they are. Its messages are said once a run goes on from it.

    Returns:
        The config of the saved checkpoint.

    Raises:
        ThreadConflict, ClockSkew, NotStorable, DamagedThread: see `HoldfastSaver.put`. Nothing was saved.
    """
    kind = _CheckpointSave(
        database, config, checkpoint, metadata, new_versions, also, replaces_head=replaces_head, is_branch=is_branch
    )
    database.inputs.compare(kind.key.thread_id, checkpoint["channel_values"])
    database.inputs.note(kind.key.thread_id, [(START, checkpoint["channel_values"].get(START))])
    _save(database, kind)
    checkpoint_id, thread = checkpoint["id"], kind.thread
    if isinstance(thread, conflicts.LoadedThread) and not is_branch:
        database.loads.forget_empty(config)
        checkpoint_id = database.loads.mark(checkpoint_id, thread)
    return {"configurable": {"thread_id": str(thread), "checkpoint_ns": kind.key.ns, "checkpoint_id": checkpoint_id}}


def save_writes(
    database: Database, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
) -> None:
    """Save what a task wrote onto a checkpoint, with its messages: all of it or nothing.

    Raises:
        ThreadConflict, NotStorable: see `HoldfastSaver.put_writes`. Nothing was saved.
    """
    kind = _WritesSave(database, config, writes, task_id, task_path)
    database.inputs.note(kind.key.thread_id, writes)
    _save(database, kind)


def _save(database: Database, kind: Kind) -> None:
    """Save as soon as the saves in the same thread that this process began earlier are written."""
    thread_id = kind.owner.thread_id
    with database.queues.join(thread_id) as ticket:
        for attempt in range(_MOST_STALE):
            try:
                save = Save(database, kind, ticket, use_cache=not attempt)
                persist(database.backend, save.attempt)
            except Stale:
                database.forget(thread_id)
            else:
                return
        raise stale_thread(database.backend, database.sealer, thread_id)


class _CheckpointSave:
    """The save of a checkpoint. See `save_checkpoint` for the arguments."""

    def __init__(
        self,
        database: Database,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        also: Sequence[Call],
        *,
        replaces_head: bool,
        is_branch: bool,
    ) -> None:
        thread, ns = database.loads.thread_of(config), ns_of(config)
        self.thread = thread
        self._database, self._versions = database, new_versions
        self._also, self._replaces_head, self._is_branch = also, replaces_head, is_branch
        self.key = key = records.CheckpointKey(str(thread), ns, checkpoint["id"])
        self._parent_id = parent_id = config["configurable"].get("checkpoint_id")
        stored, values = metadata_of(config, metadata), checkpoint["channel_values"]
        if database.storage_filter is not None:
            stored = database.storage_filter.metadata(stored)
            if changed := database.storage_filter.small(values):
                checkpoint = {**checkpoint, "channel_values": {**values, **changed}}
        self._metadata = stored
        run_id, user_id = run_text(stored.get("run_id")), user_of(stored.get("user_id"))
        self.owner = RowOwner(
            key.thread_id, ns, None if is_branch else key.checkpoint_id, run_id, stored.get("step"), user_id
        )
        self._fields = None if ns or is_branch else index.index_fields(stored, checkpoint["channel_values"])
        split = database.backend.split(checkpoint, new_versions)
        self._document = split.document
        self.values = split.values.items()
        self._locations = [database.backend.value_place(key, channel, split.document) for channel in split.values]
        self._leans = leans(stored) or database.backend.leans(split)
        # Messages that tasks wrote onto the parent belong to this checkpoint, unless it repeats an older one.
        self._delta_channels = claim_writes.channels_of_writes(stored) if self._fields and not replaces_head else ()
        self._parent = (
            records.CheckpointKey(key.thread_id, "", parent_id) if parent_id and self._delta_channels else None
        )
        follows = bool(ns) or isinstance(thread, conflicts.LoadedThread)
        self.may_keep = follows and self._parent is None and not (also or replaces_head or is_branch)
        self.renews = True

    # --- at once

    def at_once(self, save: Save, state: ThreadState | None) -> AtOnce | None:
        if not self.may_keep:
            return None
        if state is None:
            return self._begin(save)
        if self.key.ns:
            return self._in_subgraph(save, state)
        return self._after_head(save, state)

    def _begin(self, save: Save) -> AtOnce | None:
        """Return the statements for the first checkpoint of a new thread."""
        thread, fields = self.thread, self._fields
        is_new = isinstance(thread, conflicts.LoadedThread) and thread.head is None and thread.generation is None
        if not is_new or fields is None or self._parent_id is not None:
            return None
        new, sealer = _NEW._replace(key_no=save.key_no), self._database.sealer
        save.assume(new, {})
        if save.record_prompt():
            return None
        save.place_messages((), has_user=False)
        if save.placement.claimed_rows:  # of those that this save adds
            return None
        change = index.change_of_checkpoint(sealer, self.owner, new, fields, save.placement, save.lists)
        begin = (self._database.backend.sql["begin_thread"], change.params)
        moved_at = save.moves(None, unfinished=fields.unfinished)
        return AtOnce(
            [begin, *save.add_key()], [*save.new_rows(), *self._checkpoint(save)], change.row, moved_at, moved=True
        )

    def _after_head(self, save: Save, state: ThreadState) -> AtOnce | None:
        """Return the statements for a checkpoint that follows the head that its run has loaded."""
        thread, fields, row = self.thread, self._fields, state.row
        if not isinstance(thread, conflicts.LoadedThread) or fields is None:
            return None
        new, head = self.key.checkpoint_id, row.head
        follows = (thread.head if self._parent_id is None else self._parent_id) == head and new > (head or "")
        is_same = conflicts.is_loaded_generation(thread, row.generation)
        if not follows or not is_same or (head is None and (self._parent_id or row.next_seq > 1)):
            return None
        said = state.said(save.unclaimed())
        save.assume(row, state.rows)
        if said is None or save.record_prompt():
            return None
        save.place_messages(said, has_user=row.user_id is not None)
        claims = save.claims(state)
        if claims is None:
            return None
        sealer = self._database.sealer
        change = index.change_of_checkpoint(sealer, self.owner, row, fields, save.placement, save.lists)
        moved_at = save.moves(state, unfinished=fields.unfinished)
        name = "advance_thread" if moved_at or change.params["user_id"] is not None else "advance_in_place"
        advance = (self._database.backend.sql[name], {**change.params, **_as_known(row)})
        calls = [
            *save.new_rows(),
            *self._checkpoint(save),
            *record.close_earlier_requests(self._database, self.key, thread),
        ]
        return AtOnce([advance, *claims], calls, change.row, moved_at or state.moved_at, moved=moved_at > 0)

    def _in_subgraph(self, save: Save, state: ThreadState) -> AtOnce | None:
        """Return the statements for a checkpoint of a subgraph."""
        row, sql = state.row, self._database.backend.sql
        said = state.said(save.unclaimed())
        if said is None or not conflicts.is_loaded_generation(self.thread, row.generation):
            return None
        save.assume(row, state.rows)
        if save.record_prompt():
            return None
        save.place_messages(said, has_user=row.user_id is not None)
        claims = save.claims(state)
        if claims is None:
            return None
        guard, after = _guard(save, self._database, row)
        required = [guard, *claims]
        if self._parent_id:
            parent = {"thread_id": self.key.thread_id, "ns": self.key.ns, "checkpoint_id": self._parent_id}
            required.insert(1, (sql["has_state"], {**parent, **self._database.backend.base_params()}))
        return AtOnce(required, [*save.new_rows(), *self._checkpoint(save)], after, state.moved_at)

    # --- with the thread locked

    def locked(self, save: Save, transaction: Transaction) -> ThreadRow | None:
        database, key, fields = self._database, self.key, self._fields
        sql, sealer = database.backend.sql, database.sealer
        is_saved = database.backend.is_saved(key, self._parent_id, self._document, self._metadata)
        if save.attempts > 1 and is_saved and save.is_done(transaction, is_saved):
            return None
        # A plain `thread_id` may follow any checkpoint that is there.
        loaded = key.thread_id if self._is_branch else self.thread
        check = conflicts.ConflictCheck(loaded, key, self._parent_id, self._leans, self._replaces_head)
        conflict_reads = check.reads(sql)
        find_writes = [claim_writes.find_writes(database, self._parent)] if self._parent else []
        find_said = save.find_said() if fields else []
        found = save.lock(transaction, [*conflict_reads, *find_writes, *find_said])
        check.check(found[: len(conflict_reads)])
        del found[: len(conflict_reads)]
        written = (
            claim_writes.written_rows(database, key.thread_id, found.pop(0), self._delta_channels)
            if self._parent
            else {}
        )
        before = save.confirm(transaction)
        # The thread has something in it already, and is not in the index of threads yet.
        enters = bool(fields and before.head is None and (self._parent_id or before.next_seq > 1))
        save.place_messages({seq for rows in found for (seq,) in rows}, has_user=enters or before.user_id is not None)
        texts = save.read_human_texts(transaction, written) if written else ()
        if fields is None:
            change = index.change_of_rows(key.thread_id, before, save.placement)
            touch = [(sql["count_rows"], change.params)] if change else []
        else:
            change = index.change_of_checkpoint(
                sealer, self.owner, before, fields, save.placement, save.lists, texts, enters=enters
            )
            touch = [(sql["touch_thread"], change.params)]
            save.note_move()
        transaction.send(
            [
                *save.new_rows(),
                *save.claimed_rows(),
                *self._checkpoint(save),
                *(() if self._is_branch else record.close_earlier_requests(database, key, self.thread)),
                *self._also,
                # After the rows of this save, so that these are counted by then.
                *claim_writes.claim_rows(sql, save.row_owner, written),
                *save.record_prompt(),
                *touch,
            ]
        )
        if enters:
            reindex.reindex(transaction, database, key.thread_id)
        after = change.row if change else before
        if self.may_keep and not enters:
            save.keep_state(after)
        return after

    def _checkpoint(self, save: Save) -> list[Call]:
        stored = save.stored_values(self._locations)
        return self._database.backend.save_checkpoint(
            records.EncodedCheckpoint(self.key, self._parent_id, self._document, stored, self._versions, self._metadata)
        )


class _WritesSave:
    """The save of what a task wrote."""

    may_keep = True
    renews = False

    def __init__(
        self,
        database: Database,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> None:
        thread, ns = database.loads.thread_of(config), ns_of(config)
        self.thread, self.values = thread, writes
        self._database, self._task_id, self._task_path = database, task_id, task_path
        self.key = key = records.CheckpointKey(str(thread), ns, config["configurable"]["checkpoint_id"])
        self.owner = RowOwner(key.thread_id, ns, None, None, None)
        self._replaces = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        self._indexes = [WRITES_IDX_MAP.get(channel, number) for number, (channel, _) in enumerate(writes)]
        self._run_writes = rollback.record_run_writes(
            database, key, run_of(config), task_id, self._indexes, replace=self._replaces
        )
        self._requests = record.save_requests(database, key, task_id, writes)

    def at_once(self, save: Save, state: ThreadState | None) -> AtOnce | None:
        is_plain = len(set(self._indexes)) == len(self._indexes)  # one statement writes each only once
        if state is None or not is_plain or not conflicts.is_loaded_generation(self.thread, state.row.generation):
            return None
        save.assume(state.row, state.rows)
        if save.record_prompt():
            return None
        save.place_messages((), has_user=True)
        claims = save.claims(state)
        if claims is None:
            return None
        guard, after = _guard(save, self._database, state.row)
        return AtOnce([guard, *claims], [*save.new_rows(), *self._calls(save)], after, state.moved_at)

    def locked(self, save: Save, transaction: Transaction) -> ThreadRow | None:
        save.lock(transaction, ())
        before = save.confirm(transaction)
        save.place_messages((), has_user=True)
        change = index.change_of_rows(self.key.thread_id, before, save.placement)
        count = [(self._database.backend.sql["count_rows"], change.params)] if change else []
        transaction.send([*save.new_rows(), *save.claimed_rows(), *self._calls(save), *save.record_prompt(), *count])
        after = change.row if change else before
        save.keep_state(after)
        return after

    def _calls(self, save: Save) -> list[Call]:
        locations = [records.write_place(self.key, self._task_id, idx) for idx in self._indexes]
        stored = [
            records.StoredWrite(self._task_id, self._task_path, idx, *value)
            for idx, value in zip(self._indexes, save.stored_values(locations), strict=True)
        ]
        saved = self._database.backend.save_writes(self.key, stored, replace=self._replaces)
        return [*self._run_writes, *saved, *self._requests]


# Of a save that finds its thread otherwise than it was encoded for, each time anew.
_MOST_STALE = 4

_NEW = ThreadRow(0, 1, False, None, None, None, None, 1, None)


def _as_known(row: ThreadRow) -> dict[str, Any]:
    """Return the parameters that name what is known of a thread's own row."""
    return {"generation": row.generation, "was_next": row.next_seq, "was_head": row.head or ""}


def _guard(save: Save, database: Database, row: ThreadRow) -> tuple[Call, ThreadRow]:
    """Return the first statement of a save that is no root checkpoint, and the thread's row after it.

    It counts the new rows.
    """
    sql = database.backend.sql
    change = index.change_of_rows(save.thread_id, row, save.placement)
    if change is None:
        return (sql["check_thread"], {"thread_id": save.thread_id, **_as_known(row)}), row
    return (sql["count_known_rows"], {**change.params, **_as_known(row)}), change.row
