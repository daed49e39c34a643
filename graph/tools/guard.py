"""A tool call from its check to its answer: what every agent does with a call, ours and others.

The call is checked, a person is asked if the tool needs an approval, the answer is bound to this very call, and the
tool runs through the ledger if it changes the world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from holdfast.checkpoints import Answered
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.approvals.arguments import arguments_problem
from holdfast.graph.approvals.ask import (
    AnswerForms,
    EarlierRequest,
    Expired,
    RecordedAnswer,
    Request,
    RequestId,
    approval_request,
    ask_person,
    bind_to_task,
    earlier_request,
)
from holdfast.graph.approvals.decisions import Answer, Approve, Edit, Reject, Respond
from holdfast.graph.approvals.policy import ApprovalPolicy, approval_policy
from holdfast.graph.messages import APPROVAL, Call, is_in_doubt
from holdfast.graph.plans import Io
from holdfast.graph.tools.execute import Work, effect_of, refusal_message, run_call
from holdfast.graph.tools.results import Ready, Update, answer_in, error_message, update_of
from holdfast.graph.tools.settle import DoubtCase


@dataclass(frozen=True)
class _Unapproved:
    """A call that needs an approval."""

    tool: BaseTool
    policy: ApprovalPolicy
    call: ToolCall


@dataclass(frozen=True)
class CallGuard:
    """Answers the calls of an agent's tools: with a result, or with the reason why a call did not run.

    Args:
        forms: the tools, and the forms of the answers to their requests.
        clock: returns the present time.
    """

    forms: AnswerForms
    clock: Callable[[], datetime]

    async def answer(
        self, io: Io, call: Call, message_id: str, config: RunnableConfig, kept_id: str | None = None
    ) -> Update:
        """Answer a call, and return the update with the answer. A call in doubt is left for a task of its own.

        Args:
            call: the call.
            message_id: the id of the message that made it.
            config: the config of its task.
            kept_id: the id of the request about the call, if an earlier task has asked and it was kept open.

        Raises:
            GraphInterrupt: a person has to decide first.
            BadAnswer, AnsweredBefore: as `ask_person`.
            and what `run_call` raises.
        """
        own_id = None if kept_id is None else RequestId(kept_id, is_kept=True)
        approved = await self._approved(io, call, message_id, config, own_id)
        return await run_call(io, approved, message_id, config) if isinstance(approved, Ready) else approved

    async def answer_and_settle(
        self, io: Io, call: ToolCall, message_id: str, config: RunnableConfig, work: Work, *, alone: bool
    ) -> Update:
        """Answer a call as `answer` does, and if it is in doubt, ask a person about that in the same task.

        Args:
            work: calls the tool.
            alone: whether the task has this call only.
        """
        part = None if alone else f"{message_id}\0{call['id']}"
        approved = await self._approved(io, call, message_id, config, RequestId.of_part(config, part))
        if not isinstance(approved, Ready):
            return approved
        update = await run_call(io, approved, message_id, config, work)
        while (answer := answer_in(update, call)) is not None and is_in_doubt(answer):
            saver, now = running_saver(config), self.clock().astimezone(UTC).isoformat(timespec="seconds")
            effect, part = effect_of(approved, message_id, config), f"{message_id}\0{call['id']}\0doubt"
            update = await DoubtCase(approved, effect, saver, config, now, part, work).resolve(io)
        return update

    async def _approved(
        self, io: Io, call: Call, message_id: str, config: RunnableConfig, own_id: RequestId | None
    ) -> Ready | Update:
        """Check a call, and ask a person if it needs an approval. Return the update for a call that must not run."""
        prepared = _prepare(call, self.forms.tools)
        if not isinstance(prepared, _Unapproved):
            prepared = _after_request(prepared, await io.call(earlier_request, config, own_id))
        if isinstance(prepared, _Unapproved):
            tool = prepared.tool
            value = approval_request(prepared.policy, prepared.call)
            recorded = await ask_person(io, Request(value, self.forms.of(tool.name), tool.name), config, own_id)
            if own_id is not None and own_id.is_kept:
                await io.call(bind_to_task, config, own_id)
            decided = _decide(prepared, recorded, self.clock)
            if isinstance(decided, ToolMessage):
                ready = Ready(tool, prepared.call)
                return update_of(await io.call(refusal_message, ready, decided, message_id, config))
            prepared = decided
        elif own_id is not None and own_id.is_kept:  # it cannot run any more
            await io.call(bind_to_task, config, own_id)
        return update_of(prepared) if isinstance(prepared, ToolMessage) else prepared


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
    at = recorded.at.isoformat(timespec="seconds")
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
