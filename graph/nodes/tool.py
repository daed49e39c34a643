"""The step of one tool call: check the call, ask a person if the tool needs an approval, run the tool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from typing_extensions import TypedDict

from holdfast.checkpoints import Answered
from holdfast.graph.approvals.arguments import arguments_problem
from holdfast.graph.approvals.ask import (
    AnswerForms,
    EarlierRequest,
    Expired,
    RecordedAnswer,
    Request,
    approval_request,
    ask_person,
    earlier_request,
)
from holdfast.graph.approvals.decisions import Answer, Approve, Edit, Reject, Respond
from holdfast.graph.approvals.policy import ApprovalPolicy, approval_policy
from holdfast.graph.messages import APPROVAL, Call
from holdfast.graph.nodes.base import TOOL, Step
from holdfast.graph.plans import Io
from holdfast.graph.tools.execute import refusal_message, run_call
from holdfast.graph.tools.results import Ready, Update, error_message, update_of


class ToolTask(TypedDict):
    """The input of a tool task: a call, and the id of the message that made it."""

    call: Call
    message_id: str


@dataclass(frozen=True)
class _Unapproved:
    """A call that needs an approval."""

    tool: BaseTool
    policy: ApprovalPolicy
    call: ToolCall


class ToolStep(Step):
    """Answer one call: with its result, or with the reason why it did not run. Or pause for a person."""

    def __init__(self, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> None:
        super().__init__(self._answer_call, name=TOOL)
        self.forms = AnswerForms(tools)
        """A conversation checks an answer by these before it is recorded."""
        self._clock = clock

    async def _answer_call(self, io: Io, task: ToolTask, config: RunnableConfig) -> Update:
        message_id = task["message_id"]
        prepared = _prepare(task["call"], self.forms.tools)
        if not isinstance(prepared, _Unapproved):
            prepared = _after_request(prepared, await io.call(earlier_request, config))
        if isinstance(prepared, _Unapproved):
            tool, call = prepared.tool, prepared.call
            value = approval_request(prepared.policy, call)
            recorded = await ask_person(io, Request(value, self.forms.of(tool.name), tool.name), config)
            decided = _decide(prepared, recorded, self._clock)
            if isinstance(decided, ToolMessage):
                return update_of(await io.call(refusal_message, Ready(tool, call), decided, message_id, config))
            prepared = decided
        if isinstance(prepared, ToolMessage):
            return update_of(prepared)
        return await run_call(io, prepared, message_id, config)


def _prepare(call: Call, tools: Mapping[str, BaseTool]) -> Ready | _Unapproved | ToolMessage:
    """Check a call. Return the answer of a call that cannot run."""
    if call["type"] == "invalid_tool_call":
        reason = f" ({call['error'].strip()})" if call["error"] else ""
        return error_message(call, f"Not run: the arguments are not valid JSON{reason}. Write the call again.")
    tool = tools.get(call["name"])
    if tool is None:
        known = f"The tools are: {', '.join(tools)}." if tools else "There are no tools."
        return error_message(call, f"Not run: there is no tool '{call['name']}'. {known}")
    # Checked before the request, so that no person has to read a call that cannot run.
    if problem := arguments_problem(tool, call["args"]):
        return error_message(call, f"Not run: the arguments do not fit {tool.name}: {problem}.")
    policy = approval_policy(tool)
    return Ready(tool, call) if policy is None else _Unapproved(tool, policy, call)


def _after_request(prepared: Ready | ToolMessage, earlier: EarlierRequest) -> Ready | _Unapproved | ToolMessage:
    """Take an earlier request into account. If there is one, the tool has changed since, or is gone."""
    if isinstance(prepared, ToolMessage):
        return _not_carried_out(prepared, earlier.answer)
    # A request that was made is answered before the call runs, and a refusal stays one.
    return _Unapproved(prepared.tool, ApprovalPolicy(), prepared.call) if earlier.made else prepared


def _not_carried_out(message: ToolMessage, recorded: Answered | None) -> ToolMessage:
    """Add to the answer of a call that cannot run the decision that a person took when it still could."""
    if recorded is None or recorded.expired or not isinstance(recorded.answer, Mapping):
        return message
    decision = recorded.answer.get("type")
    at = datetime.fromtimestamp(recorded.at, UTC).isoformat(timespec="seconds")
    text = f"{message.text} {recorded.by or 'A person'} had decided about it ({decision}); that was not carried out."
    approval = {"decision": decision, "by": recorded.by, "at": at}
    return message.model_copy(update={"content": text, "additional_kwargs": {APPROVAL: approval}})


def _decide(unapproved: _Unapproved, recorded: RecordedAnswer, clock: Callable[[], datetime]) -> Ready | ToolMessage:
    tool, call = unapproved.tool, unapproved.call
    answer: Answer | Expired = recorded.answer
    at = answer.at or clock().astimezone(UTC).isoformat(timespec="seconds")
    approval: dict[str, Any] = {"decision": answer.type, "by": answer.by, "at": at}
    match answer:
        case Approve():
            return Ready(tool, call, approval, recorded)
        case Edit():
            args = answer.edited_action.args
            return Ready(tool, ToolCall(**{**call, "args": args}), {**approval, "args": args}, recorded)
        case Expired():
            text = (
                f"Not run: no decision was made within {_span(answer.seconds)}. "
                "Do not make this call again unless the user asks for it."
            )
            return error_message(call, text, approval)
        case Reject():
            reason = f"The reason given: {answer.message}" if answer.message else "No reason was given."
            text = f"Not run: a person refused this call. {reason} Do not make it again unless the user asks for it."
            return error_message(call, text, approval)
        case Respond():
            return ToolMessage(
                answer.message, name=call["name"], tool_call_id=call["id"], additional_kwargs={APPROVAL: approval}
            )


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and round(seconds) % size == 0:
            return f"{round(seconds) // size} {unit}"
    return f"{seconds:.0f} s"
