"""A save: messages become rows, and rows, conflict check and what refers to the rows commit together.

A save that a lost connection cut off is repeated, although it may have been committed. Saves are idempotent:

- The values are encoded once. A running graph changes messages in place, and what is saved must be what was put.
- Every decision is made again while the thread is locked. A transaction that is still committing holds that lock.
- A checkpoint that is there exactly as it was to be saved is left alone, and is not checked for conflicts: another
  writer may have continued from it. Writes that are there stay or are replaced by themselves, and their messages are
  found as rows.
- A save into a thread that was deleted meanwhile is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

from holdfast.checkpoints.backends import records
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import metadata_of, ns_of, run_of, run_text, user_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import leans
from holdfast.checkpoints.core.placement import UNCLAIMED, Placement, RowOwner, cache_entries, place, row_params
from holdfast.checkpoints.core.queue import Ticket
from holdfast.checkpoints.delta import claim_writes
from holdfast.checkpoints.errors import ThreadConflict, Unreachable
from holdfast.checkpoints.interrupts import record
from holdfast.checkpoints.langgraph_internals import START, WRITES_IDX_MAP
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.known import Known, Template
from holdfast.checkpoints.serde.messages import encode, snapshot
from holdfast.checkpoints.serde.values import Detacher
from holdfast.checkpoints.threads import index, reindex, rollback

_DELETED: Final = "while the database was out of reach, the thread, or a run in it, was deleted"
_LOST: Final = "the database that came back does not have all that this run has saved"


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
    thread, ns = database.loads.thread_of(config), ns_of(config)
    backend, sql = database.backend, database.backend.sql
    key = records.CheckpointKey(str(thread), ns, checkpoint["id"])
    parent_id = config["configurable"].get("checkpoint_id")
    stored_metadata = metadata_of(config, metadata)
    run_id, user_id = run_text(stored_metadata.get("run_id")), user_of(stored_metadata.get("user_id"))
    owner = RowOwner(
        str(thread), ns, None if is_branch else key.checkpoint_id, run_id, stored_metadata.get("step"), user_id
    )
    fields = None if ns or is_branch else index.index_fields(stored_metadata, checkpoint["channel_values"])
    document, values = split = backend.split(checkpoint, new_versions)
    locations = [backend.value_place(key, channel, document) for channel in values]
    is_saved = backend.is_saved(key, parent_id, document, stored_metadata)
    needs_parent = leans(stored_metadata) or backend.leans(split)
    # A plain `thread_id` may follow any checkpoint that is there.
    check = conflicts.ConflictCheck(str(thread) if is_branch else thread, key, parent_id, needs_parent, replaces_head)
    # Messages that tasks wrote onto the parent belong to this checkpoint, unless it repeats an older one.
    delta_channels = claim_writes.channels_of_writes(stored_metadata) if fields and not replaces_head else ()
    parent = records.CheckpointKey(key.thread_id, "", parent_id) if parent_id and delta_channels else None
    database.inputs.compare(key.thread_id, checkpoint["channel_values"])
    database.inputs.note(key.thread_id, [(START, checkpoint["channel_values"].get(START))])

    def write(transaction: Transaction, save: _Save) -> bool:
        if save.attempts > 1 and is_saved and save.is_done(transaction, is_saved):
            return False
        conflict_reads = check.reads(sql)
        find_writes = [claim_writes.find_writes(database, parent)] if parent else []
        find_said = save.find_said() if fields else []
        found = save.lock(transaction, thread, [*conflict_reads, *find_writes, *find_said])
        check.check(found[: len(conflict_reads)])
        del found[: len(conflict_reads)]
        written = claim_writes.written_rows(database, key.thread_id, found.pop(0), delta_channels) if parent else {}
        thread_row = save.confirm(transaction)
        # The thread has something in it already, and is not in the index of threads yet.
        enters = bool(fields and thread_row.head is None and (parent_id or thread_row.next_seq > 1))
        save.place_messages(
            {seq for rows in found for (seq,) in rows}, has_user=enters or thread_row.user_id is not None
        )
        texts = save.read_human_texts(transaction, written) if written else ()
        stored = save.stored_values(locations)
        calls = [
            *save.row_calls(),
            *backend.save_checkpoint(
                records.EncodedCheckpoint(key, parent_id, document, stored, new_versions, stored_metadata)
            ),
            *(() if is_branch else record.close_earlier_requests(database, key, thread)),
            *also,
            # After the rows of this save, so that these are counted by then.
            *claim_writes.claim_rows(sql, save.row_owner, written),
            *save.thread_calls(fields, texts, enters=enters),
        ]
        transaction.send(calls)
        if enters:
            reindex.reindex(transaction, database, key.thread_id)
        return True

    _save(database, owner, values.items(), write)
    checkpoint_id = checkpoint["id"]
    if isinstance(thread, conflicts.LoadedThread) and not is_branch:
        database.loads.forget_empty(config)
        checkpoint_id = database.loads.mark(checkpoint_id, thread)
    return {"configurable": {"thread_id": str(thread), "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def save_writes(
    database: Database, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
) -> None:
    """Save what a task wrote onto a checkpoint, with its messages: all of it or nothing.

    Raises:
        ThreadConflict, NotStorable: see `HoldfastSaver.put_writes`. Nothing was saved.
    """
    thread, ns = database.loads.thread_of(config), ns_of(config)
    key = records.CheckpointKey(str(thread), ns, config["configurable"]["checkpoint_id"])
    owner = RowOwner(key.thread_id, ns, None, None, None)
    backend = database.backend
    replace = all(channel in WRITES_IDX_MAP for channel, _ in writes)
    indexes = [WRITES_IDX_MAP.get(channel, number) for number, (channel, _) in enumerate(writes)]
    locations = [records.write_place(key, task_id, idx) for idx in indexes]
    run_writes = rollback.record_run_writes(database, key, run_of(config), task_id, indexes, replace=replace)
    requests = record.save_requests(database, key, task_id, writes)
    database.inputs.note(key.thread_id, writes)

    def write(transaction: Transaction, save: _Save) -> bool:
        save.lock(transaction, thread, ())
        save.confirm(transaction)
        save.place_messages((), has_user=True)
        stored = [
            records.StoredWrite(task_id, task_path, idx, *value)
            for idx, value in zip(indexes, save.stored_values(locations), strict=True)
        ]
        calls = [
            *save.row_calls(),
            *run_writes,
            *backend.save_writes(key, stored, replace=replace),
            *requests,
            *save.thread_calls(),
        ]
        transaction.send(calls)
        return True

    _save(database, owner, writes, write)


# --- attempts


class _Stale(Exception):
    """What this process has cached is of another generation of the thread, or perhaps of another database."""


_Write = Callable[[Transaction, "_Save"], bool]
"""Writes a save in a transaction; returns `False` if an earlier attempt has written it already."""


def _save(database: Database, owner: RowOwner, values: Collection[tuple[str, Any]], write: _Write) -> None:
    """Save values as soon as the saves in the same thread that this process began earlier have locked it."""
    with database.queues.join(owner.thread_id) as ticket:
        try:
            save = _Save(database, owner, values, ticket, use_cache=True)
            persist(database.backend, partial(save.attempt, write))
        except _Stale:
            database.cache.forget(owner.thread_id)
            database.inputs.forget(owner.thread_id)
            save = _Save(database, owner, values, ticket, use_cache=False)
            persist(database.backend, partial(save.attempt, write))


class _Save:
    """A save that is attempted until it is committed: its values as bytes, and what the last attempt has decided."""

    thread_row: index.ThreadRow
    placement: Placement
    row_owner: RowOwner
    """The owner as the message rows name it: with a `user_id` only if that is not the thread's own user."""

    def __init__(
        self,
        database: Database,
        owner: RowOwner,
        values: Collection[tuple[str, Any]],
        ticket: Ticket,
        *,
        use_cache: bool,
    ) -> None:
        self.attempts = 0
        self._database = database
        self._owner = owner
        self._ticket = ticket
        self._thread = {"thread_id": owner.thread_id}
        self._prompt: str | None = None
        self._locked_generation: int | None = None
        self._era = database.cache.era
        self._generation, self._known = database.cache.recall(owner.thread_id, owner.ns) if use_cache else (None, {})
        # Encoding is the larger part of the work, and is done before anything is locked.
        key, said = database.sealer.digest_key(owner.thread_id), database.inputs.channels(owner.thread_id)
        detacher = Detacher(database.types, self._known, key=key, said=said)
        self._values = [detacher.detach(channel, value) for channel, value in values]
        self._drafts = detacher.drafts.values()
        self.lists = [list_ for value in self._values for list_ in value.lists]

    def attempt(self, write: _Write) -> None:
        """Write the save in a transaction of its own, and cache what it has written.

        Raises:
            _Stale: the cache was stale at the first attempt. Nothing was saved.
            ThreadConflict: the cache became stale between two attempts.
        """
        backend, prompts, owner = self._database.backend, self._database.prompts, self._owner
        self.attempts += 1
        for draft in self._drafts:
            draft.ref, draft.claimed = 0, False  # an earlier attempt may have set them
        if not self._ticket.wait(backend.patience.is_lost):
            raise Unreachable(f"{backend} is out of reach, and this save waits no longer.", maybe_saved=False)
        try:
            with backend.writing() as transaction:
                if not write(transaction, self):
                    return
        except _Stale:
            if self.attempts == 1:
                raise
            # Encoded again, the messages would be what they are by now, and not what was put.
            raise ThreadConflict(owner.thread_id, _DELETED) from None
        if prompts.get(owner.thread_id) is self._prompt:
            prompts.pop(owner.thread_id, None)
        known, templates = cache_entries(self._drafts, self.placement, owner.ns)
        self._database.cache.saved(owner.thread_id, owner.ns, self.thread_row.generation, known, templates)

    # --- the steps of an attempt, in order

    def is_done(self, transaction: Transaction, is_saved: Sequence[Call]) -> bool:
        """Return whether an earlier attempt whose outcome was unknown has saved the checkpoint."""
        # In this order: if that attempt is still committing, the lock is acquired after it.
        _, rows = transaction.run([(self._database.backend.sql["lock_thread"], self._thread), *is_saved])
        return bool(rows)

    def find_said(self) -> list[Call]:
        """Return the calls that find which known messages that this save claims are in the conversation already."""
        claimed = {
            abs(message.ref)
            for list_ in self.lists
            for message in list_.messages
            if isinstance(message, Known) and not message.claimed
        }
        sql = self._database.backend.sql["rows_said"]
        return [(sql, {**self._thread, "first": first, "last": last}) for first, last in ranges.spans(claimed)]

    def lock(self, transaction: Transaction, thread: str, reads: Sequence[Call]) -> list[list[records.Row]]:
        """Lock the thread and read all that the decisions need, in one round trip.

        Args:
            transaction: the transaction.
            thread: the `thread_id` in the config of the run, often a `LoadedThread`.
            reads: the calls whose rows to return, in order.

        Raises:
            ThreadConflict: the thread, or a run in it, was deleted after it was loaded.
        """
        backend, digests = self._database.backend, {draft.row.digest for draft in self._drafts}
        add = [(backend.sql["add_thread"], self._thread)] if self._generation is None else []
        lock, same_digest = (backend.sql["lock_thread"], self._thread), backend.rows_with_digests
        found = transaction.run([*add, lock, *reads, *same_digest(self._owner.thread_id, digests)])
        first = len(add)
        if not found[first]:
            raise _Stale  # the database was restored or emptied by other means
        self.thread_row = index.ThreadRow(*found[first][0])
        conflicts.check_generation(thread, self.thread_row.generation)
        last = first + len(reads)
        self._rows_by_digest: dict[bytes, list[records.Row]] = {}
        for row in (row for rows in found[last + 1 :] for row in rows):
            if row.message_id is not None or row.seq >= self.thread_row.live_from:
                self._rows_by_digest.setdefault(row.digest, []).append(row)
        return found[first + 1 : last + 1]

    def confirm(self, transaction: Transaction) -> index.ThreadRow:
        """Return the thread's row if what is known of the thread still holds.

        Raises:
            ThreadConflict: the thread was deleted between two attempts, or rows that this save refers to were lost.
        """
        self._ticket.release()  # the thread is locked, and the next save in it may begin
        generation = self.thread_row.generation
        if self._known and generation != self._generation:
            raise _Stale
        if self._locked_generation is not None and not conflicts.is_same(self._locked_generation, generation):
            raise ThreadConflict(self._owner.thread_id, _DELETED)
        self._locked_generation = generation
        if self._known and self._era != self._database.cache.era:
            self._check_known_rows(transaction)
        return self.thread_row

    def _check_known_rows(self, transaction: Transaction) -> None:
        """Check that the rows of known messages are there. The database may be another one since they were cached, such
        as a standby that lacks the last of them."""
        if self.attempts == 1:
            raise _Stale
        known_by_seq = {
            abs(message.ref): message
            for list_ in self.lists
            for message in list_.messages
            if isinstance(message, Known)
        }
        sql = self._database.backend.sql["load_rows"]
        spans = ranges.spans(known_by_seq)
        found = transaction.run([(sql, {**self._thread, "first": first, "last": last}) for first, last in spans])
        digests = {row.seq: row.digest for rows in found for row in rows}
        key = self._database.sealer.digest_key(self._owner.thread_id)
        for seq, known in known_by_seq.items():
            # As it was when it was put: the graph may have changed the message since.
            message = Template(type(known.message), known.contents, UNCLAIMED).make()
            if digests.get(seq) != encode(snapshot(message), self._database.types, key=key).digest:
                raise ThreadConflict(self._owner.thread_id, _LOST)

    def place_messages(self, said: Collection[int], *, has_user: bool) -> None:
        """Choose the rows of the messages.

        Args:
            said: the rows that `find_said` has found.
            has_user: whether the thread's user is settled, so that another user is named in the rows.
        """
        thread_row, owner = self.thread_row, self._owner
        names_user = has_user and owner.user_id != thread_row.user_id
        self.row_owner = owner if names_user else owner._replace(user_id=None)
        self.placement = place(self.lists, self._rows_by_digest, thread_row.next_seq, self.row_owner, said)

    def read_human_texts(self, transaction: Transaction, written: claim_writes.WrittenRows) -> list[records.Row]:
        """Read what people said in rows that tasks wrote, if the thread needs a title."""
        if self.thread_row.title is not None:
            return []
        calls = claim_writes.find_human_texts(self._database.backend.sql, self._owner.thread_id, written)
        return [row for rows in transaction.run(calls) for row in rows]

    def stored_values(self, locations: Sequence[str]) -> list[records.StoredValue]:
        """Return the values as they are stored, each bound to its location."""
        seal, thread_id = self._database.sealer.seal_value, self._owner.thread_id
        return [
            records.StoredValue(value.channel, *seal(thread_id, location, *value.finish()))
            for location, value in zip(locations, self._values, strict=True)
        ]

    def row_calls(self) -> list[Call]:
        """Return the calls that add and claim message rows."""
        sql, sealer = self._database.backend.sql, self._database.sealer
        return [
            *((sql["add_row"], row_params(sealer, self.row_owner, new)) for new in self.placement.new_rows),
            *((sql["claim_row"], params) for params in self.placement.claimed_rows),
        ]

    def thread_calls(
        self, fields: index.IndexFields | None = None, texts: Iterable[records.Row] = (), *, enters: bool = False
    ) -> list[Call]:
        """Return the calls that record the system prompt and update the thread's row, as far as these change.

        Args:
            fields: what a root checkpoint says of its thread.
            texts: see `read_human_texts`.
            enters: whether the thread enters the index of threads, and is not a new one.
        """
        sql, thread_row = self._database.backend.sql, self.thread_row
        self._prompt = self._database.prompts.get(self._owner.thread_id)
        return [
            *index.record_prompt(sql, self._owner.thread_id, thread_row, self._prompt),
            *index.update_thread_row(
                sql, self._owner, thread_row, fields, self.placement, self.lists, texts, enters=enters
            ),
        ]
