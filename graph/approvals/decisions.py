"""The answers that a person can give to a request, their validation, and the error for one that does not fit.

The wire form is LangChain's `tool_approval`: one pause for each tool call, answered under its interrupt id with one of

    {"type": "approve"}
    {"type": "edit", "edited_action": {"name": ..., "args": {...}}}
    {"type": "reject", "message": "why, for the model"}            # the message may be left out
    {"type": "respond", "message": "what the model is told instead of the tool's result"}

each with the optional "by" (who answered) and "at" (when, ISO 8601 with its offset from UTC).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args

from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import ErrorDetails

from holdfast.checkpoints.langgraph_internals.graphs import mark_invalid_resume
from holdfast.graph.approvals.arguments import arguments_problem
from holdfast.graph.approvals.schema import edit_schema, model_schema, union_schema
from holdfast.graph.words import unlike

Decision: TypeAlias = Literal["approve", "edit", "reject", "respond"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


class BadAnswer(GraphBubbleUp, ValueError):
    """An answer that does not fit the pending call. Nothing was saved, and the call still waits.

    It bubbles up as a pause does, because LangGraph saves any other exception on the checkpoint as the failure of the
    task, and a mistyped answer is no failure of the thread. `langgraph.errors.is_invalid_resume` is true of it.
    """

    problem: str | None = None
    """What does not fit, for a person who has just typed it; `None` if the message is all there is."""


def _as_utc(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # without an offset, so it is refused below
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} is not a time in ISO 8601 with its offset, such as 2026-11-20T09:30:00+00:00")
    return moment.astimezone(UTC).isoformat()


class PersonAnswer(BaseModel):
    """The part that all answers have in common."""

    # An unknown key is an error: the author of `{"type": "approve", "args": {...}}` believes that this edits the call.
    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(None, description="who answered")
    at: Annotated[str, AfterValidator(_as_utc), WithJsonSchema({"type": "string", "format": "date-time"})] | None = (
        Field(None, description="when they answered")
    )


# Clients see the docstrings and descriptions of the models below, in the JSON schema of an answer.


class Approve(PersonAnswer):
    """Run the call as it is."""

    type: Literal["approve"]


class Reject(PersonAnswer):
    """Do not run the call, and tell the model so."""

    type: Literal["reject"]
    message: str | None = Field(None, description="why, for the model")


class Respond(PersonAnswer):
    """Do not run the call; the message takes the place of its result."""

    type: Literal["respond"]
    message: str = Field(description="what the model reads as the result")


class Action(BaseModel):
    """A call as a person wants it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    args: dict[str, Any]


class Edit(PersonAnswer):
    """Run the call with other arguments."""

    type: Literal["edit"]
    edited_action: Action


Answer: TypeAlias = Approve | Edit | Reject | Respond


class AnswerForm:
    """The form of the answers to a request. Building one takes milliseconds, so it is built once and kept.

    Args:
        answer_type: the type of the answers.
        json_schema: its JSON schema, without references.
        decisions: the values that the `type` of an answer can have.
    """

    def __init__(self, answer_type: Any, json_schema: Mapping[str, Any], decisions: Sequence[str]) -> None:
        class Answers(RootModel[answer_type]):
            @classmethod
            def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
                return dict(json_schema)

        self.model: type[RootModel[Any]] = Answers
        """For LangGraph: a class whose validator exists already, where a plain type would be compiled at each pause."""
        self.json_schema = json_schema
        self.decisions = decisions

    def validate(self, answer: Any) -> Any:
        """Return the answer as an object of its type.

        Raises:
            ValidationError: it does not fit.
        """
        if isinstance(answer, Mapping):
            answer = {key: value for key, value in answer.items() if value is not None}
        return self.model.model_validate(answer).root

    def refusal(self, name: str, error: ValidationError) -> BadAnswer:
        """Return the error that says why an answer to a call of the tool `name` does not fit."""
        problems = "; ".join(_complaint(detail, self.decisions) for detail in error.errors())
        options = " or ".join(f'{{"type": "{decision}"}}' for decision in self.decisions)
        refusal = BadAnswer(
            f"This answer does not fit the waiting call of {name}: {problems}. "
            f"It can be answered with {options}. Nothing was saved, and the call still waits."
        )
        refusal.problem = problems
        # LangGraph marks its error for a bad answer with an attribute. This error takes its place.
        mark_invalid_resume(refusal)
        return refusal


def answer_form(tool: BaseTool, decisions: Sequence[Decision]) -> AnswerForm:
    """Build the form of the answers to the calls of a tool: the decisions allowed, and edits that fit the tool."""
    kinds: dict[Decision, type[BaseModel]] = {
        "approve": Approve,
        "edit": _edit_model(tool),
        "reject": Reject,
        "respond": Respond,
    }
    allowed = [kinds[decision] for decision in decisions]
    schemas = [
        edit_schema(Edit, tool) if decision == "edit" else model_schema(kinds[decision]) for decision in decisions
    ]
    return AnswerForm(_union(allowed), union_schema(*schemas), decisions)


def _union(kinds: Sequence[type[BaseModel]]) -> Any:
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    # Told apart by `type`, so that a bad answer gets the complaint of its own kind and not one for each kind.
    return union if len(kinds) == 1 else Annotated[union, Discriminator("type")]


def _edit_model(tool: BaseTool) -> type[Edit]:
    def fits(args: dict[str, Any]) -> dict[str, Any]:
        if problem := arguments_problem(tool, args):
            raise ValueError(problem)
        return args  # as sent: the tool converts them itself when it runs

    args_type = Annotated[dict[str, Any], AfterValidator(fits)]
    # The name is fixed: an edit changes the arguments, not the tool that the person was asked about.
    name_type: Any = Literal[tool.name]
    action = create_model("Action", __base__=Action, name=(name_type, ...), args=(args_type, ...))
    return create_model("Edit", __base__=Edit, edited_action=(action, ...))


MISSING_TOOL_FORM = AnswerForm(_union(get_args(Answer)), union_schema(*map(model_schema, get_args(Answer))), DECISIONS)
"""For a call whose tool the agent does not have (any more), so that nothing is known of its arguments."""


def _complaint(detail: ErrorDetails, decisions: Sequence[str]) -> str:
    # The location of an error in a union begins with the tag of the kind; the rest is the place in the answer.
    loc = detail["loc"][1:] if detail["loc"][:1] and detail["loc"][0] in decisions else detail["loc"]
    where, value = ".".join(map(str, loc)), detail["input"]
    if detail["type"] == "union_tag_invalid":
        where, value = "type", value["type"]
    message = detail["msg"].removeprefix("Value error, ")
    complaints = {
        "union_tag_not_found": 'it has no "type"',
        "missing": f'it has no "{where}"',
        "extra_forbidden": f'it has a "{where}", which means nothing there',
        "literal_error": f'its "{where}" is {value!r}',
        "union_tag_invalid": f'its "{where}" is {value!r}',
        "model_type": f'"{where}" is {value!r}, not an object' if where else f"it is {value!r}, not an object",
        "model_attributes_type": f"it is {value!r}, not an object",
    }
    if detail["type"] in complaints:
        return complaints[detail["type"]]
    if where and (words := unlike(detail)):
        return f'its "{where}" {words}'
    # What is wrong with edited arguments says itself which one is meant.
    return f'"{where}": {message}' if where and where != "edited_action.args" else message
