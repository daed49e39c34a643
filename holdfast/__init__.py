"""Conversations and approvals that survive anything: a LangGraph checkpointer, and an agent over it.

    from holdfast import Conversation, build_graph, open_checkpointer

    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        agent = build_graph(checkpointer=checkpointer)
        print(Conversation(agent, "ada-1", user_id="ada").send("Refund order 1001").text)

The errors are in `holdfast.errors`. A name is imported when it is first used, so that the command line answers before
LangGraph is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver, RetentionPolicy, RetentionRule, open_checkpointer
    from holdfast.checkpoints.store.service import HoldfastStore, open_store
    from holdfast.graph import (
        Context,
        Conversation,
        Done,
        IdempotencyKey,
        Paused,
        Pending,
        Reply,
        State,
        Token,
        ToolAnswered,
        ToolCalled,
        build_graph,
        needs_approval,
        once,
        repeatable,
    )

__all__ = [
    "Context",
    "Conversation",
    "Done",
    "HoldfastSaver",
    "HoldfastStore",
    "IdempotencyKey",
    "Paused",
    "Pending",
    "Reply",
    "RetentionPolicy",
    "RetentionRule",
    "State",
    "Token",
    "ToolAnswered",
    "ToolCalled",
    "build_graph",
    "needs_approval",
    "once",
    "open_checkpointer",
    "open_store",
    "repeatable",
]

_MODULES = {
    "HoldfastSaver": "holdfast.checkpoints",
    "HoldfastStore": "holdfast.checkpoints.store.service",
    "RetentionPolicy": "holdfast.checkpoints",
    "RetentionRule": "holdfast.checkpoints",
    "open_checkpointer": "holdfast.checkpoints",
    "open_store": "holdfast.checkpoints.store.service",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "holdfast.graph")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
