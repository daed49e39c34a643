"""What a person can answer to a call that waits: the forms, the schema of a tool's answers, and what is wrong with one.

The wire form is LangChain's `tool_approval`: one pause a tool call, answered under its interrupt id with one of

    {"type": "approve"}
    {"type": "edit", "edited_action": {"name": ..., "args": {...}}}
    {"type": "reject", "message": "why, for the model"}            # the message may be left out
    {"type": "respond", "message": "what the model is told instead of the tool's result"}

each with, if wanted, "by" (who answered) and "at" (when, ISO 8601 with its offset from UTC).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, get_args

from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import ErrorDetails

from holdfast.checkpoints.langgraph_internals import mark_invalid_resume
from holdfast.graph.approvals.arguments import arguments_problem
from holdfast.graph.approvals.schema import edit_form, form_of, one_of

Decision: TypeAlias = Literal["approve", "edit", "reject", "respond"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


class BadAnswer(GraphBubbleUp, ValueError):
    """An answer that does not fit the pending call. Nothing was saved, and the call still waits.

    It bubbles up like a pause does, because LangGraph saves every other exception on the checkpoint as the failure of
    its task, and a slip of the hand is not a failure of the thread. `langgraph.errors.is_invalid_resume` is true of it.
    """


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


def answer_schema(tool: BaseTool, decisions: Sequence[Decision]) -> Any:
    """The type that an answer for this tool must have: the decisions allowed, and an edit that fits the tool."""
    kinds: dict[Decision, type[BaseModel]] = {
        "approve": Approve,
        "edit": _edit_of(tool),
        "reject": Reject,
        "respond": Respond,
    }
    allowed = [kinds[decision] for decision in decisions]
    forms = [edit_form(Edit, tool) if decision == "edit" else form_of(kinds[decision]) for decision in decisions]
    shown = WithJsonSchema(one_of(*forms))
    if len(allowed) == 1:
        return Annotated[allowed[0], shown]
    union: Any = allowed[0]
    for kind in allowed[1:]:
        union = union | kind
    # By its `type`, so that a bad answer gets the one complaint that concerns it and not one for each decision.
    return Annotated[union, Discriminator("type"), shown]


def _edit_of(tool: BaseTool) -> type[Edit]:
    def fits(args: dict[str, Any]) -> dict[str, Any]:
        if problem := arguments_problem(tool, args):
            raise ValueError(problem)
        return args  # as sent: the tool reads them itself, once

    args_type = Annotated[dict[str, Any], AfterValidator(fits)]
    # The name is pinned: an edit changes arguments, not the tool that a person was asked about.
    name_type: Any = Literal[tool.name]
    action = create_model("Action", __base__=Action, name=(name_type, ...), args=(args_type, ...))
    return create_model("Edit", __base__=Edit, edited_action=(action, ...))


def fitting(schema: Any, answer: Any) -> Any:
    """An answer as it was given, as one of these.

    Raises:
        ValidationError: it does not fit the schema of its tool's answers.
    """
    if isinstance(answer, Mapping):
        answer = {key: value for key, value in answer.items() if value is not None}
    return TypeAdapter(schema).validate_python(answer)


def refuse(name: str, decisions: Sequence[str], error: ValidationError) -> NoReturn:
    """Say of an answer to a waiting call of the tool `name` what is wrong with it.

    Raises:
        BadAnswer: always.
    """
    problems = "; ".join(_complaint(detail, decisions) for detail in error.errors())
    refusal = BadAnswer(
        f"This answer does not fit the waiting call of {name}: {problems}. "
        f"It can be answered with {_either(decisions)}. Nothing was saved, and the call still waits."
    )
    # LangGraph marks the error of a bad answer with an attribute: so is the error that people read.
    mark_invalid_resume(refusal)
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
