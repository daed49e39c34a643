"""Threads that were begun and have no message yet: their user and their metadata are on record all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.config import thread_of, user_of
from holdfast.checkpoints.core.arguments import check_count, checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.encryption.keys_of_threads import write_with_key
from holdfast.checkpoints.errors import row_explained
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.threads.index import sealed_fields


@dataclass(frozen=True, slots=True)
class Begun:
    """What is on record of a thread, whether or not it has a message."""

    thread_id: str
    user_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@checks_arguments
class Beginning:
    """The part of `Threads` about threads before their first message."""

    _database: Database

    def begin(self, thread_id: str, metadata: Mapping[str, Any], *, owner: str | None = None) -> None:
        """Put a thread on record before its first message, or replace its metadata.

        Args:
            thread_id: the thread.
            metadata: all of its metadata.
            owner: its user, if it has none yet.

        Raises:
            InvalidThread: the id of the thread, or of the user, cannot be stored.
        """
        thread_of({"configurable": {"thread_id": thread_id}})
        database, text = self._database, self._database.stored_text(json.dumps(storable(metadata)))

        def note(transaction: Transaction) -> None:
            params = {"thread_id": thread_id, "user_id": user_of(owner)}
            stored = sealed_fields(database.sealer, thread_id, {"metadata": text})
            transaction.run([(database.backend.sql["note_thread"], {**params, **stored})])

        write_with_key(database.backend, database.sealer, thread_id, note)

    def begun(self, thread_id: str) -> Begun | None:
        """Return what `begin`, or a run, has put on record of a thread; `None` if there is no such thread."""
        call = self._database.backend.sql["begun_thread"], {"thread_id": thread_id}
        [rows] = self._database.read(call) if is_sql_text(thread_id) else [[]]
        return next((self._begun(row) for row in rows), None)

    def newest_begun(self, limit: int) -> list[Begun]:
        """Return the threads without a message among those that were changed last, newest first.

        Args:
            limit: how many threads to look at, with and without messages.
        """
        check_count(limit, "limit")
        [rows] = self._database.read((self._database.backend.sql["newest_begun"], {"limit": limit}))
        return [self._begun(row) for row in rows]

    abegin = async_twin(begin)
    abegun = async_twin(begun)

    def _begun(self, row: Row) -> Begun:
        with row_explained(row.thread_id, "its entry in the index of threads"):
            text = self._database.sealer.open_text(row.thread_id, places.METADATA, row.metadata)
            at = utc_datetime(row.created_at), utc_datetime(row.updated_at)
            return Begun(row.thread_id, row.user_id, json.loads(text), *at)
