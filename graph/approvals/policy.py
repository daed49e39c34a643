"""Approvals: which tools need one, what a person is shown, and how their answer comes to the call.

What can be answered is in `holdfast.graph.approvals.decisions`.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, NoReturn, NotRequired, TypeAlias, overload

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp, GraphInterrupt, is_invalid_resume
from langgraph.types import Interrupt, interrupt
from pydantic import ValidationError
from typing_extensions import TypedDict

from holdfast.checkpoints import (
    Answered,
    HoldfastSaver,
    NotAnswered,
    Waiting,
    saver_of,
)
from holdfast.checkpoints.config import run_of
from holdfast.checkpoints.interrupts import answer_digest
from holdfast.checkpoints.langgraph_internals import RESUME_MAP, RESUMING
from holdfast.graph.approvals.decisions import (
    DECISIONS,
    Answer,
    Approve,
    BadAnswer,
    Decision,
    Edit,
    Reject,
    Respond,
    answer_schema,
    fitting,
    refuse,
)
from holdfast.graph.nodes.base import Step

__all__ = [
    "DECISIONS",
    "Answer",
    "AnsweredBefore",
    "Approve",
    "BadAnswer",
    "Before",
    "Decision",
    "Edit",
    "Given",
    "Policy",
    "Reject",
    "Request",
    "Respond",
    "ToolApproval",
    "ToolStep",
    "aask",
    "answer_schema",
    "approval_policy",
    "approval_request",
    "ask",
    "before",
    "needs_approval",
    "request_of",
]

# The key of a tool's metadata under which its policy is declared.
_POLICY = "needs_approval"

# Who is said to have decided where nobody did in time.
NOBODY = "nobody (it expired)"


class ToolApproval(TypedDict):
    """What a person is shown: the value of the interrupt."""

    type: Literal["tool_approval"]
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str
    expires_in: NotRequired[float]
    """For how many seconds it waits; else for ever."""


class AnsweredBefore(GraphBubbleUp, NotAnswered):
    """An answer that a run was given is not the one on record. Nothing was saved, and nothing runs.

    It bubbles up as `BadAnswer` does, and its text is that of the `NotAnswered` that it comes from.
    """

    def __init__(self, why: NotAnswered) -> None:
        self.thread_id = why.thread_id
        self.interrupt_id = why.interrupt_id
        Exception.__init__(self, str(why))


# --- what is declared beside the tool ---


@dataclass(frozen=True)
class Policy:
    """What a tool's declaration says: the decisions a person may take, and the sentence they read."""

    decisions: tuple[Decision, ...] = DECISIONS
    description: str | None = None
    expires_in: float | None = None
    """For how many seconds a call waits."""


