"""Threads into the index that were saved without it, or changed by other ways than a save."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import HumanMessage

from holdfast.checkpoints.backends.base import CheckpointKey, Transaction, Wanted
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core import load
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.delta import claim_writes, history
from holdfast.checkpoints.errors import HoldfastError
from holdfast.checkpoints.threads import index as thread_index
from holdfast.checkpoints.threads.index import ThreadRow

_PAGE = 500  # threads whose ids are read at once


def unindexed_threads(database: Database) -> Iterator[str]:
    """The threads that are not in the index, in an order that stays; nothing is locked in between."""
    after = ""
    while True:
        [found] = database.read((database.backend.sql["unindexed"], {"after": after, "limit": _PAGE}))
        yield from (str(thread_id) for (thread_id,) in found)
        if len(found) < _PAGE:
            return
        after = found[-1][0]


def index_thread(database: Database, thread_id: str) -> None:
    """Bring one thread into the index. Twice is once."""
    with database.backend.writing() as transaction:
        reindex(transaction, database, thread_id)


def reindex(transaction: Transaction, database: Database, thread_id: str) -> None:
    """Set what the index says of a thread by what is stored of it. Without a checkpoint it is not in the index.

    Raises:
        DamagedThread: the newest checkpoint cannot be read.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    # Locked in any case: somebody may be about to save.
    names = ("adopt_thread", "lock_thread", "head_of", "first_user", "first_words")
    _, rows, ends, users, words = transaction.run([(sql[name], params) for name in names])
    if not rows:
        return  # there is no such thread
    locked = ThreadRow(*rows[0])
    if locked.head is None and ends:
        # Saved by ways that do not settle what tasks wrote.
        claim_writes.claim_thread(transaction, database, thread_id)
        [words] = transaction.run([(sql["first_words"], params)])
    if not ends:
        nothing = dict.fromkeys(("head", "created_at", "updated_at", "user_id", "title", "metadata"))
        transaction.send(
            [(sql["index_thread"], {**params, **nothing, "unfinished": 0}), (sql["recount_thread"], params)]
        )
        return
    [(_, first, head)] = ends
    [opened] = load.find(transaction, database, Wanted(1, thread_id, "", checkpoint_id=head))
    values = _values(opened, database)
    if values is None:
        values = dict.fromkeys(history.channels_of(transaction, database, CheckpointKey(thread_id, "", head)), True)
    facts = thread_index.index_fields(opened.stored.metadata, values)
    found = {
        "head": head,
        "unfinished": int(facts.unfinished),
        "user_id": user_text(users[0][0]) if users else None,
        # What has no rows was said before what has.
        "title": locked.title or _first_words(_without_rows(opened, values)) or thread_index.first_title(words),
        "metadata": json.dumps(facts.metadata) if facts.metadata else None,
        "created_at": moment_of(first),
        "updated_at": moment_of(head),
    }
    transaction.send([(sql["index_thread"], {**params, **found}), (sql["recount_thread"], params)])


def _values(opened: load.Opened, database: Database) -> dict[str, Any] | None:
    """The values of a checkpoint, if they can be loaded here."""
    try:
        return load.attach(opened, database).checkpoint["channel_values"]
    except HoldfastError:  # a type that is not here: what is listed is known all the same
        return None


def _without_rows(opened: load.Opened, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values of a checkpoint that were saved by LangGraph's own savers, and hold messages in them."""
    with_rows = {part.channel for part in opened.values if part.lists}
    return {} if "" in with_rows else {name: value for name, value in values.items() if name not in with_rows}


def _first_words(values: Mapping[str, Any]) -> str | None:
    """The title by what a person said first in some values."""
    said = (m for value in values.values() if isinstance(value, list) for m in value if isinstance(m, HumanMessage))
    return next((title for m in said if (title := thread_index.title_of(m.text))), None)
