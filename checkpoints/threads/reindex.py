"""Rebuild of index entries, for threads that were saved without the index or changed by other ways than a save."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import HumanMessage

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Wanted
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core.cache.thread_state import ThreadRow
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.delta import claim_writes, history
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.langgraph_internals import PENDING_SENDS, TASKS
from holdfast.checkpoints.serde.messages import source_of
from holdfast.checkpoints.threads import index as thread_index


def unindexed_threads(database: Database) -> Iterator[str]:
    """Return the ids of the threads without an index entry; see `Database.find_threads`."""
    return database.find_threads("unindexed")


def index_thread(database: Database, thread_id: str) -> None:
    """Add one thread to the index. Idempotent."""
    with database.backend.writing() as transaction:
        reindex(transaction, database, thread_id)


def reindex(transaction: Transaction, database: Database, thread_id: str) -> None:
    """Rebuild a thread's index entry from its checkpoints and message rows.

    A thread without a root checkpoint is removed from the index.

    Raises:
        DamagedThread: the newest checkpoint cannot be read.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    # The lock keeps out a concurrent save.
    names = ("adopt_thread", "lock_thread", "head_of", "first_user", "first_words")
    _, rows, ends, users, texts = transaction.run([(sql[name], params) for name in names])
    if not rows:
        return  # there is no such thread
    thread_row = ThreadRow.of(rows[0], database.sealer, thread_id)
    if thread_row.head is None and ends:
        # A saver that does not claim the rows of writes saved it.
        claim_writes.claim_thread(transaction, database, thread_id)
        [texts] = transaction.run([(sql["first_words"], params)])
    if not ends:
        empty = dict.fromkeys(("head", "created_at", "updated_at", "user_id", "title", "metadata"))
        transaction.send([(sql["index_thread"], {**params, **empty, "unfinished": 0}), (sql["recount_thread"], params)])
        return
    [ends_row] = ends
    head = ends_row.head
    kept = database.keeping()
    [opened] = load.find(transaction, kept, Wanted(1, thread_id, "", checkpoint_id=head))
    values = _values(opened, kept)
    if values is None:
        values = dict.fromkeys(history.channels_of(transaction, database, CheckpointKey(thread_id, "", head)), True)
    fields = thread_index.index_fields(opened.stored.metadata, values)
    # Messages without rows are older than those with rows.
    title = thread_row.title or _first_words(_without_rows(opened, values))
    title = title or thread_index.first_title(database.sealer, thread_id, texts)
    metadata = json.dumps(fields.metadata) if fields.metadata else None
    entry = {
        "head": head,
        "unfinished": int(fields.unfinished),
        "user_id": user_text(users[0].user_id) if users else None,
        **thread_index.sealed_fields(database.sealer, thread_id, {"title": title, "metadata": metadata}),
        "created_at": moment_of(ends_row.first),
        "updated_at": moment_of(head),
    }
    transaction.send([(sql["index_thread"], {**params, **entry}), (sql["recount_thread"], params)])


def _values(opened: load.RawCheckpoint, database: Database) -> dict[str, Any] | None:
    """Return the channel values of a checkpoint, as they are stored; `None` if they cannot be loaded."""
    try:
        checkpoint: Mapping[str, Any] = load.to_tuple(opened, database).checkpoint
    except HoldfastError:  # a newer version made it, for example; the names of the channels are enough for the index
        return None
    values: dict[str, Any] = checkpoint["channel_values"]
    sends = checkpoint.get(PENDING_SENDS)  # LangGraph moves them when it loads an older checkpoint
    return {**values, TASKS: sends} if sends else values


def _without_rows(opened: load.RawCheckpoint, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a stock saver saved, with their messages inside."""
    with_rows = {part.channel for part in opened.values if part.lists}
    return {} if "" in with_rows else {name: value for name, value in values.items() if name not in with_rows}


def _first_words(values: Mapping[str, Any]) -> str | None:
    """Return the title from the first message of a person in some values."""
    messages = (m for value in values.values() if isinstance(value, list) for m in value if isinstance(m, HumanMessage))
    said = (message for message in messages if source_of(message) is None)
    return next((title for message in said if (title := thread_index.title_of(message.text))), None)
