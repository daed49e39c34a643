"""Deletion of a thread's state, with its transcript kept."""

from __future__ import annotations

import json
from typing import Any, Final

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import NOTES, CheckpointKey, EncodedCheckpoint, StoredValue
from holdfast.checkpoints.backends.sealing import open_metadata
from holdfast.checkpoints.core.conflicts import move_clock_past
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN
from holdfast.checkpoints.serde.values import Detacher
from holdfast.checkpoints.threads.index import add_event

ACTOR: Final = "retention policy"
"""Who has restarted a thread, in its transcript."""


def empty_thread(transaction: Transaction, database: Database, thread_id: str, head: str) -> None:
    """Delete all checkpoints of a thread, which is locked, and save an empty one in their place.

    All that was said stays in its transcript, and the thread keeps its place in the list of threads. A run that has
    loaded the thread before is refused when it saves.

    Args:
        transaction: the transaction.
        database: the database.
        thread_id: the thread.
        head: its newest checkpoint.
    """
    backend, params = database.backend, {"thread_id": thread_id}
    sql = backend.sql
    [rows] = transaction.run([(sql["parent"], {**params, "ns": "", "checkpoint_id": head})])
    move_clock_past(head)
    key = CheckpointKey(thread_id, "", str(uuid6()))
    found = json.loads(rows[0].metadata or "{}") if rows else {}
    metadata = open_metadata(backend.sealer, key._replace(checkpoint_id=head), found) if rows else found
    transaction.send(
        [
            *backend.delete_all_checkpoints([thread_id]),
            (sql["delete_run_writes"], {"thread_ids": backend.array([thread_id])}),
            (sql["close_requests"], params),
            *backend.save_checkpoint(_empty(database, key, metadata)),
            add_event(database, thread_id, "restart", {}, ACTOR),
            (sql["empty_thread"], {**params, "head": key.checkpoint_id}),
        ]
    )


def _empty(database: Database, key: CheckpointKey, before: dict[str, Any]) -> EncodedCheckpoint:
    """Return a checkpoint without values that has the metadata of its thread."""
    backend, empty = database.backend, empty_checkpoint()
    empty["id"] = key.checkpoint_id
    split, detacher = backend.split(empty, {}), Detacher(database.types, {})
    values = []
    for channel, value in split.values.items():
        type_, body = detacher.detach(channel, value).finish()
        place = backend.value_place(key, channel, split.document)
        values.append(StoredValue(channel, *database.sealer.seal_value(key.thread_id, place, type_, body)))
    own = {name: value for name, value in before.items() if name not in OF_THE_RUN | NOTES}
    metadata = {**own, "source": "update", "step": int(before.get("step", -1)) + 1, "parents": {}}
    return EncodedCheckpoint(key, None, split.document, values, {}, metadata)
