"""LangChain's chat message history over a thread, for programs that have no graph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from holdfast.checkpoints import HoldfastDatabase
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.errors import ThreadConflict


@checks_arguments
class HoldfastChatMessageHistory(BaseChatMessageHistory):
    """The messages of a thread as LangChain's chat message history.

    A program of `RunnableWithMessageHistory` changes one line. What is added is in the thread's transcript, the search
    and the list of threads, and an agent of LangGraph goes on from it. Two programs that add at the same time lose
    nothing.

    Args:
        session_id: the thread.
        checkpointer: what `open_checkpointer` returned.
        user_id: the user whose thread it is. With it, every method refuses a thread of another user.

    Raises, from every method:
        UnknownThread: the thread is neither the user's nor shared with the user.
    """

    def __init__(self, session_id: str, checkpointer: HoldfastDatabase, user_id: str | None = None) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self._threads = checkpointer.threads

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r}, user_id={self.user_id!r})"

    # --- as LangChain names it

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain lets it be either
        """The messages in the thread's state; none if the thread does not exist yet."""
        return self._threads.messages(self.session_id, user_id=self.user_id)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, in one save."""
        if messages:
            self._threads.append(self.session_id, messages, user_id=self.user_id)

    def clear(self) -> None:
        """Empty the thread's state, as `threads.restart`. The record stays; `threads.delete` removes it as well."""
        while self.messages:
            with suppress(ThreadConflict):  # another program has added messages meanwhile
                self._threads.restart(self.session_id, user_id=self.user_id)
                return

    async def aget_messages(self) -> list[BaseMessage]:
        return await self._threads.amessages(self.session_id, user_id=self.user_id)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        if messages:
            await self._threads.aappend(self.session_id, messages, user_id=self.user_id)

    async def aclear(self) -> None:
        while await self.aget_messages():
            with suppress(ThreadConflict):
                await self._threads.arestart(self.session_id, user_id=self.user_id)
                return

    # --- as a table of messages

    def save_message(self, role: str, content: Any) -> None:
        """Add one message of a role such as "user", "assistant" or "system"."""
        self._threads.append(self.session_id, [{"role": role, "content": content}], user_id=self.user_id)

    def load_conversation(self) -> list[dict[str, Any]]:
        """Return the messages as dicts of "role" and "content", with the roles of OpenAI."""
        return [{"role": _ROLES.get(one.type, one.type), "content": one.content} for one in self.messages]


_ROLES = {"human": "user", "ai": "assistant"}
