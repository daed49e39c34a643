"""What threads of others hold of a user: messages that the user said there, and rows that name the user."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.erasure.journal import Journal, Part
from holdfast.checkpoints.errors import DamagedThread
from holdfast.checkpoints.threads.index import event_data

ERASED_USER: Final = "[erased]"
"""Takes the place of the id of a user who was erased, in rows of others."""

_RENAMED: Final = ("messages", "actors", "answers", "verdicts", "metadata", "runs")


class Elsewhere(NamedTuple):
    """What threads of others hold of a user."""

    messages: list[tuple[str, int]]
    """Thread and number of each message that the user said."""
    names: Counter[str]
    """The number of rows that name the user, by table and column."""

    def counts(self) -> dict[str, int]:
        """Return all of it as numbers, without places that have none."""
        return dict(+Counter({"messages": len(self.messages), **self.names}))


def find_elsewhere(database: Database, user_id: str) -> Elsewhere:
    """Find what threads hold of a user whose own threads are erased. All messages and events are looked at.

    Args:
        database: the open database.
        user_id: the user.
    """

    def find() -> Elsewhere:
        with database.backend.reading() as transaction:
            [said] = transaction.run([(database.backend.sql["said_elsewhere"], {"user_id": user_id})])
            return Elsewhere([(row.thread_id, row.seq) for row in said], _names(transaction, database, user_id))

    return persist(database.backend, find)


def rename_elsewhere(database: Database, user_id: str, journal: Journal, begun: Mapping[str, Any]) -> None:
    """Put a placeholder in place of a user's id in rows of others, and record how many these were. Idempotent."""
    persist(database.backend, partial(_rename, database, user_id, journal, begun))


def _rename(database: Database, user_id: str, journal: Journal, begun: Mapping[str, Any]) -> None:
    sql = database.backend.sql
    with database.backend.writing() as transaction:
        if not (named := _names(transaction, database, user_id)):
            return
        for row, members in _shares(transaction, database, user_id):
            data = json.dumps({"members": [ERASED_USER if member == user_id else member for member in members]})
            sealed = database.sealer.seal_text(row.thread_id, places.event(row.kind), data)
            transaction.send([(sql["redact_event"], {"thread_id": row.thread_id, "no": row.no, "data": sealed})])
        params = {"user_id": user_id, "new": ERASED_USER}
        transaction.run([(sql[f"rename_in_{place}"], params) for place in _RENAMED])
        journal.note(transaction, Part(redacted=named), begun)


def _names(transaction: Transaction, database: Database, user_id: str) -> Counter[str]:
    """Return the number of rows that name a user, by table and column, without places that have none."""
    [rows] = transaction.run([(database.backend.sql["named_elsewhere"], {"user_id": user_id})])
    shares = sum(1 for _ in _shares(transaction, database, user_id))
    return +Counter({"holdfast_events.data": shares, **{row.place: row.number for row in rows}})


def _shares(transaction: Transaction, database: Database, user_id: str) -> Iterator[tuple[Row, list[str]]]:
    """Yield the events about members of which the user was one, with the members."""
    [rows] = transaction.run([(database.backend.sql["shares"], {})])
    for row in rows:
        try:
            data = json.loads(event_data(database, row.thread_id, row.kind, row.data) or "{}")
        except (DamagedThread, ValueError):
            continue
        if user_id in data.get("members", ()):
            yield row, data["members"]
