"""The agent, and conversations with it: a model, its tools, and the people who approve calls of tools."""

from holdfast.graph.agent import build_graph
from holdfast.graph.approvals.ask import AnsweredBefore
from holdfast.graph.approvals.decisions import BadAnswer
from holdfast.graph.approvals.policy import needs_approval
from holdfast.graph.context import Context
from holdfast.graph.conversation import Conversation
from holdfast.graph.conversation.answer import NothingWaits
from holdfast.graph.conversation.events import (
    Done,
    Event,
    Paused,
    Reply,
    Token,
    ToolAnswered,
    ToolCalled,
)
from holdfast.graph.conversation.requests import Pending
from holdfast.graph.state import State
from holdfast.graph.tools.once import IdempotencyKey, once, repeatable

__all__ = [
    "AnsweredBefore",
    "BadAnswer",
    "Context",
    "Conversation",
    "Done",
    "Event",
    "IdempotencyKey",
    "NothingWaits",
    "Paused",
    "Pending",
    "Reply",
    "State",
    "Token",
    "ToolAnswered",
    "ToolCalled",
    "build_graph",
    "needs_approval",
    "once",
    "repeatable",
]
