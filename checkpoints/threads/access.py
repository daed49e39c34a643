"""The owner of a thread, and the check that a caller is this user, before a conversation goes on.

This is not the whole of access control. Lists of threads, transcripts, searches and requests filter by `user_id` in
their own statements: see `threads.listing` and `sql/threads.sql`, `transcript.header`, `search.service`, and
`sql/interrupts.sql`.
"""

from __future__ import annotations

from holdfast.checkpoints.config import user_of, user_text
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import UnknownThread
from holdfast.checkpoints.serde.messages import is_sql_text


def read_owner(database: Database, thread_id: str) -> tuple[bool, str | None]:
    """Return whether a thread exists, and its user."""
    if not is_sql_text(str(thread_id)):
        return False, None
    [rows] = database.read((database.backend.sql["owner"], {"thread_id": str(thread_id)}))
    return bool(rows), next((user_text(user) for row in rows for user in row if user is not None), None)


def check_owner(database: Database, thread_id: str, user_id: str) -> None:
    """Refuse a thread that belongs to another user or to none.

    A thread that does not exist yet passes, since the user may begin it.

    Raises:
        UnknownThread: the thread exists and is not the user's, or `user_id` is empty.
        InvalidThread: the `user_id` cannot be stored, so no thread can be this user's.
    """
    user = user_of(user_id)
    exists, owner = read_owner(database, thread_id)
    if user is None or (exists and owner != user):
        raise UnknownThread(thread_id, user_id)
