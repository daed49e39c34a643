"""The agent, and conversations with it: a model, its tools, and the people who approve calls of tools.

A name is imported when it is first used, so that one of these modules can be used without all the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from holdfast.checkpoints.interrupts.pending import Pending
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
    from holdfast.graph.own_database import NeedsOwnDatabase
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
    "NeedsOwnDatabase",
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

_MODULES: Final = {
    "AnsweredBefore": "holdfast.graph.approvals.ask",
    "BadAnswer": "holdfast.graph.approvals.decisions",
    "Done": "holdfast.graph.conversation.events",
    "Context": "holdfast.graph.context",
    "Conversation": "holdfast.graph.conversation",
    "Event": "holdfast.graph.conversation.events",
    "IdempotencyKey": "holdfast.graph.tools.once",
    "NeedsOwnDatabase": "holdfast.graph.own_database",
    "NothingWaits": "holdfast.graph.conversation.answer",
    "Paused": "holdfast.graph.conversation.events",
    "Pending": "holdfast.checkpoints.interrupts.pending",
    "Reply": "holdfast.graph.conversation.events",
    "State": "holdfast.graph.state",
    "Token": "holdfast.graph.conversation.events",
    "ToolAnswered": "holdfast.graph.conversation.events",
    "ToolCalled": "holdfast.graph.conversation.events",
    "build_graph": "holdfast.graph.agent",
    "needs_approval": "holdfast.graph.approvals.policy",
    "once": "holdfast.graph.tools.once",
    "repeatable": "holdfast.graph.tools.once",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
