"""The answer to a call, for each way in which a call can end. Pure functions, no I/O."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage, ToolCall, ToolMessage, convert_to_messages
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from holdfast.checkpoints import Why
from holdfast.graph.approvals.ask import RecordedAnswer
from holdfast.graph.messages import APPROVAL, EFFECT, Call

Update: TypeAlias = dict[str, Any] | Command[Any] | list[dict[str, Any] | Command[Any]]
"""An update of the thread. A list is several of one step, as LangGraph takes them from a node."""

LONGEST: Final = 1_000_000
"""The characters of a result that are kept. A longer text is no part of a conversation, and no model reads it."""

_REASONS: Final[dict[Why, str]] = {
    "owner": "the process that ran it ended, or was cut off, before it could say so",
    "timeout": "it did not answer in time",
    "error": "it failed, and its error does not say",
    "cancelled": "the run was cancelled in the middle of it",
    "arguments": "it has run before, with other arguments",
    "elsewhere": "it has run before, in another copy of this conversation",
}

_RAN_BEFORE: Final = ("arguments", "elsewhere")


@dataclass(frozen=True)
class Ready:
    """A call that may run, and the decision about it."""

    tool: BaseTool
    call: ToolCall
    approval: dict[str, Any] | None = None
    """For the answer's `additional_kwargs`; see `APPROVAL`."""
    answer: RecordedAnswer | None = None


def result_update(ready: Ready, result: Any, answer_id: str | None = None) -> Update:
    """Return the update of the thread for a tool that returned.

    Args:
        ready: the call.
        result: the tool's return value.
        answer_id: the id of the answer; by default a new one.
    """
    if isinstance(result, Command):
        return _command_update(ready, result, answer_id)
    if isinstance(result, list) and any(isinstance(part, Command | ToolMessage) for part in result):
        return _list_update(ready, result, answer_id)
    if not isinstance(result, ToolMessage):
        result = ToolMessage(str(result), name=ready.tool.name, tool_call_id=ready.call["id"])
    elif result.tool_call_id != ready.call["id"]:
        result = result.model_copy(update={"tool_call_id": ready.call["id"]})  # a tool can answer its own call only
    return update_of(signed(ready, _cut(result)), answer_id)


def _command_update(ready: Ready, command: Command[Any], answer_id: str | None) -> Update:
    """Return the update for a tool that returned a Command. Its messages must contain the answer to the call."""
    update = command.update if isinstance(command.update, dict) else {}
    given = update.get("messages", [])
    messages = convert_to_messages(given if isinstance(given, list) else [given])
    if not any(_answers(message, ready.call) for message in messages):
        return _unanswered(ready, answer_id)
    return _with_messages(ready, command, update, messages, answer_id)


def _list_update(ready: Ready, parts: list[Any], answer_id: str | None) -> Update:
    """Return the update for a tool that returned several messages and Commands. One of them must answer the call."""
    updates: list[dict[str, Any] | Command[Any]] = []
    for part in parts:
        if isinstance(part, Command):
            update = part.update if isinstance(part.update, dict) else {}
            given = update.get("messages", [])
            messages = convert_to_messages(given if isinstance(given, list) else [given])
            updates.append(_with_messages(ready, part, update, messages, answer_id) if messages else part)
        elif isinstance(part, ToolMessage):
            message = _with_id(signed(ready, _cut(part)), answer_id if _answers(part, ready.call) else None)
            updates.append({"messages": [message]})
    return updates if answer_in(updates, ready.call) is not None else _unanswered(ready, answer_id)


def _unanswered(ready: Ready, answer_id: str | None) -> Update:
    text = f"{ready.tool.name} changed the state without answering its call; nothing of that was kept."
    return update_of(signed(ready, error_message(ready.call, text)), answer_id)


def _with_messages(
    ready: Ready, command: Command[Any], update: dict[str, Any], messages: list[BaseMessage], answer_id: str | None
) -> Command[Any]:
    """Return a Command with its messages as they are kept."""
    kept = [
        _with_id(signed(ready, _cut(message)), answer_id if _answers(message, ready.call) else None)
        if isinstance(message, ToolMessage)
        else message.model_copy(update={"id": message.id or str(uuid.uuid4())})
        for message in messages
    ]
    return Command(graph=command.graph, goto=command.goto, resume=command.resume, update={**update, "messages": kept})


def _answers(message: BaseMessage, call: Call) -> bool:
    return isinstance(message, ToolMessage) and message.tool_call_id == call["id"]


def answer_in(update: Any, call: Call) -> ToolMessage | None:
    """Return the answer to a call from an update that `result_update` made."""
    if isinstance(update, list):
        found = (answer_in(part, call) for part in update)
        return next((answer for answer in found if answer is not None), None)
    values = update.update if isinstance(update, Command) else update
    messages = values.get("messages", []) if isinstance(values, dict) else []
    return next((message for message in messages if _answers(message, call)), None)


