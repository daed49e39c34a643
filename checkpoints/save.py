"""One save: messages become rows, and rows, guard and what refers to the rows commit together.

A save that was cut off is repeated, although it may have taken place. That comes to the same as once because

- it is encoded once: a graph that runs on changes messages in place, and what is saved is what was put;
- all decisions are made again under the thread's lock, which a transaction that is still at its commit holds;
- a checkpoint that is there as it was to be saved is left alone, before the guard is asked: somebody else may have gone
  on from it. Writes that are there stay, or are replaced by themselves, and their messages are found as rows;
- what would be saved in a thread that was deleted meanwhile is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import (
    Call,
    CheckpointKey,
    Row,
    StoredValue,
    Transaction,
)
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.cache import Known, Template
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.placement import (
    UNCLAIMED,
    NewRow,
    Placement,
    RowOwner,
    learned,
    place,
)
from holdfast.checkpoints.core.queue import Ticket
from holdfast.checkpoints.delta import claim_writes
from holdfast.checkpoints.errors import ThreadConflict, Unreachable
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.messages import encode, snapshot
from holdfast.checkpoints.serde.values import Detached, Detacher
from holdfast.checkpoints.threads import index, reindex


class _Outdated(Exception):
    """What this process remembers of the thread is not of the thread that is there."""


@dataclass
class _Encoded:
    """A save as bytes, but for the rows of its messages, and what has become of it."""

    turn: Ticket
    """When it may begin."""
    era: int
    """Of the memory, when it was asked."""
    generation: int | None
    """Of the thread, as far as it is remembered."""
    known: Any
    """Its messages whose rows are remembered."""
    detacher: Detacher
    detached: Sequence[Detached]
    attempts: int = 0
    locked: int | None = None
    """The thread's generation as an attempt has found it."""


_DELETED: Final = "while the database was out of reach, the thread, or a run in it, was deleted"
_LOST: Final = "the database that came back does not have all that this run has saved"


class Value(NamedTuple):
    """A value to save."""

    channel: str
    place: str
    """See `Sealer`."""
    value: Any


