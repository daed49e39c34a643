"""The Sends of older checkpoints, which have them only as writes on their parents, before the parents are deleted."""

from __future__ import annotations

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.canonical import canonical_list, version_of_sends
from holdfast.checkpoints.backends.records import CheckpointKey, StoredValue, Wanted, write_place
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.langgraph_internals import TASKS
from holdfast.checkpoints.load import explained, in_order
from holdfast.checkpoints.serde.values import Attachable


def keep_sends(transaction: Transaction, database: Database, key: CheckpointKey) -> None:
    """Give a checkpoint its own copy of the Sends of its next step, so that it needs no parent for them.

    A checkpoint without Sends is marked as such: it may get another parent, whose Sends are not its own.

    Raises:
        DamagedThread, NotStorable: a Send cannot be read.
    """
    backend = database.backend
    [link] = backend.chain(transaction, key, (), 1)
    sends = backend.sends_apart(transaction, key, link)
    if sends is None:
        return
    [stored] = backend.find(transaction, Wanted(1, key.thread_id, key.ns, checkpoint_id=key.checkpoint_id))
    document = {**stored.document, "channel_versions": version_of_sends(stored.document["channel_versions"])}
    value = None
    if sends:
        parent = key._replace(checkpoint_id=link.parent_id or "")
        with explained(key.thread_id, parent.checkpoint_id, TASKS):
            parts = []
            for write in in_order(sends):
                place = write_place(parent, write.task_id, write.idx)
                plain = database.sealer.open_value(key.thread_id, place, write.type, write.blob or b"")
                parts.append(Attachable(TASKS, *plain))
            type_, body = canonical_list(parts)
        place = backend.value_place(key, TASKS, document)
        value = StoredValue(TASKS, *database.sealer.seal_value(key.thread_id, place, type_, body))
    transaction.send(backend.save_sends(key, document, value))
