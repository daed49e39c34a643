"""Approvals: which tools need one, what a person is shown, and what they can answer.

The wire form is LangChain's `tool_approval`: one pause a tool call, answered under its interrupt id with one of

    {"type": "approve"}
    {"type": "edit", "edited_action": {"name": ..., "args": {...}}}
    {"type": "reject", "message": "why, for the model"}            # the message may be left out
    {"type": "respond", "message": "what the model is told instead of the tool's result"}

each with, if wanted, "by" (who answered) and "at" (when, ISO 8601 with its offset from UTC).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, get_args, overload

from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from langgraph.types import interrupt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from graph.arguments import arguments_problem, arguments_schema

Decision: TypeAlias = Literal["approve", "edit", "reject", "respond"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)

# The key of a tool's metadata under which its policy is declared.
_POLICY = "needs_approval"


class ToolApproval(TypedDict):
    """What a person is shown: the value of the interrupt."""

    type: Literal["tool_approval"]
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str


class BadAnswer(GraphBubbleUp, ValueError):
    """An answer that does not fit the pending call. Nothing was saved, and the call still waits.

    It bubbles up like a pause does, because LangGraph saves every other exception on the checkpoint as the failure of
    its task, and a slip of the hand is not a failure of the thread. `langgraph.errors.is_invalid_resume` is true of it.
    """


# --- what is declared beside the tool ---


@dataclass(frozen=True)
class Policy:
    """What a tool's declaration says: the decisions a person may take, and the sentence they read."""

    decisions: tuple[Decision, ...] = DECISIONS
    description: str | None = None


@overload
def needs_approval(tool: BaseTool) -> BaseTool: ...
@overload
def needs_approval(
    *, decisions: Sequence[Decision] = ..., description: str | None = ...
) -> Callable[[BaseTool], BaseTool]: ...
def needs_approval(
    tool: BaseTool | None = None,
    *,
    decisions: Sequence[Decision] = DECISIONS,
    description: str | None = None,
) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Declare that every call of a tool waits for a person. Goes above `@tool`, and gives a copy.

        @needs_approval(decisions=("approve", "reject"), description="Refund order {order_id} in full")
        @tool
        def refund_order(order_id: int) -> str: ...

    Args:
        tool: the tool, where the decorator is used without arguments.
        decisions: what a person may decide; all four by default.
        description: what a person reads. `{name}` stands for the argument of that name.

    Raises:
        TypeError: what is decorated is not a tool yet.
        ValueError: a decision that does not exist, or none at all.
    """
    if not decisions or (unknown := [d for d in decisions if d not in DECISIONS]):
        found = ", ".join(unknown) if decisions else "no decision"
        raise ValueError(f"needs_approval: found {found}; a tool needs at least one of {', '.join(DECISIONS)}")
    # JSON types only: LangChain hands a tool's metadata to callbacks and tracers.
    policy = {"decisions": list(dict.fromkeys(decisions)), "description": description}

    def declare(tool: BaseTool) -> BaseTool:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"needs_approval goes above @tool: found {tool!r}, needed a LangChain tool")
        return tool.model_copy(update={"metadata": {**(tool.metadata or {}), _POLICY: policy}})

    return declare if tool is None else declare(tool)


def approval_policy(tool: BaseTool) -> Policy | None:
    """What was declared beside the tool; None where its calls run unasked."""
    declared = (tool.metadata or {}).get(_POLICY)
    return None if declared is None else Policy(tuple(declared["decisions"]), declared["description"])


# --- what a person sees and answers ---


def _utc(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # without an offset, so it meets the same refusal
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} is not a time in ISO 8601 with its offset, such as 2026-11-20T09:30:00+00:00")
    return moment.astimezone(UTC).isoformat()


class Person(BaseModel):
    """What every answer of a person can say."""

    # A misspelt key is an error: `{"type": "approve", "args": {...}}` is somebody who believes that they edited.
    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(None, description="who answered")
    at: Annotated[str, AfterValidator(_utc), WithJsonSchema({"type": "string", "format": "date-time"})] | None = Field(
        None, description="when they answered"
    )


class Approve(Person):
    """Run the call as it is."""

    type: Literal["approve"]


class Reject(Person):
    """Do not run the call, and tell the model so."""

    type: Literal["reject"]
    message: str | None = Field(None, description="why, for the model")


class Respond(Person):
    """Do not run the call; the message takes the place of its result."""

    type: Literal["respond"]
    message: str = Field(description="what the model reads as the result")


class Action(BaseModel):
    """A call as a person wants it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    args: dict[str, Any]


class Edit(Person):
    """Run the call with other arguments."""

    type: Literal["edit"]
    edited_action: Action


Answer: TypeAlias = Approve | Edit | Reject | Respond