def with_answer(update: Update, call: Call, change: Callable[[ToolMessage], ToolMessage]) -> Update:
    """Return an update with the answer to a call changed."""
    if isinstance(update, list):
        return [with_answer(part, call, change) for part in update]  # type: ignore[misc]
    values = update.update if isinstance(update, Command) else update
    if not isinstance(values, dict) or answer_in(update, call) is None:
        return update
    messages = [change(item) if _answers(item, call) else item for item in values["messages"]]
    changed = {**values, "messages": messages}
    return replace(update, update=changed) if isinstance(update, Command) else changed


def text_only(ready: Ready, update: Update) -> Update:
    """Return the update with the text of the answer alone, for a result that cannot be stored as a whole."""
    answer = answer_in(update, ready.call)
    assert answer is not None  # noqa: S101 - every update has one
    text = f"{answer.text}\n(More than this text came back, and could not be kept.)"
    return {"messages": [answer.model_copy(update={"content": text, "artifact": None})]}


def unreadable_message(ready: Ready, problem: str = "") -> ToolMessage:
    """Make the answer to a call whose tool ran, and whose result cannot be stored."""
    why = f" ({problem})" if problem else ""
    text = f"{ready.tool.name} was run. What it returned cannot be kept{why}. Do not make this call again to see it."
    return error_message(ready.call, text)


def failure_message(ready: Ready, error: BaseException) -> ToolMessage:
    """Make the answer to a call whose tool raised."""
    return signed(ready, error_message(ready.call, f"{ready.tool.name} failed. {error_text(error)}"))


def error_text(error: BaseException) -> str:
    """Return the text of an error for the model and for people."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the error's own `__str__` may fail
        text = ""
    return text if isinstance(error, ToolException) else f"{type(error).__name__}: {text}".removesuffix(": ")


def doubt_message(ready: Ready, why: Why, answer_id: str, *, detail: str = "") -> ToolMessage:
    """Make the answer to a call in doubt, until a person has settled it.

    It takes the answer's place in the thread, so that a model sees neither an open call nor a guess.
    """
    known = "Not run" if why in _RAN_BEFORE else f"It is not known whether {ready.call['name']} took effect"
    text = (
        f"{known}: {_REASONS[why]}.{detail and ' ' + detail} Do not make this call again; a person is asked about it."
    )
    message = signed(ready, error_message(ready.call, text))
    kwargs = {**message.additional_kwargs, EFFECT: {"state": "in_doubt", "why": why}}
    return message.model_copy(update={"additional_kwargs": kwargs, "id": answer_id})


def reason_of(why: Why) -> str:
    """Return the reason of a doubt, as half a sentence."""
    return _REASONS[why]


def signed(ready: Ready, message: ToolMessage) -> ToolMessage:
    """Return the answer with the decision about the call. The model is told the arguments that an edited call had."""
    if ready.approval is None:
        return message
    content = message.content
    if "args" in ready.approval:
        ran_with = json.dumps(ready.approval["args"], default=str)
        note = f"A person changed this call; it ran with the arguments {ran_with}. Result:"
        content = f"{note}\n{content}" if isinstance(content, str) else [{"type": "text", "text": note}, *content]
    kwargs = {**message.additional_kwargs, APPROVAL: ready.approval}
    return message.model_copy(update={"content": content, "additional_kwargs": kwargs})


def update_of(answer: ToolMessage, answer_id: str | None = None) -> dict[str, Any]:
    """Return the update of the thread for an answer."""
    return {"messages": [_with_id(answer, answer_id)]}


def _with_id(answer: ToolMessage, answer_id: str | None) -> ToolMessage:
    # LangGraph gives a message an id only when the step ends, and until then each reader of the pending result would
    # see another one.
    return answer.model_copy(update={"id": answer_id or answer.id or str(uuid.uuid4())})


def _cut(message: ToolMessage) -> ToolMessage:
    """Return the message, with the beginning of its text alone if it is too long."""
    if isinstance(message.content, str):
        length = len(message.content)
    else:
        length = sum(len(json.dumps(block, default=str)) for block in message.content)
    if length <= LONGEST:
        return message
    text = f"{message.text[:LONGEST]}\n(The result had {length:,} characters; this is what was kept of it.)"
    return message.model_copy(update={"content": text, "artifact": None})


def closed_message(call: Call, text: str, now: datetime) -> ToolMessage:
    """Make the answer to a call that is closed because the conversation goes on. Its note says so to readers."""
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    return error_message(call, text, {"decision": "closed", "by": None, "at": at})


def error_message(call: Call, text: str, approval: dict[str, Any] | None = None) -> ToolMessage:
    """Make an answer to a call with the status of an error."""
    return ToolMessage(
        text,
        name=call["name"],
        tool_call_id=call["id"],
        status="error",
        additional_kwargs={} if approval is None else {APPROVAL: approval},
    )
