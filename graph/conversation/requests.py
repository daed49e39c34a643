"""The requests of a thread, and the answers to them in the form that each takes. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from langgraph.types import StateSnapshot

from holdfast.checkpoints.interrupts.forms import Action, answer_of
from holdfast.checkpoints.interrupts.pending import Pending, is_about_call, pending_request
from holdfast.graph.approvals.decisions import BadAnswer

__all__ = ["Pending", "answer_to", "is_about_call", "pending_of", "pending_request", "takes_author"]

# A decision that can be taken about several actions at once. The others hold what fits one of them.
_FOR_ALL: Final = ("approve", "reject")


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


def takes_author(pending: Pending) -> bool:
    """Return whether an answer to a request can name its author, as those to requests of Holdfast can."""
    schema = pending.schema if isinstance(pending.schema, Mapping) else {}
    options = [option for option in schema.get("oneOf") or [schema] if isinstance(option, Mapping)]
    return is_about_call(pending.value) and all("by" in option.get("properties", {}) for option in options)


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
