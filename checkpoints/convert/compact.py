"""Compaction: the conversion of a thread's stock checkpoints and writes to references to message rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.convert.base import Conversion, ValueLocation
from holdfast.checkpoints.convert.codec import STOCK, RebuiltMessages, StockDetacher
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.outline import Outline
from holdfast.checkpoints.core.placement import (
    Candidate,
    RowOwner,
    SameDigest,
    cache_entries,
    candidates_of,
    place,
    row_params,
)
from holdfast.checkpoints.delta.claim_writes import claim_thread
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import Detached
from holdfast.checkpoints.threads.reindex import reindex


class Compaction(Conversion):
    """A conversion that takes the messages of a thread out of its values."""

    form = STOCK

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        self._next_seq = next_seq
        self._rebuilt = RebuiltMessages()
        # Values that need not be read again: on PostgreSQL many checkpoints share a value, and a value without messages
        # keeps its form.
        self._done: set[str] = set()
        params = {"thread_id": self.thread_id}
        all_rows = (self._sql["rows_of_thread"], {**params, "most": sys.maxsize})
        rows, found = transaction.run([(self._sql["rows_of_runs"], params), all_rows])
        self._saved_by = {row.seq: row.checkpoint_id for row in rows}
        self._rows: dict[bytes, list[Candidate]] = {
            digest: sorted(same, key=attrgetter("seq")) for digest, same in candidates_of(found, 0).items()
        }

    def _detacher(self, ns: str, rebuilt: RebuiltMessages) -> StockDetacher:
        key = self.database.sealer.digest_key(self.thread_id)
        return StockDetacher(self.database.types, rebuilt, ns, key=key)

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        detacher = self._detacher("", RebuiltMessages())
        for checkpoint in checkpoints:
            values, writes = self.values(transaction, checkpoint)
            for where, body in (*values, *writes):
                if where.text in self._done:
                    continue
                with load.explained(self.thread_id, checkpoint.checkpoint_id, where.channel):
                    has_messages = detacher.has_messages(body)
                if has_messages:
                    self._done.clear()
                    return True
                self._done.add(where.text)
        return False

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        values, writes = self.values(transaction, checkpoint)
        run_id, step = checkpoint.run_id, checkpoint.metadata.get("step")
        in_checkpoint = RowOwner(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id, run_id, step)
        in_write = RowOwner(self.thread_id, checkpoint.ns, None, None, None)
        for owner, located in ((in_checkpoint, values), (in_write, writes)):
            new = [(where, body) for where, body in located if where.text not in self._done]
            self._done.update(where.text for where, _ in new)
            self._save(transaction, owner, checkpoint, new)

    def _save(
        self,
        transaction: Transaction,
        owner: RowOwner,
        checkpoint: Outline,
        values: Sequence[tuple[ValueLocation, bytes]],
    ) -> None:
        detacher = self._detacher(owner.ns, self._rebuilt)
        ready = [(where, self._detached(detacher, where, body)) for where, body in values]
        ready = [(where, detached) for where, detached in ready if detached.lists]
        if not ready:
            return
        found = self._found(owner, [draft.row for draft in detacher.drafts.values()])
        placement = place([list_ for _, value in ready for list_ in value.lists], found, self._next_seq, owner)
        self._next_seq = placement.next_seq
        said_at = moment_of(checkpoint.checkpoint_id)
        for new in placement.new_rows:
            params = {**row_params(self.database.sealer, owner, new), "said_at": said_at}
            transaction.send([(self._sql["add_old_row"], params)])
        transaction.send([(self._sql["claim_row"], row) for row in placement.claimed_rows])
        for where, value in ready:
            self.set(transaction, where, *value.finish())
        self._note(found)
        known, _ = cache_entries(detacher.drafts.values(), placement, owner.ns)
        self._rebuilt.known.setdefault(owner.ns, {}).update((id(entry.message), entry) for entry in known)

    def _found(self, owner: RowOwner, messages: Sequence[MessageRow]) -> dict[bytes, SameDigest]:
        """Return the existing rows with the digests of some messages, by digest.

        A message without an id may be a row that got its id from a later checkpoint, if the thread was continued or
        compacted before. Such a row is returned without its id, so that the message matches it. Otherwise every input
        would be stored twice.
        """
        with_id = {message.digest for message in messages if message.message_id is not None}
        found: dict[bytes, SameDigest] = {}
        for digest in {message.digest for message in messages}:
            found[digest] = SameDigest()
            for row in self._rows.get(digest, ()):
                saved_by = self._saved_by.get(row.seq) or ""
                is_later = owner.checkpoint_id is not None and saved_by >= owner.checkpoint_id
                id_ = None if is_later and digest not in with_id else row.message_id
                found[digest].add(Candidate(row.seq, id_, row.ns, row.channel, row.committed, redacted=row.redacted))
        return found

    def _note(self, found: Mapping[bytes, SameDigest]) -> None:
        """Keep what is known of the rows up to date. An id that a row has is never changed."""
        for digest, rows in found.items():
            ids = {row.seq: row.message_id for row in self._rows.get(digest, ())}
            kept = sorted(rows, key=attrgetter("seq"))
            for row in kept:
                row.message_id = ids.get(row.seq) or row.message_id
            self._rows[digest] = kept

    def _detached(self, detacher: StockDetacher, where: ValueLocation, body: bytes) -> Detached:
        with load.explained(self.thread_id, where.key.checkpoint_id, where.channel):
            value = detacher.opened(body)
            if where.statement == "set_value":
                value = self.database.backend.as_split(value)
            return detacher.detach(where.channel, value)

    def end(self, transaction: Transaction) -> None:
        params = {"thread_id": self.thread_id, "next_seq": self._next_seq}
        transaction.send([(self._sql["set_next_seq"], params)])
        claim_thread(transaction, self.database, self.thread_id)
        reindex(transaction, self.database, self.thread_id)
