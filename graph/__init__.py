"""One turn of the agent: the model, its tools, and the people who decide about them."""

from graph.agent import build_graph
from graph.answering import NothingWaits
from graph.answers import BadAnswer
from graph.approval import AnsweredBefore, ToolApproval, approval_policy, needs_approval
from graph.context import Context
from graph.conversation import Conversation
from graph.once import IdempotencyKey, once, repeatable
from graph.state import State
from graph.turns import Event, Paused, Pending, Reply, Token, ToolAnswered, ToolCalled

__all__ = [
    "AnsweredBefore",
    "BadAnswer",
    "Context",
    "Conversation",
    "Event",
    "IdempotencyKey",
    "NothingWaits",
    "Paused",
    "Pending",
    "Reply",
    "State",
    "Token",
    "ToolAnswered",
    "ToolApproval",
    "ToolCalled",
    "approval_policy",
    "build_graph",
    "needs_approval",
    "once",
    "repeatable",
]
