"""Conversations of other systems: LangChain's chat message history over a thread.

from holdfast import open_checkpointer
from holdfast.histories import HoldfastChatMessageHistory

checkpointer = open_checkpointer("sqlite:///chat.db")
chain = RunnableWithMessageHistory(model, lambda session: HoldfastChatMessageHistory(session, checkpointer))
"""

from holdfast.histories.chat import HoldfastChatMessageHistory

__all__ = ["HoldfastChatMessageHistory"]
