"""The request to a person about a tool call: how it is made, and how the answer comes back to the call.

With a `HoldfastSaver` an answer is recorded before anything is done with it, and the first one counts. It may be
recorded before a run carries it out; then any run finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, NotRequired

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp, GraphInterrupt, is_invalid_resume
from langgraph.types import Interrupt, interrupt
from pydantic import ValidationError
from typing_extensions import TypedDict

from holdfast.checkpoints import Answered, HoldfastSaver
from holdfast.checkpoints.errors import NotAnswered
from holdfast.checkpoints.interrupts.pending import plain_call
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, NS_END, NS_SEP, RESUME_MAP, RESUMING
from holdfast.checkpoints.langgraph_internals.graphs import mark_invalid_resume
from holdfast.checkpoints.runtime import run_of, running_saver
from holdfast.graph.approvals.decisions import DECISIONS, MISSING_TOOL_FORM, AnswerForm, BadAnswer, answer_form
from holdfast.graph.approvals.policy import ApprovalPolicy, approval_policy
from holdfast.graph.plans import Io


class AnsweredBefore(GraphBubbleUp, NotAnswered):
    """The answer that a run was given is not the one on record. Nothing was saved, and nothing runs.

    It bubbles up as `BadAnswer` does, and has the text of the `NotAnswered` that caused it.
    """

    def __init__(self, cause: NotAnswered) -> None:
        self.thread_id = cause.thread_id
        self.interrupt_id = cause.interrupt_id
        Exception.__init__(self, str(cause))


class ToolApproval(TypedDict):
    """The value of the interrupt of a call that needs an approval: what clients show to a person."""

    type: Literal["tool_approval"]
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str
    expires_in: NotRequired[float]
    """For how many seconds the call waits; for ever if left out."""


@dataclass(frozen=True)
class Request:
    """A request to a person about a tool call."""

    value: Mapping[str, Any]
    """The value of the interrupt."""
    form: AnswerForm
    tool: str


@dataclass(frozen=True)
class Expired:
    """The place of an answer that was not given in time."""

    seconds: float
    """How long the call has waited."""
    at: str
    """ISO 8601, UTC."""
    type: Literal["expired"] = "expired"
    by: None = None


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer to a request, and where it is on record."""

    answer: Any
    """In the type of the request's form, or `Expired`."""
    interrupt_id: str | None
    digest: bytes | None
    """The digest of the decision. Both are `None` on a checkpointer that does not record answers."""


class AnswerForms:
    """The forms of the answers to the calls of an agent's tools. Each is built when it is first needed."""

    def __init__(self, tools: Mapping[str, BaseTool]) -> None:
        self.tools = tools
        self._built: dict[str, AnswerForm] = {}
        self._building = Lock()  # tasks run at the same time

    def of(self, name: str) -> AnswerForm:
        """Return the form for the tool of this name.

        All decisions are open for a tool that needs no approval (any more), since one of its calls may still wait.
        """
        tool = self.tools.get(name)
        if tool is None:
            return MISSING_TOOL_FORM
        with self._building:
            if name not in self._built:
                self._built[name] = answer_form(tool, (approval_policy(tool) or ApprovalPolicy()).decisions)
            return self._built[name]


def approval_request(policy: ApprovalPolicy, call: ToolCall) -> ToolApproval:
    """Build the value of the interrupt for a call.

    The description is the policy's, or the plain call if the policy has none or it names a missing argument.
    """
    description = plain_call(call["name"], call["args"])
    if policy.description is not None:
        with suppress(LookupError, ValueError, AttributeError, TypeError):
            description = policy.description.format_map(call["args"])
    request = ToolApproval(
        type="tool_approval",
        tool_call_id=call["id"] or "",
        name=call["name"],
        args=call["args"],
        description=description,
    )
    if policy.expires_in is not None:
        request["expires_in"] = policy.expires_in
    return request


