"""Expansion: the conversion of a thread to the form of the stock savers, with the messages in each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.convert.base import Conversion
from holdfast.checkpoints.convert.codec import STOCK, NotExpressible, StockEncoder
from holdfast.checkpoints.core.outline import Outline
from holdfast.checkpoints.serde.values import TYPE, Attachable


class Expansion(Conversion):
    """A conversion that puts the messages of a thread back into its values."""

    form = TYPE
    as_stock = True

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        def make(refs: Sequence[int]) -> list[Any]:
            rows = load.rows_of(transaction, self.database, self.thread_id, {abs(ref) for ref in refs})
            return rows.make(refs)

        self._encoder = StockEncoder(self.database.types, make)

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        params = {"thread_id": self.thread_id, "type": self.form}
        [[row]] = transaction.run([(self._sql["is_ours"], params)])
        return bool(row.is_ours)

    def prepare(self, transaction: Transaction) -> bool:
        # Before the rewriting, so that the fingerprints afterwards are those of what the stock saver will find.
        return self.database.backend.restore_documents(transaction, self.thread_id)

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        values, writes = self.values(transaction, checkpoint)
        for where, blob in (*values, *writes):
            with load.explained(self.thread_id, checkpoint.checkpoint_id, where.channel):
                try:
                    body = self._encoder.encode(Attachable(where.channel, TYPE, blob))
                except NotExpressible as error:
                    self.problems.append(f"checkpoint {checkpoint.checkpoint_id}: {error}")
                    continue
            self.set(transaction, where, STOCK, body)
