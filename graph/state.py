"""What a thread of the agent holds."""

from typing import Annotated

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict


class State(TypedDict):
    """The state of one thread: its messages, oldest first, merged by id.

    Messages and JSON types only. Everything else about a turn (who waits for whom, which tool ran) is either in
    the messages or in the pause itself, so a thread can be read by any program that knows LangChain messages.
    """

    messages: Annotated[list[AnyMessage], add_messages]