@overload
def needs_approval(tool: BaseTool) -> BaseTool: ...
@overload
def needs_approval(
    *, decisions: Sequence[Decision] = ..., description: str | None = ..., expires_in: timedelta | None = ...
) -> Callable[[BaseTool], BaseTool]: ...
def needs_approval(
    tool: BaseTool | None = None,
    *,
    decisions: Sequence[Decision] = DECISIONS,
    description: str | None = None,
    expires_in: timedelta | None = None,
) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that every call of a tool waits for a person. Goes above `@tool`, and gives a copy.

        @needs_approval(decisions=("approve", "reject"), description="Refund order {order_id} in full")
        @tool
        def refund_order(order_id: int) -> str: ...

    Args:
        tool: the tool, where the decorator is used without arguments.
        decisions: what a person may decide; all four by default.
        description: what a person reads. `{name}` stands for the argument of that name.
        expires_in: how long a call waits. One that nobody has decided about by then is not run, and the model is told
            so. For ever by default. Without a `HoldfastSaver` nobody looks at the clock.

    Raises:
        TypeError: what is decorated is not a tool yet.
        ValueError: a decision that does not exist, or none at all; no time to decide.
    """
    if not decisions or (unknown := [d for d in decisions if d not in DECISIONS]):
        found = ", ".join(unknown) if decisions else "no decision"
        raise ValueError(f"needs_approval: found {found}; a tool needs at least one of {', '.join(DECISIONS)}")
    if expires_in is not None and expires_in <= timedelta():
        raise ValueError(f"needs_approval: found expires_in={expires_in}; a person needs some time to decide")
    # JSON types only: LangChain hands a tool's metadata to callbacks and tracers.
    policy: dict[str, Any] = {"decisions": list(dict.fromkeys(decisions)), "description": description}
    policy["expires_in"] = None if expires_in is None else expires_in.total_seconds()

    def declare(tool: BaseTool) -> BaseTool:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"needs_approval goes above @tool: found {tool!r}, needed a LangChain tool")
        return tool.model_copy(update={"metadata": {**(tool.metadata or {}), _POLICY: policy}})

    return declare if tool is None else declare(tool)


def approval_policy(tool: BaseTool) -> Policy | None:
    """What was declared beside the tool; None where its calls run unasked."""
    declared = (tool.metadata or {}).get(_POLICY)
    return None if declared is None else Policy(**{**declared, "decisions": tuple(declared["decisions"])})


# --- what a person sees, and how their answer comes ---


def approval_request(policy: Policy, call: ToolCall) -> ToolApproval:
    """What a person is shown about a call. A description whose arguments are missing falls back to the plain call."""
    plain = f"{call['name']}({', '.join(f'{key}={value!r}' for key, value in call['args'].items())})"
    try:
        description = plain if policy.description is None else policy.description.format_map(call["args"])
    except (LookupError, ValueError, AttributeError, TypeError):
        description = plain
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
class Given:
    """An answer, and where it is on record."""

    answer: Any
    """In the form of `holdfast.graph.approvals.decisions`, or of whoever asked."""
    interrupt_id: str | None
    digest: bytes | None
    """Of the decision, as the inbox has it; both are `None` where the run has no inbox."""


class ToolStep(Step):
    """The step of a tool call. It says which tools there are: an answer is checked before it is recorded."""

    def __init__(self, tools: Mapping[str, BaseTool], step: Callable[..., Any], astep: Callable[..., Any]) -> None:
        super().__init__(step, astep, name="tool")
        self.tools = tools


@dataclass(frozen=True)
class Request:
    """What a person is asked about a call."""

    shown: Mapping[str, Any]
    """What they see; the value of the interrupt."""
    schema: Any
    """The type that an answer must have."""
    tool: str
    decisions: Sequence[str]
    """The answers there are, by their `type`."""

    def refuse(self, error: ValidationError) -> NoReturn:
        """
        Raises:
            BadAnswer: always.
        """
        refuse(self.tool, self.decisions, error)


def request_of(tool: BaseTool, policy: Policy, call: ToolCall) -> Request:
    """Whether a call may run."""
    schema = answer_schema(tool, policy.decisions)
    return Request(approval_request(policy, call), schema, call["name"], policy.decisions)


def ask(question: Request) -> Given:
    """Pause until a person has answered, then give their answer, which is on record then. At most once a task: the id
    of a task's first pause would also answer a second one, which nobody has seen.

    With a `HoldfastSaver` the answer may have been recorded beforehand; then any run finds it. One that comes with the
    run is recorded here, before anything is done with it.

    Raises:
        GraphInterrupt: nobody has answered yet; LangGraph keeps the pause.
        BadAnswer: the answer does not fit; the pause stays.
        AnsweredBefore: another answer is on record, or the question is closed.
    """
    asking = _asking(question, get_config())
    try:
        work = next(asking)
        while True:
            work = asking.send(work())
    except StopIteration as end:
        given: Given = end.value
        return given


async def aask(question: Request) -> Given:
    """`ask`, without blocking the event loop."""
    config = get_config()
    asking = _asking(question, config)
    try:
        work = next(asking)
        while True:
            work = asking.send(await saver_of(config).offload(work))
    except StopIteration as end:
        given: Given = end.value
        return given


@dataclass(frozen=True)
class Before:
    """What is on record about a call that looks as if nobody had to be asked."""

    asked: bool = False
    decided: Answered | None = None


def before(config: RunnableConfig) -> Before:
    """Whether a person was asked about the call of this task before: its tool may have changed since. It blocks."""
    record = _Record.of_run(config) if config["configurable"].get(RESUMING) else None
    if record is None or not record.saver.interrupts.was_asked(record.thread_id, record.interrupt_id):
        return Before()
    decided = record.look()
    return Before(asked=record.is_about_approval(decided), decided=decided)


# Yields what blocks, and is sent what came of it; whoever drives it calls that, in this thread or in another.
_Asking: TypeAlias = Generator[Callable[[], Any], Any, Given]


def _asking(question: Request, config: RunnableConfig) -> _Asking:
    record = _Record.of_run(config)
    answer: Any = None
    try:
        answer = interrupt(question.shown, response_schema=question.schema)
    except ValidationError as error:
        if not is_invalid_resume(error):
            raise
        if record is None or record.brought:
            question.refuse(error)
        why: Exception = error
    except GraphInterrupt as pause:
        if record is None:
            raise
        why = pause
    if record is None:
        assert answer is not None  # noqa: S101 - else it has raised
        return Given(answer, None, None)
    # An answer that was saved for the task some time ago is not the last word; one that this run was given has to be.
    found: Answered | None = None if record.brought else (yield record.look)
    if found is None and answer is not None:
        found = yield partial(record.take, answer.model_dump())
    if found is None:
        if isinstance(why, ValidationError):
            question.refuse(why)
        raise why
    try:
        return Given(_on_record(found, question.schema), found.interrupt_id, found.digest)
    except ValidationError as error:  # the tool has changed since: it waits again
        yield partial(record.reopen, found)
        question.refuse(error)


def _on_record(found: Answered, schema: Any) -> Any:
    at = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds")
    if found.expired:
        # Also of a tool that cannot be refused: nobody has said yes.
        return Reject(type="reject", message=f"nobody decided within {_span(found.allowed or 0)}", by=NOBODY, at=at)
    if not isinstance(found.answer, Mapping):
        return fitting(schema, found.answer)
    said = {key: value for key, value in found.answer.items() if value is not None}
    return fitting(schema, {"by": found.by, "at": at, **said})


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and round(seconds) % size == 0:
            return f"{round(seconds) // size} {unit}"
    return f"{seconds:.0f} s"


@dataclass(frozen=True)
class _Record:
    """What is on record about the question of one task. All of it blocks."""

    saver: HoldfastSaver
    thread_id: str
    interrupt_id: str
    brought: bool
    """Whether the run was given an answer to this question."""
    run_id: str | None
    anywhere: bool
    """Whether the run was sent to an older checkpoint on purpose."""

    @classmethod
    def of_run(cls, config: RunnableConfig) -> "_Record | None":
        saver, configurable = saver_of(config), config["configurable"]
        if not isinstance(saver, HoldfastSaver):
            return None
        # A task's first pause is named after its place, so it can be known before it is made.
        id_ = Interrupt.from_ns(None, configurable["checkpoint_ns"]).id
        return cls(
            saver,
            str(configurable["thread_id"]),
            id_,
            id_ in (configurable.get(RESUME_MAP) or {}),
            run_of(config),
            bool(config.get("metadata", {}).get("checkpoint_id")),
        )

    def look(self) -> Answered | None:
        return self.saver.interrupts.recorded(self.thread_id, self.interrupt_id)

    def is_about_approval(self, decided: Answered | None) -> bool:
        """Whether the question is one of ours; a tool may ask its own."""
        if decided is not None:
            return decided.expired or (isinstance(decided.answer, Mapping) and decided.answer.get("type") in DECISIONS)
        shown = [asked.value for asked in self.saver.interrupts.waiting(thread_id=self.thread_id) if self._is(asked)]
        return any(isinstance(value, Mapping) and value.get("type") == "tool_approval" for value in shown)

    def _is(self, asked: Waiting) -> bool:
        return asked.interrupt_id == self.interrupt_id

    def take(self, answer: dict[str, Any]) -> Answered:
        """
        Raises:
            AnsweredBefore: it is not this answer that is on record now.
        """
        place = (self.thread_id, self.interrupt_id)
        try:
            found = self.saver.interrupts.settle(*place, answer, run_id=self.run_id, anywhere=self.anywhere)
        except NotAnswered as closed:
            raise AnsweredBefore(closed) from closed
        if answer_digest(found.answer) != answer_digest(answer):
            first = found.told()
            raise AnsweredBefore(first) from first
        return found

    def reopen(self, found: Answered) -> bool:
        return self.saver.interrupts.reopen(found)
