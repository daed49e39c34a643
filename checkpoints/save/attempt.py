"""The attempts of one save: at once, if this process knows the thread; else with the thread locked.

*At once*: the statements are made of what this process knows (`core.cache.thread_state`), and sent together. The first
one names what is known, and if that is not so any more, nothing is saved. Nothing is read, and nothing is waited for.

*Locked*: the thread's row is locked, and all that the decisions need is read. The rows of the whole thread are read
with it, if there are not too many, and the next save goes at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Final

from holdfast.checkpoints.backends import records
from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.cache.thread_state import MOST_ROWS_OF_THREAD, ThreadRow, ThreadState
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.placement import (
    UNCLAIMED,
    Placement,
    RowOwner,
    SameDigest,
    as_it_was,
    cache_entries,
    candidates_of,
    place,
    row_params,
)
from holdfast.checkpoints.core.queue import Ticket
from holdfast.checkpoints.delta import claim_writes
from holdfast.checkpoints.encryption.keys_of_threads import add_new_key, give_key
from holdfast.checkpoints.encryption.opening import no_keys
from holdfast.checkpoints.errors import ThreadConflict, Unreachable
from holdfast.checkpoints.save.kinds import AtOnce, Kind
from holdfast.checkpoints.save.redacted import add_present_forms
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.known import Known, Template
from holdfast.checkpoints.serde.messages import encode, snapshot
from holdfast.checkpoints.threads import index

_DELETED: Final = "while the database was out of reach, the thread, or a run in it, was deleted"
_LOST: Final = "the database that came back does not have all that this run has saved"

# Seconds. While a thread is the one that this process moved last, it moves in the list of threads not more often than
# this: each move changes two indexes.
_MOVES_EVERY: Final = 1.0

# PostgreSQL takes 65,535 parameters in one statement, and needs more time for each part of it the more there are.
_MOST_AT_ONCE: Final = 100


class Stale(Exception):
    """What this process has cached is of another generation of the thread, or perhaps of another database."""


class Save:
    """A save that is attempted until it is committed: its values as bytes, and what the last attempt has decided."""

    thread_row: ThreadRow
    placement: Placement
    row_owner: RowOwner
    """The owner as the message rows name it: with a `user_id` only if that is not the thread's own user."""

    def __init__(self, database: Database, kind: Kind, ticket: Ticket, *, use_cache: bool) -> None:
        self.attempts = 0
        self._database = database
        self._kind = kind
        self._owner = owner = kind.owner
        self._ticket = ticket
        self.thread_id = owner.thread_id
        self._thread = {"thread_id": owner.thread_id}
        self._state: ThreadState | None = None
        self._moved = False
        self._prompt: str | None = None
        self._locked_generation: int | None = None
        self._candidates: dict[bytes, SameDigest] = {}
        self._has_all_rows = False
        self._era = database.cache.era
        self._generation, self._known = database.cache.recall(owner.thread_id, owner.ns) if use_cache else (None, {})
        # Encoding is the larger part of the work, and is done before anything is locked.
        self.key_no = database.sealer.key_no(owner.thread_id)
        detacher = database.detacher(owner.thread_id, self._known)
        self._values = [detacher.detach(channel, value) for channel, value in kind.values]
        self._drafts = detacher.drafts.values()
        self.lists = [list_ for value in self._values for list_ in value.lists]

    def attempt(self) -> None:
        """Save, and cache what was saved.

        Raises:
            Stale: the cache was stale at the first attempt. Nothing was saved.
            ThreadConflict: the cache became stale between two attempts.
        """
        backend, owner = self._database.backend, self._owner
        self.attempts += 1
        if not self._ticket.wait(backend.patience.is_lost):
            raise Unreachable(f"{backend} is out of reach, and this save waits no longer.", maybe_saved=False)
        if self.attempts == 1 and self._save_at_once():
            return
        for draft in self._drafts:
            draft.ref, draft.claimed = 0, False  # an earlier attempt may have set them
        self._database.states.forget(owner.thread_id)
        era = self._database.cache.era
        try:
            with backend.writing() as transaction:
                row = self._kind.locked(self, transaction)
        except Stale:
            if self.attempts == 1:
                raise
            # Encoded again, the messages would be what they are by now, and not what was put.
            raise ThreadConflict(owner.thread_id, _DELETED) from None
        if row is not None:
            if not self._kind.may_keep:
                self._database.states.avoid(self.thread_id)
            if self._state is not None:
                self._keep(self._state, era, moved=self._moved)
            elif self._moved:
                self._database.states.moved_last = owner.thread_id
            self._note_saved(row.generation, era)

    # --- at once

    def _save_at_once(self) -> bool:
        """Save at once, if this process knows the thread and nothing has changed. Return whether it was saved."""
        database, thread_id = self._database, self._owner.thread_id
        state = database.states.get(thread_id)
        if self._era != database.cache.era or (state is None and self._generation is not None):
            return False
        if state is not None and self._known and state.row.generation != self._generation:
            return False
        if state is not None and state.row.key_no != self.key_no:
            return False  # it gets its key, or was encrypted, or begun anew
        saved = False
        try:
            wanted = self._kind.at_once(self, state)
            if wanted is not None and len(wanted.required) + len(wanted.calls) <= _MOST_AT_ONCE:
                saved = self._send(wanted, state)
        finally:
            if not saved:  # the choice of rows has changed what is known
                database.states.forget(thread_id)
        return saved

    def _send(self, wanted: AtOnce, state: ThreadState | None) -> bool:
        """Send the statements of a save that goes at once. Return whether it was saved."""
        database = self._database

        def written(generation: int) -> None:
            # Later saves of the thread may begin: they are committed after this one, or not at all.
            new = state or ThreadState(wanted.row, self._candidates)
            row = wanted.row if wanted.row.generation == generation else wanted.row._replace(generation=generation)
            new.apply(row, self.placement, wanted.moved_at)
            self._keep(new, self._era, moved=wanted.moved)
            self._locked_generation = generation
            self._ticket.release()

        # If the outcome stays unknown, the next attempt saves into no other generation.
        self._locked_generation = wanted.row.generation
        saved = database.backend.save_at_once(
            wanted.required, wanted.calls, is_current=lambda: self._era == database.cache.era, written=written
        )
        if saved:
            self._note_saved(self._locked_generation, self._era)
        else:
            self._locked_generation = None
        return saved

    def assume(self, row: ThreadRow, candidates: dict[bytes, SameDigest]) -> None:
        """Take what is known of a thread instead of reading it."""
        self.thread_row, self._candidates = row, candidates

    def unclaimed(self) -> set[int]:
        """Return the rows of known messages that are not claimed yet."""
        return {abs(message.ref) for list_ in self.lists for message in list_.unsettled if isinstance(message, Known)}

    def claims(self, state: ThreadState) -> list[Call] | None:
        """Return the calls that claim rows, each only if it is as it is known.

        `None` if they cannot go at once: a statement would have to find what another one of the same save has changed.
        """
        statement, known = self._database.backend.sql["claim_known_row"], state.by_seq
        calls: dict[int, Call] = {}
        for params in self.placement.claimed_rows:
            seq = params["seq"]
            if (row := known.get(seq)) is None or seq in calls:
                return None
            calls[seq] = statement, params if "was_id" in params else {**params, **as_it_was(row)}
        return list(calls.values())

    def moves(self, state: ThreadState | None, *, unfinished: bool) -> float:
        """Return when the thread moves in the list of threads, which is now; 0 if it stays where it is.

        It moves when a run ends, and once a second while it runs. If it is in front of all others of this process, the
        end of a run moves it not more often than that either.
        """
        now = time.monotonic()
        if state is None or now - state.moved_at > _MOVES_EVERY:
            return now
        is_in_front = self._database.states.moved_last == self.thread_id
        return 0.0 if unfinished or is_in_front else now

    # --- with the thread locked: the steps in their order

    def note_move(self) -> None:
        """Note that the save moves the thread in the list of threads."""
        self._moved = True

    def is_done(self, transaction: Transaction, is_saved: Sequence[Call]) -> bool:
        """Return whether an earlier attempt whose outcome was unknown has saved the checkpoint."""
        # In this order: if that attempt is still committing, the lock is acquired after it.
        _, rows = transaction.run([(self._database.backend.sql["lock_thread"], self._thread), *is_saved])
        return bool(rows)

    def find_said(self) -> list[Call]:
        """Return the calls that find which known messages that this save claims are in the conversation already."""
        sql = self._database.backend.sql["rows_said"]
        return [(sql, {**self._thread, "first": first, "last": last}) for first, last in ranges.spans(self.unclaimed())]

    def lock(self, transaction: Transaction, reads: Sequence[Call]) -> list[list[records.Row]]:
        """Lock the thread and read all that the decisions need, in one round trip.

        Args:
            transaction: the transaction.
            reads: the calls whose rows to return, in order.

        Raises:
            ThreadConflict: the thread, or a run in it, was deleted after it was loaded.
        """
        backend, states = self._database.backend, self._database.states
        keeps = self._kind.may_keep and (self._kind.renews or not states.is_avoided(self.thread_id))
        add = [(backend.sql["add_thread"], self._thread)] if self._generation is None else []
        lock = (backend.sql["lock_thread"], self._thread)
        # With the first, the rows of the other digests come as well, if they are not too many.
        most = {**self._thread, "most": MOST_ROWS_OF_THREAD}
        all_rows = [(backend.sql["rows_of_thread"], most)] if keeps else []
        same_digest = backend.rows_with_digests(self.thread_id, {draft.row.digest for draft in self._drafts})
        found = transaction.run([*add, lock, *reads, *same_digest, *all_rows])
        first = len(add)
        if not found[first]:
            raise Stale  # the database was restored or emptied by other means
        sealer = self._database.sealer
        self.thread_row = ThreadRow.of(found[first][0], sealer, self.thread_id)
        conflicts.check_generation(self._kind.thread, self.thread_row.generation)
        if self.thread_row.key_no != self.key_no or self.thread_row.is_sealed_only:
            self._settle_key(transaction)
        last = first + len(reads)
        self._has_all_rows = keeps and self.thread_row.next_seq <= MOST_ROWS_OF_THREAD
        rows_read = found[-1:] if self._has_all_rows else found[last + 1 :]
        stored = [row for rows in rows_read for row in rows]
        self._candidates = candidates_of(stored, self.thread_row.live_from)
        redacted = [row.seq for row in stored if row.redacted]
        add_present_forms(transaction, self._database, self.thread_id, self._candidates, redacted)
        return found[first + 1 : last + 1]

    def _settle_key(self, transaction: Transaction) -> None:
        """Give a thread that begins its key, or refuse what was encoded with another key than that of the thread.

        Raises:
            Stale: the thread has another key by now, or one was not stored.
            KeyMissing: the thread must be encrypted, and this process has no keys.
        """
        row, sealer = self.thread_row, self._database.sealer
        if self.key_no is None:
            raise no_keys(self._database.backend)
        if row.key_no == self.key_no:
            return
        if row.key_no is not None or row.next_seq > 1 or self.key_no != sealer.key_no(self.thread_id):
            raise Stale
        if not give_key(transaction, self._database.backend, sealer, self.thread_id):
            raise Stale
        self.thread_row = row._replace(key_no=self.key_no)

    def confirm(self, transaction: Transaction) -> ThreadRow:
        """Return the thread's row if what is known of the thread still holds.

        Raises:
            ThreadConflict: the thread was deleted between two attempts, or rows that this save refers to were lost.
        """
        generation = self.thread_row.generation
        if self._known and generation != self._generation:
            raise Stale
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
            raise Stale
        known_by_seq = {
            abs(message.ref): message
            for list_ in self.lists
            for message in list_.messages
            if isinstance(message, Known)
        }
        sql = self._database.backend.sql["load_rows"]
        spans = ranges.spans(known_by_seq)
        found = transaction.run([(sql, {**self._thread, "first": first, "last": last}) for first, last in spans])
        # A redacted row keeps the digest of another message.
        digests = {row.seq: None if row.redacted else row.digest for rows in found for row in rows}
        key = self._database.sealer.digest_key(self._owner.thread_id)
        for seq, known in known_by_seq.items():
            # As it was when it was put: the graph may have changed the message since.
            message = Template(type(known.message), known.contents, UNCLAIMED).make()
            if digests.get(seq, b"") not in (None, encode(snapshot(message), self._database.types, key=key).digest):
                raise ThreadConflict(self._owner.thread_id, _LOST)

    def read_human_texts(self, transaction: Transaction, written: claim_writes.WrittenRows) -> list[records.Row]:
        """Read what people said in rows that tasks wrote, if the thread needs a title."""
        if self.thread_row.title is not None:
            return []
        calls = claim_writes.find_human_texts(self._database.backend.sql, self._owner.thread_id, written)
        return [row for rows in transaction.run(calls) for row in rows]

    def keep_state(self, row: ThreadRow) -> None:
        """Keep what is known of the thread, so that the next save goes at once. Called before the commit."""
        if self._has_all_rows and not row.deleted:
            state = ThreadState(self.thread_row, self._candidates)
            if all(params["seq"] in state.by_seq for params in self.placement.claimed_rows):
                state.apply(row, self.placement, time.monotonic() if self._moved else 0.0)
                self._state = state

    # --- both ways

    def place_messages(self, said: Collection[int], *, has_user: bool) -> None:
        """Choose the rows of the messages.

        Args:
            said: the rows of known messages that are part of the conversation already.
            has_user: whether the thread's user is settled, so that another user is named in the rows.
        """
        thread_row, owner = self.thread_row, self._owner
        names_user = has_user and owner.user_id != thread_row.user_id
        self.row_owner = owner if names_user or owner.user_id is None else owner._replace(user_id=None)
        self.placement = place(self.lists, self._candidates, thread_row.next_seq, self.row_owner, said)

    def stored_values(self, locations: Sequence[str]) -> list[records.StoredValue]:
        """Return the values as they are stored, each bound to its location."""
        seal, thread_id = self._database.sealer.seal_value, self._owner.thread_id
        return [
            records.StoredValue(value.channel, *seal(thread_id, location, *value.finish()))
            for location, value in zip(locations, self._values, strict=True)
        ]

    def new_rows(self) -> list[Call]:
        """Return the calls that add message rows."""
        statement, sealer = self._database.backend.sql["add_row"], self._database.sealer
        return [(statement, row_params(sealer, self.row_owner, new)) for new in self.placement.new_rows]

    def claimed_rows(self) -> list[Call]:
        """Return the calls that claim message rows, whatever is known of them."""
        statement = self._database.backend.sql["claim_row"]
        return [(statement, params) for params in self.placement.claimed_rows]

    def add_key(self) -> list[Call]:
        """Return the call that stores the key of a thread that begins; it must find one row."""
        return add_new_key(self._database.backend, self._database.sealer, self.thread_id)

    def record_prompt(self) -> list[Call]:
        """Return the calls that record the system prompt, if it is another one."""
        self._prompt = self._database.prompts.get(self._owner.thread_id)
        return index.record_prompt(self._database, self._owner.thread_id, self.thread_row, self._prompt)

    def _keep(self, state: ThreadState, era: int, *, moved: bool) -> None:
        """Keep what is known of the thread, unless the database may be another one since the save was sent."""
        if era == self._database.cache.era:
            self._database.states.put(self._owner.thread_id, state, moved=moved)

    def _note_saved(self, generation: int, era: int) -> None:
        database, owner = self._database, self._owner
        database.sealer.is_stored(owner.thread_id)
        if self._prompt is not None and database.prompts.get(owner.thread_id) is self._prompt:
            database.prompts.pop(owner.thread_id, None)
        if era == database.cache.era:
            known, templates = cache_entries(self._drafts, self.placement, owner.ns)
            database.cache.saved(owner.thread_id, owner.ns, generation, known, templates)
