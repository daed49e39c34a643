"""Calls that wait for a person while the conversation goes on. Pure functions over messages, no I/O.

Such a call is answered in the history by a message which says that it waits, so that a model never sees an open call.
When a person has decided, the result takes the place of that message, and the model is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.interrupts.pending import plain_call
from holdfast.graph.messages import call_groups, calls_of, looks_closed

KEPT: Final = "kept"
"""Key of a ToolMessage's `additional_kwargs` for a call whose request was kept open: {"interrupt_id", "decided"}, the
latter False as long as the call waits."""

TELLS: Final = "tells"
"""Key of an AIMessage's `additional_kwargs` for the ids of the results that the model was told of."""

_WAITS: Final = (
    "Not run yet: this call waits for a person's approval, and the conversation goes on meanwhile. You will be told "
    "what becomes of it. Do not make this call again."
)

_NOTE: Final = "note"
"""Key of a HumanMessage's `additional_kwargs` for a note that no person has written. It is never stored."""

_DECIDED: Final = "A person has decided about calls that were waiting"

_ITEM: Final = "* "

# Characters of a result that a note quotes. The whole result is in the history.
_LONGEST: Final = 2_000


class KeptCall(NamedTuple):
    """A call whose request is kept open."""

    call: ToolCall
    message_id: str
    interrupt_id: str


def kept_answer_id(message_id: str, call_id: str | None) -> str:
    """Return the id of the answer to a call: the same for the message that it waits, and for the result."""
    return str(uuid.UUID(hex=effect_key(message_id, call_id or "")))


def waiting_answer(kept: KeptCall) -> ToolMessage:
    """Make the answer to a call that waits. It is always the same."""
    call = kept.call
    return ToolMessage(
        _WAITS,
        id=kept_answer_id(kept.message_id, call["id"]),
        name=call["name"],
        tool_call_id=call["id"],
        status="error",
        additional_kwargs={KEPT: {"interrupt_id": kept.interrupt_id, "decided": False}},
    )


def as_outcome(answer: ToolMessage, message_id: str, interrupt_id: str) -> ToolMessage:
    """Return the answer to a call that a person has decided about, so that it takes the place of the one before."""
    kwargs = {**answer.additional_kwargs, KEPT: {"interrupt_id": interrupt_id, "decided": True}}
    answer_id = kept_answer_id(message_id, answer.tool_call_id)
    return answer.model_copy(update={"id": answer_id, "additional_kwargs": kwargs})


def is_waiting(message: object) -> bool:
    """Return whether a message says that its call waits."""
    return isinstance(message, ToolMessage) and message.additional_kwargs.get(KEPT, {}).get("decided") is False


def has_calls_behind(messages: Sequence[AnyMessage]) -> bool:
    """Return whether a call before the last message of a person may wait, at a glance."""
    last = next((at for at in reversed(range(len(messages))) if isinstance(messages[at], HumanMessage)), 0)
    return any(map(is_waiting, messages[:last])) or not looks_closed(messages[:last])


def kept_calls(messages: Sequence[AnyMessage]) -> list[KeptCall]:
    """Return the calls whose requests are kept open, in their order."""
    if not any(map(is_waiting, messages)):
        return []
    kept: list[KeptCall] = []
    for group in call_groups(messages):
        for position, answer in sorted(group.answers.items()):
            call = group.calls[position]
            if is_waiting(answer) and call["type"] == "tool_call":
                kept.append(KeptCall(call, group.message.id or "", answer.additional_kwargs[KEPT]["interrupt_id"]))
    return kept


def untold_outcomes(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """Return the results of kept calls of which the model has not been told."""
    outcomes = [
        message
        for message in messages
        if isinstance(message, ToolMessage) and message.additional_kwargs.get(KEPT, {}).get("decided")
    ]
    if not outcomes:
        return []
    told = {id_ for message in messages if isinstance(message, AIMessage) for id_ in _told_in(message)}
    return [outcome for outcome in outcomes if outcome.id not in told]


def telling(message: AIMessage, outcomes: Sequence[ToolMessage]) -> AIMessage:
    """Return a model's message with a mark of the results that it was told of."""
    if not outcomes:
        return message
    kwargs = {**message.additional_kwargs, TELLS: [outcome.id for outcome in outcomes]}
    return message.model_copy(update={"additional_kwargs": kwargs})


def waiting_note(messages: Sequence[AnyMessage]) -> str:
    """Return the words, for the model's instructions, about the calls that wait; empty if there is none."""
    calls = [plain_call(kept.call["name"], kept.call["args"]) for kept in kept_calls(messages)]
    if not calls:
        return ""
    listed = "\n".join(f"{_ITEM}{call}" for call in calls)
    return (
        "These calls wait for a person's approval. They have not run, and you cannot approve them. Do not make them "
        f"again, and say that they wait if it matters:\n{listed}"
    )


def outcome_note(messages: Sequence[AnyMessage], outcomes: Sequence[ToolMessage]) -> str:
    """Return the words about calls that were decided while the conversation went on; empty if there is none."""
    if not outcomes:
        return ""
    made = {
        kept_answer_id(m.id or "", call["id"]): call
        for m in messages
        if isinstance(m, AIMessage)
        for call in calls_of(m)
    }
    listed = "\n".join(f"{_ITEM}{_shown(made.get(outcome.id or ''), outcome)}" for outcome in outcomes)
    return f"{_DECIDED}. What became of them:\n{listed}"


def note_message(note: str) -> HumanMessage:
    """Make the last message of what the model sees, where the history ends with the model's own words.

    Models answer the words of a user. It is not kept in the thread.
    """
    text = f"[A note of the system, not of the user. Tell the user about it.]\n{note}"
    return HumanMessage(text, additional_kwargs={_NOTE: True})


def with_notes(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages as a model sees them: with the note before its own words that answered one.

    Some providers take no call of a model directly behind its own words.
    """
    if not any(TELLS in message.additional_kwargs for message in messages):
        return list(messages)
    seen: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, AIMessage) and _told_in(message) and seen and isinstance(seen[-1], AIMessage):
            outcomes = [item for item in messages if isinstance(item, ToolMessage) and item.id in _told_in(message)]
            seen.append(note_message(outcome_note(messages, outcomes) or _DECIDED))
        seen.append(message)
    return seen


def told_in(message: BaseMessage) -> list[str]:
    """Return the first lines of the results that a note tells of; none if the message is no note."""
    if not message.additional_kwargs.get(_NOTE):
        return []
    items = (line for line in message.text.splitlines() if line.startswith(_ITEM))
    return [item.partition("): ")[2] for item in items]


def _told_in(message: AIMessage) -> Collection[str]:
    told = message.additional_kwargs.get(TELLS, ())
    return told if isinstance(told, list) else ()


def _shown(call: Any, outcome: ToolMessage) -> str:
    name = plain_call(call["name"], call["args"]) if call is not None else str(outcome.name)
    text = outcome.text if len(outcome.text) <= _LONGEST else f"{outcome.text[:_LONGEST]}…"
    return f"{name}: {text}"
