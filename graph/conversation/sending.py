"""A message that a user sends, and what becomes of the approvals that wait meanwhile."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple, get_args

from langchain_core.messages import HumanMessage

from holdfast.checkpoints.errors import InvalidArgument
from holdfast.graph.approvals.policy import OnMessage
from holdfast.graph.conversation.agents import AgentProfile

UserMessage = str | list[str | dict[str, Any]] | HumanMessage
"""A user's message: a text, content blocks, or a whole message."""


class Sent(NamedTuple):
    """A message that is sent."""

    message: HumanMessage
    pending: OnMessage | None
    """What becomes of the approvals that wait; `None`: what their tools declare."""


def sent_message(profile: AgentProfile, message: UserMessage, pending: OnMessage | None) -> Sent:
    """Return a message as it is sent to an agent.

    Raises:
        InvalidArgument: `pending` is neither "keep" nor "close", or the agent cannot keep a request open.
    """
    if pending not in (None, *get_args(OnMessage)):
        raise InvalidArgument(f"pending is {pending!r}. Needed: 'keep', 'close' or None.")
    if pending == "keep" and not profile.closes_calls:
        raise InvalidArgument(
            "This agent cannot keep a request open while the conversation goes on. Needed for pending='keep': an agent "
            "of build_graph. Nothing was saved."
        )
    if not isinstance(message, HumanMessage):
        # With an id from the start, so that it is not added twice if it is sent again.
        message = HumanMessage(content=message, id=str(uuid.uuid4()))
    return Sent(message, pending)
