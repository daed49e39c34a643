"""A thread's stock checkpoints and writes, with rows for their messages."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.checkpoints.backends.base import Row, Transaction
from holdfast.checkpoints.convert.base import Conversion, ValueLocation
from holdfast.checkpoints.convert.codec import STOCK, RebuiltMessages, StockDetacher
from holdfast.checkpoints.core import load
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.outline import Outline
from holdfast.checkpoints.core.placement import RowOwner, cache_entries, place, row_params
from holdfast.checkpoints.delta.claim_writes import claim_thread
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import Detached
from holdfast.checkpoints.threads.reindex import reindex


class Compaction(Conversion):
    form = STOCK

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        self._next_seq = next_seq
        self._recall = RebuiltMessages()
        # Values on PostgreSQL belong to many checkpoints, and those without messages stay in their form.
        self._done: set[str] = set()
        [rows] = transaction.run([(self._sql["rows_of_runs"], {"thread_id": self.thread_id})])
        self._said_by = {seq: checkpoint_id for seq, _, checkpoint_id in rows}

    def _compacting(self, ns: str, recall: RebuiltMessages | None = None) -> StockDetacher:
        key = self.database.sealer.digest_key(self.thread_id)
        return StockDetacher(self.database.types, recall or self._recall, ns, key=key)

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        looking = self._compacting("", RebuiltMessages())
        for checkpoint in checkpoints:
            values, writes = self.values(transaction, checkpoint)
            for where, body in (*values, *writes):
                if where.text in self._done:
                    continue
                with load.explained(self.thread_id, checkpoint.checkpoint_id, where.channel):
                    found = looking.has_messages(body)
                if found:
                    self._done.clear()
                    return True
                self._done.add(where.text)
        return False

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        values, writes = self.values(transaction, checkpoint)
        run_id, step = checkpoint.run_id, checkpoint.metadata.get("step")
        said = RowOwner(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id, run_id, step)
        written = RowOwner(self.thread_id, checkpoint.ns, None, None, None)
        for home, found in ((said, values), (written, writes)):
            new = [(where, body) for where, body in found if where.text not in self._done]
            self._done.update(where.text for where, _ in new)
            self._save(transaction, home, checkpoint, new)

    def _save(
        self,
        transaction: Transaction,
        home: RowOwner,
        checkpoint: Outline,
        values: Sequence[tuple[ValueLocation, bytes]],
    ) -> None:
        detacher = self._compacting(home.ns)
        ready = [(where, self._detached(detacher, where, body)) for where, body in values]
        ready = [(where, detached) for where, detached in ready if detached.lists]
        if not ready:
            return
        found = self._found(transaction, home, [draft.row for draft in detacher.drafts.values()])
        placement = place([list_ for _, value in ready for list_ in value.lists], found, self._next_seq, home)
        self._next_seq = placement.next_seq
        said_at = moment_of(checkpoint.checkpoint_id)
        for new in placement.new_rows:
            params = {**row_params(self.database.sealer, home, new), "said_at": said_at}
            transaction.send([(self._sql["add_old_row"], params)])
        transaction.send([(self._sql["claim_row"], row) for row in placement.claimed_rows])
        for where, value in ready:
            self.set(transaction, where, *value.finish())
        known, _ = cache_entries(detacher.drafts.values(), placement, home.ns)
        self._recall.known.setdefault(home.ns, {}).update((id(entry.message), entry) for entry in known)

    def _found(
        self, transaction: Transaction, home: RowOwner, messages: Sequence[MessageRow]
    ) -> dict[bytes, list[Row]]:
        """The rows that are there already, by digest.

        A message that has no id in this checkpoint is a row that got its id later, if the thread has been continued
        or was compacted before; else every input would be there twice.
        """
        with_id = {message.digest for message in messages if message.message_id is not None}
        found: dict[bytes, list[Row]] = {}
        calls = self.database.backend.rows_with_digests(self.thread_id, {message.digest for message in messages})
        for row in (row for rows in transaction.run(calls) for row in rows):
            said_later = home.checkpoint_id is not None and (self._said_by.get(row.seq) or "") >= home.checkpoint_id
            is_its_own = said_later and row.digest not in with_id
            found.setdefault(row.digest, []).append(row._replace(message_id=None) if is_its_own else row)
        return found

    def _detached(self, detacher: StockDetacher, where: ValueLocation, body: bytes) -> Detached:
        with load.explained(self.thread_id, where.key.checkpoint_id, where.channel):
            value = detacher.opened(body)
            if where.statement == "set_value" and self.database.backend.whole:
                [value] = self.database.backend.split(value, {}).values.values()
            return detacher.detach(where.channel, value)

    def end(self, transaction: Transaction) -> None:
        params = {"thread_id": self.thread_id, "next_seq": self._next_seq}
        transaction.send([(self._sql["set_next_seq"], params)])
        claim_thread(transaction, self.database, self.thread_id)
        reindex(transaction, self.database, self.thread_id)
