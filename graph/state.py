"""The state of a thread of the agent."""

from typing import Annotated, Any, NotRequired

from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict


class State(TypedDict):
    """The state of one thread: its messages, oldest first and merged by id, and a summary of those that have left.

    It holds messages and JSON types only. Everything else about a turn, such as a call that waits for a person, is in
    the messages or in the pause itself, so any program that knows LangChain's messages can read a thread.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    # A message and not a text: a message is a row that is stored once, a text would be stored in every checkpoint.
    summary: NotRequired[SystemMessage]


def summary_of(state: State | dict[str, Any]) -> SystemMessage | None:
    """Return the summary. None if there is none, or if a caller has put another type there."""
    summary = state.get("summary")
    return summary if isinstance(summary, SystemMessage) else None
