"""Open calls are closed before a new message reaches an agent that does not close them itself.

LangGraph drops the tasks of a step when a new input comes. The calls that were waiting, or were being made, would stay
without an answer in the history, and providers refuse such a history for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import StateSnapshot

from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.interrupts.forms import Action
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.requests import pending_of
from holdfast.graph.messages import Call, close_calls, looks_closed, unclosed_calls
from holdfast.graph.nodes.close_calls import IN_DOUBT, NEVER_APPROVED, NEVER_MADE, WAITING
from holdfast.graph.tools.results import closed_message


def needs_closing(profile: AgentProfile, state: StateSnapshot) -> bool:
    """Return whether a new message would drop something of a thread, at a glance."""
    return bool(state.tasks) or not looks_closed(profile.messages(state))


def open_effects(profile: AgentProfile, state: StateSnapshot) -> list[str]:
    """Return the keys under which the ledger may know the calls of a thread that have no answer."""
    return [
        effect_key(group.message.id or "", group.calls[position]["id"] or "")
        for group in unclosed_calls(profile.messages(state))
        for position in group.open
    ]


def with_closed_calls(profile: AgentProfile, state: StateSnapshot, new: Sequence[Any]) -> list[Any]:
    """Return new messages, and before them those without which a call of the thread would have no answer.

    Args:
        profile: the agent.
        state: the state of the thread. LangGraph shows in it what the tasks of the present step have written, and
            drops that when the new messages come.
        new: the messages that are about to be sent.
    """
    closer = _Closer(profile, state)
    messages = profile.messages(state)
    saved = [message for message in messages if message.id not in closer.written_ids]
    closed = close_calls(messages, closer.answer)
    if closed[: len(saved)] == saved:
        return [*closed[len(saved) :], *new]
    if not profile.merges_by_id:
        return [*new]
    # A gap can be filled only by a new list. Ids and order stay, so it is the same thread.
    return [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed, *new]


class _Closer:
    """Says what is known of the calls of a step that is about to be dropped."""

    def __init__(self, profile: AgentProfile, state: StateSnapshot) -> None:
        requests = pending_of(state)
        self._waiting_ids = {request.tool_call_id for request in requests if request.tool_call_id}
        self._waiting = [action for request in requests for action in request.actions]
        left = [task for task in state.tasks if task.result is None]
        # Any node may run tools. One that asks about calls of a message has not handed the others out.
        self._has_died = any(not task.interrupts for task in left)
        self._has_paused = any(task.interrupts and profile.is_tool_node(task.name) for task in left) or any(
            not request.actions for request in requests
        )
        written = [message for task in state.tasks for message in _messages_in(task.result, profile.messages_key)]
        self.written_ids = {message.id for message in written} - {None}

    def answer(self, message: AIMessage, call: Call) -> ToolMessage:
        """Return the answer to an open call, which says why there is no result."""
        if self._waits(call):
            text = NEVER_APPROVED
        elif self._has_died:
            text = IN_DOUBT
        else:
            text = WAITING if self._has_paused else NEVER_MADE
        return closed_message(call, text, datetime.now(UTC))

    def _waits(self, call: Call) -> bool:
        return call["id"] in self._waiting_ids or any(_is_about(action, call) for action in self._waiting)


def _is_about(action: Action, call: Call) -> bool:
    return action.name == call["name"] and action.args == call["args"]


def _messages_in(result: Any, key: str) -> list[BaseMessage]:
    found = result.get(key) if isinstance(result, Mapping) else None
    messages = found if isinstance(found, list) else [found]
    return [message for message in messages if isinstance(message, BaseMessage)]
