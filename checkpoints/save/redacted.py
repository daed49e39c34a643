"""The redacted rows, found by what they say now as well: a caller may save again what was loaded from one.

Their digests are those of the messages that were saved first; see `redaction`.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.placement import SameDigest
from holdfast.checkpoints.load import rows_of
from holdfast.checkpoints.serde.messages import digest


def add_present_forms(
    transaction: Transaction,
    database: Database,
    thread_id: str,
    candidates: dict[bytes, SameDigest],
    seqs: Collection[int],
) -> None:
    """Add redacted rows to the candidates of what they say now.

    Args:
        transaction: the transaction.
        database: the database.
        thread_id: the thread.
        candidates: the rows of the thread by digest. It is added to.
        seqs: the redacted rows among them.
    """
    if not seqs:
        return
    key, rows = database.sealer.digest_key(thread_id), rows_of(transaction, database, thread_id, seqs)
    redacted = [row for found in candidates.values() for row in found if row.redacted and row.message_id is not None]
    for candidate in sorted(redacted, key=attrgetter("seq")):
        row = rows.row(candidate.seq)
        candidates.setdefault(digest(row.role, row.content, row.body, key=key), SameDigest()).add(candidate)
