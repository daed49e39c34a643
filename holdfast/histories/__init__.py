"""Conversations of other systems: they become threads, and LangChain's chat message history goes on in one.

from holdfast import open_checkpointer
from holdfast.histories import HoldfastChatMessageHistory, import_histories, read_sql

with open_checkpointer("sqlite:///chat.db") as checkpointer:
    for one in import_histories(checkpointer, read_sql("sqlite:///old.db")):
        print(one.thread_id, one.outcome, one.problem or "")
    history = HoldfastChatMessageHistory("ada-1", checkpointer)
"""

from holdfast.histories.chat import HoldfastChatMessageHistory
from holdfast.histories.files import read_file
from holdfast.histories.history import Columns, History
from holdfast.histories.importing import Imported, import_histories
from holdfast.histories.sql import read_sql

__all__ = [
    "Columns",
    "History",
    "HoldfastChatMessageHistory",
    "Imported",
    "import_histories",
    "read_file",
    "read_sql",
]