@dataclass(frozen=True)
class Save:
    """Values to save in a thread, with their messages as rows."""

    database: Database
    thread: str
    """The `thread_id` as it stands in the run's config: it may say what the run has loaded."""
    home: RowOwner
    """Where the messages belong."""
    values: Sequence[Value]
    make_calls: Callable[[Sequence[StoredValue]], Sequence[Call]]
    """From the values as bytes to the statements that save them."""
    parent_id: str | None = None
    """Of a checkpoint, the one that it follows."""
    leans: bool = False
    """Whether it is incomplete without that one."""
    is_saved: Sequence[Call] = ()
    """The call that gives a row if the checkpoint is there already, for when the save is repeated."""
    facts: index.IndexFields | None = None
    """Of a root checkpoint, what it says of its thread."""
    beside: bool = False
    """Whether a checkpoint takes the place of the head that was loaded without following it."""
    made_of_writes: Collection[str] = ()
    """The channels of a root checkpoint whose messages are what tasks wrote onto its parent; see `settling`."""

    def run(self) -> None:
        """
        Raises:
            ThreadConflict, ClockSkew, NotStorable, DamagedThread: see `HoldfastSaver.put`. Nothing was saved.
        """
        memory = self.database.cache
        with self.database.queues.join(self.home.thread_id) as turn:
            try:
                era = memory.era
                self._save(turn, era, *memory.recall(self.home.thread_id, self.home.ns))
            except _Outdated:
                memory.forget(self.home.thread_id)
                self._save(turn, memory.era, None, {})

    def _save(self, turn: Ticket, era: int, generation: int | None, known: Any) -> None:
        # Encoding is the larger part of the work, and is done before anything is locked.
        key = self.database.sealer.digest_key(self.home.thread_id)
        detacher = Detacher(self.database.types, known, key=key)
        detached = [detacher.detach(value.channel, value.value) for value in self.values]
        encoded = _Encoded(turn, era, generation, known, detacher, detached)

        def save() -> None:
            try:
                self._attempt(encoded)
            except _Outdated:
                if encoded.attempts == 1:
                    raise
                # Encoded anew it would be what the messages are by now, and not what was put.
                raise ThreadConflict(self.home.thread_id, _DELETED) from None

        persist(self.database.backend, save)

    def _attempt(self, encoded: _Encoded) -> None:
        drafts, sql = encoded.detacher.drafts.values(), self.database.backend.sql
        encoded.attempts += 1
        for draft in drafts:
            draft.ref, draft.claimed = 0, False  # as another attempt may have left it
        if not encoded.turn.wait(self.database.backend.patience.is_lost):
            raise Unreachable(f"{self.database.backend} is out of reach, and nobody waits any more.", maybe_saved=False)
        with self.database.backend.writing() as transaction:
            if encoded.attempts > 1 and self._is_done(transaction):
                return
            locked, found, said, written = self._lock(transaction, encoded, {draft.row.digest for draft in drafts})
            current = locked.generation
            encoded.turn.over()  # the thread is locked: who comes next, comes next
            if encoded.known and current != encoded.generation:
                raise _Outdated
            if encoded.locked is not None and not conflicts.is_same(encoded.locked, current):
                raise ThreadConflict(self.home.thread_id, _DELETED)
            encoded.locked = current
            if encoded.known and encoded.era != self.database.cache.era:
                self._check_known(transaction, encoded)
            lists = [list_ for value in encoded.detached for list_ in value.lists]
            enters = self._enters(locked)
            others = (enters or locked.user_id is not None) and self.home.user_id != locked.user_id
            home = self.home if others else self.home._replace(user_id=None)
            placement = place(lists, found, locked.next_seq, home, said)
            words: list[Row] = []
            if written and locked.title is None:
                read = transaction.run(claim_writes.find_human_texts(sql, self.home.thread_id, written))
                words = [row for rows in read for row in rows]
            transaction.send(self._calls(encoded.detached, home, placement))
            prompt = self.database.prompts.get(self.home.thread_id)
            transaction.send(
                [
                    # After what this save has itself, whose rows are counted by then.
                    *claim_writes.claim_rows(sql, home, written),
                    *index.record_prompt(sql, self.home.thread_id, locked, prompt),
                    *index.update_thread_row(
                        sql, self.home, locked, self.facts, placement, lists, words, enters=enters
                    ),
                ]
            )
            if enters:
                reindex.reindex(transaction, self.database, self.home.thread_id)
        if self.database.prompts.get(self.home.thread_id) is prompt:
            self.database.prompts.pop(self.home.thread_id, None)
        known, templates = learned(drafts, placement, self.home.ns)
        self.database.cache.saved(self.home.thread_id, self.home.ns, current, known, templates)

    def _check_known(self, transaction: Transaction, encoded: _Encoded) -> None:
        """The database may be another one since rows were recalled, such as a standby that lacks the last of them."""
        if encoded.attempts == 1:
            raise _Outdated
        found = {
            abs(message.ref): message
            for value in encoded.detached
            for list_ in value.lists
            for message in list_.messages
            if isinstance(message, Known)
        }
        sql, thread = self.database.backend.sql["load_rows"], {"thread_id": self.home.thread_id}
        spans = ranges.spans(found)
        read = transaction.run([(sql, {**thread, "first": first, "last": last}) for first, last in spans])
        digests = {row.seq: row.digest for rows in read for row in rows}
        key = self.database.sealer.digest_key(self.home.thread_id)
        for seq, known in found.items():
            # As it was when it was put: the graph may have changed it since.
            message = Template(type(known.message), known.fingerprint, UNCLAIMED).make()
            if digests.get(seq) != encode(snapshot(message), self.database.types, key=key).digest:
                raise ThreadConflict(self.home.thread_id, _LOST)

    def _is_done(self, transaction: Transaction) -> bool:
        """Whether an attempt of which nobody knew has saved the checkpoint."""
        if not self.is_saved:
            return False
        # In this order: another attempt that is still at its commit ends before the lock is got.
        lock = (self.database.backend.sql["lock_thread"], {"thread_id": self.home.thread_id})
        _, rows = transaction.run([lock, *self.is_saved])
        return bool(rows)

    def _lock(
        self, transaction: Transaction, encoded: _Encoded, digests: set[bytes]
    ) -> tuple[index.ThreadRow, dict[bytes, list[Row]], set[int], claim_writes.WrittenRows]:
        """Lock the thread, and read all that the decisions need, in one round trip.

        Returns:
            The thread's own row, the rows with each digest, which of the known rows are part of the conversation, and
            which rows were written onto the parent.
        """
        sql = self.database.backend.sql
        thread: dict[str, Any] = {"thread_id": self.home.thread_id}
        guarded = self.home.checkpoint_id is not None and self.home.ns == ""
        before = [(sql["add_thread"], thread)] if encoded.generation is None else []
        known, written = self._said_of(encoded), self._find_written()
        calls = [
            *before,
            (sql["lock_thread"], thread),
            *([(sql["head"], {**thread, "parent_id": self.parent_id})] if guarded else []),
            *self._find_parent(),
            *written,
            *known,
            *self.database.backend.rows_with_digests(self.home.thread_id, digests),
        ]
        [found_thread, *rest] = transaction.run(calls)[len(before) :]
        if not found_thread:
            raise _Outdated  # the database was restored or emptied behind our back
        locked = index.ThreadRow(*found_thread[0])
        conflicts.check_generation(self.thread, locked.generation)
        if guarded:
            assert self.home.checkpoint_id is not None  # noqa: S101 - this is what `guarded` says
            [[(head, has_parent)], *rest] = rest
            new, there = self.home.checkpoint_id, bool(has_parent)
            conflicts.check_head(self.thread, self.parent_id, new, head, has_parent=there, beside=self.beside)
        if self._find_parent():
            [parent, *rest] = rest
            conflicts.check_parent(self.thread, self.parent_id, parent, leans=self.leans, beside=self.beside)
        written_rows, rest = [row for rows in rest[: len(written)] for row in rows], rest[len(written) :]
        said = {seq for rows in rest[: len(known)] for (seq,) in rows}
        found: dict[bytes, list[Row]] = {}
        for row in (row for rows in rest[len(known) :] for row in rows):
            if row.message_id is not None or row.seq >= locked.live_from:
                found.setdefault(row.digest, []).append(row)
        return (
            locked,
            found,
            said,
            claim_writes.written_rows(self.database, self.home.thread_id, written_rows, self.made_of_writes),
        )

    def _enters(self, locked: index.ThreadRow) -> bool:
        """Whether a thread comes into the index that has something in it already."""
        is_new = not self.parent_id and locked.next_seq == 1
        return self.facts is not None and locked.head is None and not is_new

    def _said_of(self, encoded: _Encoded) -> list[Call]:
        """The calls that tell which of the known messages that this checkpoint settles were said before."""
        if self.facts is None:
            return []
        unsettled = {
            abs(message.ref)
            for value in encoded.detached
            for list_ in value.lists
            for message in list_.messages
            if isinstance(message, Known) and not message.claimed
        }
        sql, thread = self.database.backend.sql["rows_said"], {"thread_id": self.home.thread_id}
        return [(sql, {**thread, "first": first, "last": last}) for first, last in ranges.spans(unsettled)]

    def _find_written(self) -> list[Call]:
        if not self.parent_id or not self.made_of_writes:
            return []
        return [claim_writes.find_writes(self.database, CheckpointKey(self.home.thread_id, "", self.parent_id))]

    def _find_parent(self) -> list[Call]:
        if self.home.checkpoint_id is None or not self.parent_id:
            return []
        if self.home.ns == "" and isinstance(self.thread, conflicts.LoadedThread) and not self.beside:
            return []  # it is the head
        params = {"thread_id": self.home.thread_id, "ns": self.home.ns, "checkpoint_id": self.parent_id}
        return [(self.database.backend.sql["parent"], params)]

    def _calls(self, detached: Sequence[Detached], home: RowOwner, placement: Placement) -> list[Call]:
        sql = self.database.backend.sql
        seal = self.database.sealer.seal_value
        stored = [
            StoredValue(value.channel, *seal(self.home.thread_id, value.place, *ready.finish()))
            for value, ready in zip(self.values, detached, strict=True)
        ]
        return [
            *((sql["add_row"], self._row(home, new)) for new in placement.new_rows),
            *((sql["claim_row"], row) for row in placement.claimed_rows),
            *self.make_calls(stored),
        ]

    def _row(self, home: RowOwner, new: NewRow) -> dict[str, Any]:
        key_no, row = self.database.sealer.seal_row(home.thread_id, new.seq, new.row)
        return {"seq": new.seq, "channel": new.channel, "key_no": key_no, **home._asdict(), **row._asdict()}