@dataclass(frozen=True)
class Given:
    """An answer, and where it is on record; nowhere, if the run has no checkpointer of ours."""

    answer: Answer
    interrupt_id: str | None = None
    digest: bytes | None = None


def answer_schema(tool: BaseTool, policy: Policy) -> Any:
    """The type that an answer for this tool must have: the decisions allowed, and an edit that fits the tool."""
    kinds: dict[Decision, type[BaseModel]] = {
        "approve": Approve,
        "edit": _edit_of(tool),
        "reject": Reject,
        "respond": Respond,
    }
    allowed = [kinds[decision] for decision in policy.decisions]
    if len(allowed) == 1:
        return allowed[0]
    union: Any = allowed[0]
    for kind in allowed[1:]:
        union = union | kind
    # By its `type`, so that a bad answer gets the one complaint that concerns it and not one for each decision.
    return Annotated[union, Discriminator("type")]


def _edit_of(tool: BaseTool) -> type[Edit]:
    def fits(args: dict[str, Any]) -> dict[str, Any]:
        if problem := arguments_problem(tool, args):
            raise ValueError(problem)
        return args  # as sent: the tool reads them itself, once

    args_type = Annotated[dict[str, Any], AfterValidator(fits), WithJsonSchema(arguments_schema(tool))]
    # The name is pinned: an edit changes arguments, not the tool that a person was asked about.
    name_type: Any = Literal[tool.name]
    action = create_model("Action", __base__=Action, name=(name_type, ...), args=(args_type, ...))
    return create_model("Edit", __base__=Edit, edited_action=(action, ...))


def approval_request(policy: Policy, call: ToolCall) -> ToolApproval:
    """What a person is shown about a call. A description whose arguments are missing falls back to the plain call."""
    plain = f"{call['name']}({', '.join(f'{key}={value!r}' for key, value in call['args'].items())})"
    try:
        description = plain if policy.description is None else policy.description.format_map(call["args"])
    except (LookupError, ValueError, AttributeError, TypeError):
        description = plain
    return ToolApproval(
        type="tool_approval",
        tool_call_id=call["id"] or "",
        name=call["name"],
        args=call["args"],
        description=description,
    )


def ask(tool: BaseTool, policy: Policy, call: ToolCall) -> Given:
    """Pause until a person has answered about a call, then give their answer; see `ask_about`."""
    return ask_about(approval_request(policy, call), answer_schema(tool, policy), policy.decisions)


def ask_about(question: ToolApproval | Any, schema: Any, decisions: Sequence[str]) -> Given:
    """Pause with a question about a call until a person has answered it, then give their answer. At most once a task:
    the id of a task's first pause would also answer a second one, which nobody has seen.

    Args:
        question: what the person is shown.
        schema: the type that an answer must have.
        decisions: the answers there are, by their `type`.

    Raises:
        GraphInterrupt: nobody has answered yet; LangGraph keeps the pause.
        BadAnswer: the answer does not fit; the pause stays.
    """
    try:
        return Given(interrupt(question, response_schema=schema))
    except ValidationError as error:
        if not is_invalid_resume(error):
            raise
        _refuse(question["name"], decisions, error)


def _refuse(name: str, decisions: Sequence[str], error: ValidationError) -> NoReturn:
    problems = "; ".join(_complaint(detail, decisions) for detail in error.errors())
    refusal = BadAnswer(
        f"This answer does not fit the waiting call of {name}: {problems}. "
        f"It can be answered with {_either(decisions)}. Nothing was saved, and the call still waits."
    )
    # LangGraph marks the error of a bad answer with an attribute: the mark goes over to the error that people read.
    vars(refusal).update(vars(error))
    raise refusal from None


def _complaint(detail: ErrorDetails, decisions: Sequence[str]) -> str:
    # Behind a union's tag, which comes first in the place of an error, stands where in the answer it is.
    loc = detail["loc"][1:] if detail["loc"][:1] and detail["loc"][0] in decisions else detail["loc"]
    where, found = ".".join(map(str, loc)), detail["input"]
    if detail["type"] == "union_tag_invalid":
        where, found = "type", found["type"]
    message = detail["msg"].removeprefix("Value error, ")
    said = {
        "union_tag_not_found": 'it has no "type"',
        "missing": f'it has no "{where}"',
        "extra_forbidden": f'it has a "{where}", which means nothing there',
        "literal_error": f'its "{where}" is {found!r}',
        "union_tag_invalid": f'its "{where}" is {found!r}',
        "model_type": f'"{where}" is {found!r}, not an object' if where else f"it is {found!r}, not an object",
        "model_attributes_type": f"it is {found!r}, not an object",
    }
    return said.get(detail["type"], f'"{where}": {message}' if where else message)


def _either(decisions: Sequence[str]) -> str:
    return " or ".join(f'{{"type": "{decision}"}}' for decision in decisions)
