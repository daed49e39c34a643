"""Open calls are closed before a new message reaches an agent that does not close them itself.

LangGraph drops the tasks of a step when a new input comes. The calls that were waiting, or were being made, would stay
without an answer in the history, and providers refuse such a history for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import StateSnapshot

from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.interrupts.forms import Action
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.requests import pending_of
from holdfast.graph.messages import Call, close_calls, unclosed_calls
from holdfast.graph.nodes.close_calls import IN_DOUBT, NEVER_APPROVED, NEVER_MADE
from holdfast.graph.tools.results import error_message


def open_effects(messages: Sequence[AnyMessage]) -> list[str]:
    """Return the keys under which the ledger may know the calls without an answer."""
    return [
        effect_key(group.message.id or "", group.calls[position]["id"] or "")
        for group in unclosed_calls(messages)
        for position in group.open
    ]


def with_closed_calls(profile: AgentProfile, state: StateSnapshot, new: Sequence[Any]) -> list[Any]:
    """Return new messages, and before them the answers that close the calls of a state.

    Args:
        profile: the agent.
        state: the state of the thread.
        new: the messages that are about to be sent.
    """
    messages = profile.messages(state)
    if not unclosed_calls(messages):
        return [*new]
    closer = _Closer(profile, state)
    closed = close_calls(messages, closer.answer)
    if closed[: len(messages)] == messages:
        return [*closed[len(messages) :], *new]
    # A gap can be filled only by a new list. Ids and order stay, so it is the same thread.
    return [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed, *new]


class _Closer:
    """Says what is known of the calls of a step that is about to be dropped."""

    def __init__(self, profile: AgentProfile, state: StateSnapshot) -> None:
        requests = pending_of(state)
        self._waiting_ids = {request.tool_call_id for request in requests if request.tool_call_id}
        self._waiting = [action for request in requests for action in request.actions]
        self._in_tools = any(profile.is_tool_node(task.name) for task in state.tasks)
        self._results = {
            message.tool_call_id: message
            for task in state.tasks
            for message in _messages_in(task.result, profile.messages_key)
            if isinstance(message, ToolMessage)
        }

    def answer(self, message: AIMessage, call: Call) -> ToolMessage:
        """Return the answer to an open call: its result if its task had ended, else why there is none."""
        if call["id"] in self._results:
            return self._results[call["id"] or ""]
        if self._waits(call):
            return error_message(call, NEVER_APPROVED)
        return error_message(call, IN_DOUBT if self._in_tools else NEVER_MADE)

    def _waits(self, call: Call) -> bool:
        return call["id"] in self._waiting_ids or any(_is_about(action, call) for action in self._waiting)


def _is_about(action: Action, call: Call) -> bool:
    return action.name == call["name"] and action.args == call["args"]


def _messages_in(result: Any, key: str) -> Sequence[Any]:
    found = result.get(key) if isinstance(result, Mapping) else None
    return found if isinstance(found, list) else []