@dataclass(frozen=True)
class RequestId:
    """The id of a request, where it is not the one that LangGraph gives the first pause of a task.

    It answers nothing else. It needs a `HoldfastSaver`, which keeps the answer, and an answer that names it.
    """

    interrupt_id: str
    is_kept: bool = False
    """Whether an earlier task has asked, and the request was kept open since."""

    @classmethod
    def of_part(cls, config: RunnableConfig, part: str | None) -> RequestId | None:
        """Return the id for a part of a task that asks more than once; `None` for the whole task."""
        return None if part is None else cls(interrupt_id_of(config, part))


async def ask_person(
    io: Io, request: Request, config: RunnableConfig, own_id: RequestId | None = None
) -> RecordedAnswer:
    """Pause until a person has answered, then return the answer, which is on record by then.

    With LangGraph's own id, a task may do this once: the id of its first pause would also answer a second one, which no
    person has seen.

    Args:
        request: the request.
        config: the config of the task.
        own_id: the id of the request; by default LangGraph's own.

    Raises:
        GraphInterrupt: there is no answer yet. LangGraph keeps the pause.
        BadAnswer: the answer does not fit. The pause stays.
        AnsweredBefore: another answer is on record, or the request is closed.
    """
    record = _RequestRecord.of_run(config, own_id)
    answer: Any = None
    try:
        if record is None or own_id is None:
            answer = interrupt(request.value, response_schema=request.form.model).root
        else:
            answer = record.given_to(request)
    except ValidationError as error:
        if not is_invalid_resume(error):
            raise
        if record is None or record.run_has_answer:
            raise await _refusal(io, request, record, error) from None
        problem: Exception = error
    except GraphInterrupt as pause:
        if record is None:
            raise
        problem = pause
    if record is None:
        return RecordedAnswer(answer, None, None)
    # An answer that LangGraph saved for the task in an earlier run may be outdated; one that came with this run is not.
    recorded: Answered | None = None if record.run_has_answer else await io.call(record.read)
    if recorded is None and answer is not None:
        recorded = await io.call(record.add, answer.model_dump())
    if recorded is None:
        if isinstance(problem, ValidationError):
            raise request.form.refusal(request.tool, problem) from None
        raise problem
    try:
        return RecordedAnswer(
            _answer_on_record(recorded, request.form), recorded.interrupt_id, bytes.fromhex(recorded.digest)
        )
    except ValidationError as error:
        # The tool has changed since the answer was recorded: the request is open again.
        await io.call(record.reopen, recorded)
        raise request.form.refusal(request.tool, error) from None


async def _refusal(io: Io, request: Request, record: _RequestRecord | None, error: ValidationError) -> BadAnswer:
    """Return the error for the answer that a run was given, after which the request waits."""
    if record is not None:
        await io.call(record.reopen_given)
    return request.form.refusal(request.tool, error)


def _answer_on_record(recorded: Answered, form: AnswerForm) -> Any:
    at = recorded.at.isoformat(timespec="seconds")
    if recorded.expired:
        # Not by the form: "reject" may be no decision of the tool, but the call must not run without an approval.
        return Expired(recorded.allowed or 0, at)
    if not isinstance(recorded.answer, Mapping):
        return form.validate(recorded.answer)
    given = {key: value for key, value in recorded.answer.items() if value is not None}
    return form.validate({"by": recorded.by, "at": at, **given})


@dataclass(frozen=True)
class EarlierRequest:
    """The record of a call whose tool needs no approval now. The tool may have changed since the call was made."""

    made: bool = False
    """Whether a person was asked to approve the call."""
    answer: Answered | None = None


def earlier_request(config: RunnableConfig, own_id: RequestId | None = None) -> EarlierRequest:
    """Look up whether a person was asked before to approve the call of this task, or of a part of it. It blocks."""
    is_kept = own_id is not None and own_id.is_kept
    record = _RequestRecord.of_run(config, own_id) if is_kept or config["configurable"].get(RESUMING) else None
    if is_kept:
        return EarlierRequest(made=True, answer=None if record is None else record.read())
    if record is None or not record.saver.interrupts.was_asked(record.thread_id, record.interrupt_id):
        return EarlierRequest()
    recorded = record.read()
    return EarlierRequest(record.is_approval(recorded), recorded)


