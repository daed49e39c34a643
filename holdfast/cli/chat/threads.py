"""The conversations that a chat can go to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver, Thread
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import Mistake
from holdfast.cli.options import CommonOptions
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.settings import Settings

# Conversations that a chat lists.
_LISTED: Final = 15


@dataclass(frozen=True)
class ChatThreads:
    """The conversations of a database, as the person of a chat sees them."""

    saver: HoldfastSaver
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
        # A thread keeps its owner's name, also when another person decides about its calls.
        owner = self.saver.threads.owner(thread_id) if self.user is None else self.user
        if self.user is not None:
            self.saver.threads.check_user(thread_id, self.user)  # before anything of the thread is shown
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
        """Return the conversations that were written last, newest first."""
        return self.saver.threads.list(user_id=self.user, limit=limit).threads
