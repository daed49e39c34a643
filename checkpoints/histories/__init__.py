"""Conversations from elsewhere: their messages, with their own times, become threads.

A conversation becomes the records of a thread (see `transfer.records`), and these are imported like those of another
database: in one transaction, and read back before it commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from typing import Any

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import AlreadyAdded, ThreadDiffers, ThreadNotEmpty
from holdfast.checkpoints.histories.conversation import Conversation, MessageLike, conversation
from holdfast.checkpoints.histories.records import conversation_records
from holdfast.checkpoints.transfer import export_thread, import_thread
from holdfast.checkpoints.transfer.records import MESSAGE, ThreadRecord

__all__ = ["Conversation", "MessageLike", "add_conversation", "conversation"]


def add_conversation(database: Database, added: Conversation) -> None:
    """Make a thread of a conversation: all of it, or nothing.

    Raises:
        AlreadyAdded: the thread has this conversation already, and perhaps more.
        ThreadNotEmpty: the thread has other messages.
        NotStorable: a message holds a value that cannot be stored.
        NotMoved: the database is encrypted.
    """
    records = list(conversation_records(added, database.types, time.time()))

    def add() -> None:
        was_there = import_thread(database, added.thread_id, records).was_there
        if was_there:
            raise AlreadyAdded(added.thread_id)

    try:
        # Not repeatable: after a lost commit, a second attempt would find its own thread.
        persist(database.backend, add, repeatable=False)
    except ThreadDiffers:
        if _begins_with(database, added.thread_id, records):
            raise AlreadyAdded(added.thread_id) from None
        raise ThreadNotEmpty(added.thread_id) from None


def _begins_with(database: Database, thread_id: str, records: Iterable[ThreadRecord]) -> bool:
    """Return whether the first messages of a thread are those of some records. Their times may be others."""
    wanted = [_identity(record) for record in records if record.kind == MESSAGE]
    with closing(export_thread(database, thread_id)) as found:
        messages = (_identity(record) for record in found if record.kind == MESSAGE)
        return list(islice(messages, len(wanted))) == wanted


def _identity(record: ThreadRecord) -> tuple[Any, ...]:
    return record.fields["message_id"], record.fields["digest"]
