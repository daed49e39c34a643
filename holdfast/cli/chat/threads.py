"""The conversations that a chat can go to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver, Thread
from holdfast.checkpoints.errors import UnknownThread
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import Mistake
from holdfast.cli.options import CommonOptions, thread_config
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.own_database import own_saver
from holdfast.settings import Settings

# Conversations that a chat lists.
_LISTED: Final = 15


@dataclass(frozen=True)
class ChatThreads:
    """The conversations of a database, as the person of a chat sees them."""

    saver: BaseCheckpointSaver[Any]
    agent: AnyAgent
    user: str | None
    """The user who chats; `None` for a person who sees the conversations of all users."""
    by: str | None
    options: CommonOptions
    settings: Settings

    def open(self, thread_id: str) -> ChatSession:
        """Return a conversation, which need not exist yet.

        Raises:
            UnknownThread: it is another user's.
            AnotherAgent: it is another agent's.
        """
        owner = self._owner(thread_id)
        factory.check_thread(self.settings, self.saver, self.agent, thread_id)
        return ChatSession(self.agent, thread_id, owner, self.by, self.options, self.settings)

    def new(self) -> ChatSession:
        """Return a conversation that does not exist yet."""
        return self.open(str(uuid.uuid4()))

    def last(self) -> ChatSession:
        """Return the conversation that was written last.

        Raises:
            Mistake: there is none.
        """
        found = self.recent(1)
        if not found:
            whose = "" if self.user is None else f" of {self.user}"
            raise Mistake(f"There is no conversation{whose} to continue. To begin one, leave --continue out.")
        return self.open(found[0].thread_id)

    def recent(self, limit: int = _LISTED) -> list[Thread]:
        """Return the conversations that were written last, newest first.

        Raises:
            NeedsOwnDatabase: the checkpointer is another one, which has no list.
        """
        saver = own_saver(self.saver, "A list of conversations")
        return saver.threads.list(user_id=self.user, limit=limit).threads

    def _owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, whose name it keeps also when another person decides about its calls.

        Raises:
            UnknownThread: it is another user's. This is checked before anything of the thread is shown.
        """
        if isinstance(self.saver, HoldfastSaver):
            if self.user is None:
                return self.saver.threads.owner(thread_id)
            self.saver.threads.check_user(thread_id, self.user)
            return self.user
        # Another checkpointer has no index of users; its newest checkpoint names the user of the last run.
        found = self.saver.get_tuple(thread_config(thread_id))
        last = None if found is None else dict[str, Any](found.metadata).get("user_id")
        if found is not None and self.user not in {None, last}:
            raise UnknownThread(thread_id, self.user)
        return self.user or last
