"""The requests of a thread, in one form for all agents, and the answers to them. Pure, no I/O."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from langchain_core.messages import ToolCall
from langgraph.types import StateSnapshot

from holdfast.checkpoints.interrupts.forms import Action, actions_of, answer_of
from holdfast.graph.approvals.ask import plain_call
from holdfast.graph.approvals.decisions import BadAnswer

Kind = Literal["approval", "doubt", "question"]

_DOUBT: Final = "effect_in_doubt"
_ABOUT_A_CALL: Final = ("tool_approval", _DOUBT)

# A decision that can be taken about several actions at once. The others hold what fits one of them.
_FOR_ALL: Final = ("approve", "reject")

# Where a question of unknown form may have its text.
_TEXTS: Final = ("question", "description", "message", "title", "text")


@dataclass(frozen=True)
class Pending:
    """A request that waits for a person.

    With `kind` "approval" it is about one call of a tool or several, with "doubt" about a call whose outcome is
    unknown. Any other interrupt of a graph is a "question".
    """

    interrupt_id: str
    tool_call_id: str | None
    """The call; `None` if the request does not name it."""
    name: str
    """The tool; of several the names, separated by commas; empty for a question."""
    args: dict[str, Any]
    """The arguments of the only call; empty otherwise."""
    description: str
    asked_at: str | None
    """ISO 8601, UTC."""
    kind: Kind = "approval"
    actions: tuple[Action, ...] = ()
    """The calls, each with its arguments and the decisions allowed. The answer has a decision for each."""
    value: Any = field(default=None, repr=False)
    """The value that the graph passed to `interrupt`."""
    schema: Any = field(default=None, repr=False)
    """The JSON schema of the answer, if the graph gave one."""


def pending_of(state: StateSnapshot, answered: Collection[str] = ()) -> list[Pending]:
    """Return the requests of a state that wait for a person, in the order of their tasks.

    Args:
        state: the state of the thread.
        answered: the ids of the pauses whose answers are on record, but not carried out yet.
    """
    return [
        pending_request(pause.id, pause.value, getattr(pause, "response_schema", None), state.created_at)
        for pause in state.interrupts
        if pause.id not in answered
    ]


def pending_request(interrupt_id: str, value: Any, schema: Any, asked_at: str | None) -> Pending:
    """Return a pause as a request to a person.

    Args:
        interrupt_id: the id of the pause.
        value: the value of the interrupt.
        schema: the JSON schema of its answer, if it has one.
        asked_at: ISO 8601, UTC.
    """
    actions = tuple(actions_of(value, schema))
    if not actions:
        return Pending(interrupt_id, None, "", {}, _question(value), asked_at, "question", (), value, schema)
    call_id = value.get("tool_call_id") if isinstance(value, Mapping) else None
    return Pending(
        interrupt_id=interrupt_id,
        tool_call_id=None if call_id is None else str(call_id),
        name=", ".join(action.name for action in actions),
        args=actions[0].args if len(actions) == 1 else {},
        description="; ".join(map(described, actions)),
        asked_at=asked_at,
        kind="doubt" if is_about_call(value) and value["type"] == _DOUBT else "approval",
        actions=actions,
        value=value,
        schema=schema,
    )


def is_about_call(value: Any) -> bool:
    """Return whether a pause has the form in which `build_graph` and the middleware of Holdfast ask about a call."""
    return isinstance(value, Mapping) and value.get("type") in _ABOUT_A_CALL


def takes_author(pending: Pending) -> bool:
    """Return whether an answer to a request can name its author, as those to requests of Holdfast can."""
    schema = pending.schema if isinstance(pending.schema, Mapping) else {}
    options = [option for option in schema.get("oneOf") or [schema] if isinstance(option, Mapping)]
    return is_about_call(pending.value) and all("by" in option.get("properties", {}) for option in options)


def described(action: Action) -> str:
    """Return an action in words, on one line: its description, or the plain call."""
    # LangChain's own description repeats the name and the arguments on lines of their own.
    if action.description and "\n\nTool: " not in action.description:
        return action.description
    return plain_call(ToolCall(name=action.name, args=action.args, id=None))


def answer_to(pending: Pending, answer: Any) -> Any:
    """Return an answer in the form that a request takes.

    Args:
        pending: the request.
        answer: a decision, such as `{"type": "approve"}`, for all of its actions; or a list with a decision for each.
            Anything else is taken as it is, also for a question.

    Raises:
        BadAnswer: the decision is about one of several actions.
    """
    decisions = _decisions(pending, answer)
    if decisions is None:
        return answer
    return answer_of(pending.value, [_whole(*pair) for pair in zip(pending.actions, decisions, strict=True)])


def _decisions(pending: Pending, answer: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the decisions in an answer, one for each action; `None` if it is in another form."""
    count = len(pending.actions)
    if isinstance(answer, Mapping) and "type" in answer and count:
        if count > 1 and answer["type"] not in _FOR_ALL:
            raise BadAnswer(
                f"This request is about {count} calls ({pending.name}), and {answer['type']!r} fits one. Needed: a "
                "list with a decision for each call, in their order. Nothing was saved, and the request still waits."
            )
        return [answer] * count
    given = answer.get("decisions") if isinstance(answer, Mapping) else answer
    if isinstance(given, list | tuple) and 0 < count == len(given):
        return given if all(isinstance(decision, Mapping) for decision in given) else None
    return None


def _whole(action: Action, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decision with the tool's name in an edit, and without the keys that have no value."""
    edited = decision.get("edited_action")
    if decision.get("type") == "edit" and isinstance(edited, Mapping):
        decision = {**decision, "edited_action": {"name": action.name, **edited}}
    return {key: value for key, value in decision.items() if value is not None}


def _question(value: Any) -> str:
    """Return the text of a request of unknown form."""
    if isinstance(value, Mapping):
        text = next((value[key] for key in _TEXTS if isinstance(value.get(key), str)), None)
        if text is not None:
            return str(text)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
