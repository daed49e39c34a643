"""What a thread of the agent holds."""

from typing import Annotated, NotRequired

from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict


class State(TypedDict):
    """The state of one thread: its messages, oldest first, merged by id, and a summary of those that have left it.

    Messages and JSON types only. Everything else about a turn (who waits for whom, which tool ran) is either in
    the messages or in the pause itself, so a thread can be read by any program that knows LangChain messages.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    # A message and no text: a message is a row that is stored once, a text would be in every checkpoint.
    summary: NotRequired[SystemMessage]


def summary_of(state: State) -> SystemMessage | None:
    """The summary of what has left the state; None if nothing has, or if a caller has put something else there."""
    summary = state.get("summary")
    return summary if isinstance(summary, SystemMessage) else None
