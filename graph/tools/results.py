"""What a call's answer in the thread is, for each way in which a call can end. Pure, no I/O."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage, ToolCall, ToolMessage, convert_to_messages
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from holdfast.checkpoints.effects.states import Why
from holdfast.graph.approvals.policy import Given
from holdfast.graph.messages import Call

# Where a ToolMessage says who decided about its call: additional_kwargs["approval"] =
# {"decision", "by", "at"} and, where the call was edited, "args": what ran in place of what the model wrote.
APPROVAL: Final = "approval"

# Where a ToolMessage says that nobody knows whether its call took effect: additional_kwargs["effect"] =
# {"state": "in_doubt", "why"}, or who decided about it then: {"state": "settled", "decision", "by", "at"}.
EFFECT: Final = "effect"

Update: TypeAlias = dict[str, Any] | Command[Any]

LONGEST: Final = 1_000_000
"""Characters of a result that are kept. More is no conversation any more, and no model reads it."""

_WHY: Final[dict[Why, str]] = {
    "owner": "the process that ran it ended, or was cut off, before it could say so",
    "timeout": "it did not answer in time",
    "error": "it failed, and its error does not say",
    "cancelled": "the run was cancelled in the middle of it",
    "arguments": "it has run before, with other arguments",
    "elsewhere": "it has run before, in another copy of this conversation",
}


@dataclass(frozen=True)
class Ready:
    """A call that may run, and what a person decided about it."""

    tool: BaseTool
    call: ToolCall
    approval: dict[str, Any] | None = None
    given: Given | None = None


def result_update(ready: Ready, result: Any, answer_id: str | None = None) -> Update:
    """What a tool that returned does to the thread.

    Args:
        ready: the call.
        result: what the tool returned.
        answer_id: the id of the answer; a new one if there is none.
    """
    if isinstance(result, Command):
        return _command_update(ready, result, answer_id)
    if not isinstance(result, ToolMessage):
        result = ToolMessage(str(result), name=ready.tool.name, tool_call_id=ready.call["id"])
    elif result.tool_call_id != ready.call["id"]:
        result = result.model_copy(update={"tool_call_id": ready.call["id"]})  # what a tool returns answers its call
    return update_of(signed(ready, _cut(result)), answer_id)


def _command_update(ready: Ready, command: Command[Any], answer_id: str | None) -> Update:
    """A tool may answer with a Command if its messages contain the answer to its call."""
    update = command.update if isinstance(command.update, dict) else {}
    given = update.get("messages", [])
    messages = convert_to_messages(given if isinstance(given, list) else [given])
    if not any(_answers(message, ready.call) for message in messages):
        text = f"{ready.tool.name} changed the state without answering its call; nothing of that was kept."
        return update_of(signed(ready, error_message(ready.call, text)), answer_id)
    said = [
        _with_id(signed(ready, _cut(message)), answer_id if _answers(message, ready.call) else None)
        if isinstance(message, ToolMessage)
        else message.model_copy(update={"id": message.id or str(uuid.uuid4())})
        for message in messages
    ]
    return Command(graph=command.graph, goto=command.goto, resume=command.resume, update={**update, "messages": said})


def _answers(message: BaseMessage, call: Call) -> bool:
    return isinstance(message, ToolMessage) and message.tool_call_id == call["id"]


def answer_in(update: Any, call: Call) -> ToolMessage | None:
    """The answer to a call in what `result_update` made."""
    found = update.update if isinstance(update, Command) else update
    messages = found.get("messages", []) if isinstance(found, dict) else []
    return next((message for message in messages if _answers(message, call)), None)


def bare(ready: Ready, update: Update) -> Update:
    """The answer alone, as text: of an update that cannot be kept whole."""
    answer = answer_in(update, ready.call)
    assert answer is not None  # noqa: S101 - every update has one
    text = f"{answer.text}\n(More than this text came back, and could not be kept.)"
    return {"messages": [answer.model_copy(update={"content": text, "artifact": None})]}


def unreadable_message(ready: Ready, problem: str = "") -> ToolMessage:
    """The answer to a call whose tool ran, and returned what has no form here."""
    why = f" ({problem})" if problem else ""
    text = f"{ready.tool.name} was run. What it returned cannot be kept{why}. Do not make this call again to see it."
    return error_message(ready.call, text)


def failure_message(ready: Ready, error: BaseException) -> ToolMessage:
    """The answer to a call whose tool raised."""
    return signed(ready, error_message(ready.call, f"{ready.tool.name} failed. {said_by(error)}"))


def said_by(error: BaseException) -> str:
    """An error as the model and people read it."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot say what it is
        text = ""
    return text if isinstance(error, ToolException) else f"{type(error).__name__}: {text}".removesuffix(": ")


def doubt_message(ready: Ready, why: Why, answer_id: str, *, detail: str = "") -> ToolMessage:
    """The answer to a call of which nobody knows whether it took effect, until a person has decided.

    It stands in the thread in the place of the answer, so that no model ever sees an open call, and none a guess.
    """
    known = f"It is not known whether {ready.call['name']} took effect" if why not in _ENDED_BEFORE else "Not run"
    text = f"{known}: {_WHY[why]}.{detail and ' ' + detail} Do not make this call again; a person is asked about it."
    message = signed(ready, error_message(ready.call, text))
    kwargs = {**message.additional_kwargs, EFFECT: {"state": "in_doubt", "why": why}}
    return message.model_copy(update={"additional_kwargs": kwargs, "id": answer_id})


_ENDED_BEFORE: Final = ("arguments", "elsewhere")


def reason_of(why: Why) -> str:
    """Why somebody has to decide, as half a sentence."""
    return _WHY[why]


def signed(ready: Ready, message: ToolMessage) -> ToolMessage:
    """The tool's message with what a person decided; of an edited call, the model is told what ran."""
    if ready.approval is None:
        return message
    content = message.content
    if "args" in ready.approval:
        ran_with = json.dumps(ready.approval["args"], default=str)
        note = f"A person changed this call; it ran with the arguments {ran_with}. Result:"
        content = f"{note}\n{content}" if isinstance(content, str) else [{"type": "text", "text": note}, *content]
    kwargs = {**message.additional_kwargs, APPROVAL: ready.approval}
    return message.model_copy(update={"content": content, "additional_kwargs": kwargs})


def update_of(answer: ToolMessage, answer_id: str | None = None) -> Update:
    """What an answer does to the thread."""
    return {"messages": [_with_id(answer, answer_id)]}


def _with_id(answer: ToolMessage, answer_id: str | None) -> ToolMessage:
    # With an id from the start: LangGraph gives one only when the step is through, and until then each reader of the
    # pending result would see another.
    return answer.model_copy(update={"id": answer_id or answer.id or str(uuid.uuid4())})


def _cut(message: ToolMessage) -> ToolMessage:
    """The message, if it is not too long; else as much of its text as is kept."""
    if isinstance(message.content, str):
        length = len(message.content)
    else:
        length = sum(len(json.dumps(block, default=str)) for block in message.content)
    if length <= LONGEST:
        return message
    text = f"{message.text[:LONGEST]}\n(The result had {length:,} characters; this is what was kept of it.)"
    return message.model_copy(update={"content": text, "artifact": None})


def error_message(call: Call, text: str, approval: dict[str, Any] | None = None) -> ToolMessage:
    """An answer to a call that says what went wrong."""
    return ToolMessage(
        text,
        name=call["name"],
        tool_call_id=call["id"],
        status="error",
        additional_kwargs={} if approval is None else {APPROVAL: approval},
    )
