"""What threads of others hold of a user: messages that the user said there, and rows that name the user."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.erasure.journal import Journal, Part

ERASED_USER: Final = "[erased]"
"""Takes the place of the id of a user who was erased, in rows of others."""

_RENAMED: Final = ("messages", "actors", "events", "answers", "verdicts", "metadata", "runs")


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
    sql = database.backend.sql
    said, names = database.read((sql["said_elsewhere"], _of(user_id)), (sql["named_elsewhere"], _of(user_id)))
    return Elsewhere([(row.thread_id, row.seq) for row in said], Counter({row.place: row.number for row in names}))


def rename_elsewhere(database: Database, user_id: str, journal: Journal, begun: Mapping[str, Any]) -> None:
    """Put a placeholder in place of a user's id in rows of others, and record how many these were. Idempotent."""
    persist(database.backend, partial(_rename, database, user_id, journal, begun))


def _rename(database: Database, user_id: str, journal: Journal, begun: Mapping[str, Any]) -> None:
    sql = database.backend.sql
    with database.backend.writing() as transaction:
        [names] = transaction.run([(sql["named_elsewhere"], _of(user_id))])
        named = +Counter({row.place: row.number for row in names})
        if not named:
            return
        new = {"new": ERASED_USER, "new_quoted": json.dumps(ERASED_USER)}
        transaction.run([(sql[f"rename_in_{place}"], {**_of(user_id), **new}) for place in _RENAMED])
        journal.note(transaction, Part(redacted=named), begun)


def _of(user_id: str) -> dict[str, str]:
    return {"user_id": user_id, "quoted": json.dumps(user_id)}