def bind_to_task(config: RunnableConfig, kept: RequestId) -> None:
    """Bind a request that was kept open to this task, which carries its answer out. It blocks."""
    record, configurable = _RequestRecord.of_run(config, kept), config["configurable"]
    if record is not None:
        task_id = configurable["checkpoint_ns"].partition(NS_SEP)[0].rpartition(NS_END)[2]
        record.saver.interrupts.move(record.thread_id, kept.interrupt_id, configurable[CHECKPOINT_MAP][""], task_id)


def interrupt_id_of(config: RunnableConfig, part: str | None = None) -> str:
    """Return the id of the request that a task, or a part of it, makes."""
    # The id of a task's first pause derives from the task's namespace, so it is known before the pause is made.
    ns = config["configurable"]["checkpoint_ns"]
    return Interrupt.from_ns(None, ns if part is None else f"{ns}\0{part}").id


@dataclass(frozen=True)
class _RequestRecord:
    """The record of a task's request. Its methods block."""

    saver: HoldfastSaver
    thread_id: str
    interrupt_id: str
    given: Mapping[str, Any]
    """The answers that the run was given, by interrupt id."""
    run_id: str | None
    at_older_checkpoint: bool
    """Whether the run was sent to an older checkpoint on purpose."""

    @classmethod
    def of_run(cls, config: RunnableConfig, own_id: RequestId | None = None) -> _RequestRecord | None:
        saver, configurable = running_saver(config), config["configurable"]
        if not isinstance(saver, HoldfastSaver):
            return None
        return cls(
            saver,
            str(configurable["thread_id"]),
            interrupt_id_of(config) if own_id is None else own_id.interrupt_id,
            configurable.get(RESUME_MAP) or {},
            run_of(config),
            bool(config.get("metadata", {}).get("checkpoint_id")),
        )

    @property
    def run_has_answer(self) -> bool:
        """Whether the run was given an answer to this request."""
        return self.interrupt_id in self.given

    def given_to(self, request: Request) -> Any:
        """Return the answer that the run was given, as `interrupt` does for a pause with LangGraph's own id.

        Raises:
            GraphInterrupt: there is none. LangGraph keeps the pause.
            ValidationError: it does not fit.
        """
        if not self.run_has_answer:
            schema = dict(request.form.json_schema)
            raise GraphInterrupt((Interrupt(request.value, self.interrupt_id, response_schema=schema),))
        try:
            return request.form.model.model_validate(self.given[self.interrupt_id]).root
        except ValidationError as error:
            mark_invalid_resume(error)
            raise

    def read(self) -> Answered | None:
        return self.saver.interrupts.recorded(self.thread_id, self.interrupt_id)

    def is_approval(self, recorded: Answered | None) -> bool:
        """Return whether the request is one of this module; a tool may make requests of its own."""
        if recorded is not None:
            answer = recorded.answer
            return recorded.expired or (isinstance(answer, Mapping) and answer.get("type") in DECISIONS)
        return any(
            waiting.interrupt_id == self.interrupt_id
            and isinstance(waiting.value, Mapping)
            and waiting.value.get("type") == "tool_approval"
            for waiting in self.saver.interrupts.waiting(thread_id=self.thread_id)
        )

    def add(self, answer: dict[str, Any]) -> Answered:
        """Record the answer.

        Raises:
            AnsweredBefore: another answer is on record, or the request is closed.
        """
        try:
            recorded = self.saver.interrupts.settle(
                self.thread_id, self.interrupt_id, answer, run_id=self.run_id, anywhere=self.at_older_checkpoint
            )
        except NotAnswered as closed:
            raise AnsweredBefore(closed) from closed
        if not self.saver.interrupts.is_recorded(recorded, answer):
            first = recorded.told()
            raise AnsweredBefore(first) from first
        return recorded

    def reopen_given(self) -> None:
        """Open the request again if the answer that the run was given is the one on record.

        The tool has changed since it was recorded. An answer that is not on record leaves no trace.
        """
        recorded = self.read()
        given = self.given[self.interrupt_id]
        if recorded is not None and self.saver.interrupts.is_recorded(recorded, given):
            self.reopen(recorded)

    def reopen(self, recorded: Answered) -> bool:
        return self.saver.interrupts.reopen(recorded)
