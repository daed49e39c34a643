"""Conversations from elsewhere: their messages, with their own times, become threads.

A conversation becomes the records of a thread (see `transfer.records`), and these are imported like those of another
database: in one transaction, and read back before it commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

from langchain_core.messages import BaseMessage

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user, thread_of
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import AlreadyAdded, ThreadDiffers, ThreadNotEmpty
from holdfast.checkpoints.moments import Moment
from holdfast.checkpoints.threads.access import check_user
from holdfast.checkpoints.threads.histories.append import append_messages, read_messages
from holdfast.checkpoints.threads.histories.conversation import (
    Conversation,
    MessageLike,
    messages_of,
    new_conversation,
    time_said,
)
from holdfast.checkpoints.threads.histories.records import conversation_records
from holdfast.checkpoints.threads.listing import Thread
from holdfast.checkpoints.threads.reset import SaveCheckpoint
from holdfast.checkpoints.transfer import export_thread, import_thread, is_transferable
from holdfast.checkpoints.transfer.records import MESSAGE, ThreadRecord

__all__ = ["Adding", "MessageLike", "add_conversation", "new_conversation", "time_said"]


@checks_arguments
class Adding:
    """The part of `Threads` that takes messages without a run of an agent."""

    _database: Database
    _save_checkpoint: SaveCheckpoint

    def get(self, thread_id: str, *, user_id: str | None = None) -> Thread:
        """Return one thread."""
        raise NotImplementedError

    def add(
        self,
        thread_id: str,
        messages: Sequence[MessageLike],
        *,
        user_id: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        at: Sequence[Moment | None] | None = None,
        users: Sequence[str | None] | None = None,
    ) -> Thread:
        """Make a new thread of a conversation from elsewhere, as if it had been had here.

        It is in the list of threads, in the search and in its transcript at the times of its messages, nothing in it
        waits, and any agent with messages goes on with it.

        Args:
            thread_id: the id of the new thread.
            messages: the messages in their order: LangChain's, dicts with "role" and "content", or pairs of both. A
                system message is no part of what was said; it is the prompt on record from its place on.
            user_id: the user whose thread it is.
            title: its title; by default the first words of a person.
            metadata: texts and numbers by name, as the metadata of its runs would be.
            at: when each message was said. A message without a time is of now.
            users: who said each message, or whose message it answers; `None` for the thread's own user.

        Raises:
            AlreadyAdded: the thread has this conversation already, and perhaps more. Nothing was added.
            ThreadNotEmpty: the thread has other messages. Nothing was added.
            ValueError, TypeError: a message, a time or another argument is none; the error names the message.
            InvalidThread: the id of the thread or of a user cannot be stored.
            NotStorable: a message holds a value that cannot be stored.
        """
        new = new_conversation(thread_id, messages, user_id=user_id, title=title, metadata=metadata, at=at, users=users)
        add_conversation(self._database, new)
        return self.get(new.thread_id)

    def messages(self, thread_id: str, *, user_id: str | None = None) -> list[BaseMessage]:
        """Return the messages in the state of a thread, which its agent's model sees; none if it does not exist.

        Args:
            thread_id: the thread.
            user_id: the user whose thread it must be.

        Raises:
            NotStorable: the thread's messages are in a `DeltaChannel`.
        """
        if user_id is not None:
            check_user(self._database, thread_id, user_id)
        return read_messages(self._database, thread_of({"configurable": {"thread_id": thread_id}}))

    def append(self, thread_id: str, messages: Sequence[MessageLike], *, user_id: str | None = None) -> Thread:
        """Add messages to the state of a thread, as an update; a thread that does not exist begins with them.

        No agent runs. What waits for a person in the thread is closed, as by every message; only a request that the
        agent keeps already, because the conversation went on once, stays open. Of two callers at the same time none
        loses a message, and a run that goes on keeps what was added.

        Args:
            thread_id: the thread.
            messages: the messages, as for `add`. One with the id of an earlier message replaces that one.
            user_id: the user who adds them, and whose thread it must be.

        Raises:
            ValueError, TypeError: a message is none; the error names it.
            NotStorable: the thread's messages are in a `DeltaChannel`, or a message holds what cannot be stored.
        """
        if user_id is not None:
            check_user(self._database, thread_id, user_id)
        read = messages_of(messages)
        place = thread_of({"configurable": {"thread_id": thread_id}})
        append_messages(self._database, self._save_checkpoint, place, read, asked_user(user_id))
        return self.get(place)

    aadd = async_twin(add)
    amessages = async_twin(messages)
    aappend = async_twin(append)


def add_conversation(database: Database, added: Conversation, *, dry_run: bool = False) -> None:
    """Make a thread of a conversation: all of it, or nothing.

    Args:
        database: the database.
        added: the conversation.
        dry_run: whether to find out only whether it can be added.

    Raises:
        AlreadyAdded: the thread has this conversation already, and perhaps more.
        ThreadNotEmpty: the thread has other messages.
        NotStorable: a message holds a value that cannot be stored.
        NotMoved: the database is encrypted.
    """
    records = list(conversation_records(added, database, time.time()))
    if dry_run:
        if is_transferable(database, added.thread_id):
            raise _not_empty(database, added.thread_id, records)
        return
    try:
        # Not repeatable: after a lost commit, a second attempt would find its own thread.
        persist(database.backend, partial(import_thread, database, added.thread_id, records), repeatable=False)
    except ThreadDiffers:
        raise _not_empty(database, added.thread_id, records) from None


def _not_empty(database: Database, thread_id: str, records: Iterable[ThreadRecord]) -> ThreadNotEmpty:
    return (AlreadyAdded if _begins_with(database, thread_id, records) else ThreadNotEmpty)(thread_id)


def _begins_with(database: Database, thread_id: str, records: Iterable[ThreadRecord]) -> bool:
    """Return whether the first messages of a thread are those of some records. Their times may be others."""
    wanted = [_identity(record) for record in records if record.kind == MESSAGE]
    with closing(export_thread(database, thread_id)) as found:
        messages = (_identity(record) for record in found if record.kind == MESSAGE)
        return list(islice(messages, len(wanted))) == wanted


def _identity(record: ThreadRecord) -> tuple[Any, ...]:
    return record.fields["message_id"], record.fields["digest"]
