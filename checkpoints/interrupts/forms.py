"""The forms of requests that are known, and which answers fit them. Pure, no I/O.

- LangChain's `HumanInTheLoopMiddleware`, and `interrupt_on` of deepagents: one request for all calls of a message,
  answered with `{"decisions": [...]}`, one decision for each; or, with `interrupt_mode="per_call"`, one request a call.
- Holdfast's own requests, which have that second form, and those about calls in doubt.
- Agent Inbox: a `HumanInterrupt`, or a list of them, answered with a list of `HumanResponse`.

Any other request takes any answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.checkpoints.interrupts.schema import misfit

# The requests with one action and a schema for the answer.
_WITH_SCHEMA: Final = ("tool_approval", "effect_in_doubt")

# What Agent Inbox allows, by the key of its configuration.
_INBOX: Final = {"allow_accept": "accept", "allow_edit": "edit", "allow_respond": "response", "allow_ignore": "ignore"}


@dataclass(frozen=True, slots=True)
class Action:
    """An action that a person is asked about."""

    name: str
    """The tool."""
    args: dict[str, Any]
    description: str | None
    allowed: tuple[str, ...]
    """The decisions that a person may take, such as "approve"."""


def actions_of(value: Any, schema: Any = None) -> list[Action]:
    """Return the actions of a request, in order; none if its form is unknown.

    Args:
        value: the value of the interrupt.
        schema: the JSON schema of its answer, if the interrupt has one.
    """
    if _is_batch(value):
        allowed = {config.get("action_name"): config.get("allowed_decisions") for config in value["review_configs"]}
        return [_action(request, _words(allowed.get(request["name"]))) for request in value["action_requests"]]
    if _is_single(value):
        return [_action(value, tuple(_kinds(schema)))]
    return [
        Action(
            str(request["action_request"]["action"]),
            _dict(request["action_request"].get("args")),
            _text(request.get("description")),
            tuple(word for key, word in _INBOX.items() if request["config"].get(key)),
        )
        for request in _inbox_requests(value)
    ]


def tools_of_request(value: Any) -> list[str]:
    """Return the tools whose calls wait for an approval in a request; none if it is no such request.

    Agent Inbox's actions need not be tools.
    """
    if _is_batch(value):
        return [str(request["name"]) for request in value["action_requests"]]
    return [str(value["name"])] if _is_single(value) and value["type"] == "tool_approval" else []


def answer_problem(value: Any, schema: Any, answer: Any) -> str | None:
    """Say why an answer does not fit a request. `None` if it fits, or if the form of the request is unknown.

    Args:
        value, schema: as `actions_of` takes them.
        answer: the answer.
    """
    actions = actions_of(value, schema)
    if _is_batch(value):
        return _batch_problem(actions, answer)
    if _is_single(value):
        return _single_problem(actions[0], schema, answer)
    if not actions:
        return None
    if isinstance(value, Mapping) and isinstance(answer, Mapping):
        return _response_problem(actions[0], answer)
    return _each(actions, answer, "a list of responses", _response_problem)


def answer_of(value: Any, decisions: Sequence[Mapping[str, Any]]) -> Any:
    """Return the answer to a request of a known form, made of a decision for each of its actions.

    Args:
        value: the value of the interrupt.
        decisions: the decisions in LangChain's words: "approve", "edit", "reject", "respond".
    """
    if _is_batch(value):
        return {"decisions": [*decisions]}
    if _is_single(value):
        return decisions[0]
    actions = [request["action_request"] for request in _inbox_requests(value)]
    return [_inbox_response(*pair) for pair in zip(actions, decisions, strict=True)]


# --- LangChain's and our own


def _batch_problem(actions: Sequence[Action], answer: Any) -> str | None:
    if not isinstance(answer, Mapping) or "decisions" not in answer:
        return f'needed is {{"decisions": [...]}}, with {_count(actions)}; found {_shown(answer)}'
    return _each(actions, answer["decisions"], '"decisions" as a list', _decision_problem)


def _decision_problem(action: Action, decision: Any) -> str | None:
    if problem := _type_problem(action, decision):
        return problem
    message, edited = decision.get("message"), decision.get("edited_action")
    match decision["type"]:
        case "respond" if not isinstance(message, str):
            return 'a "respond" needs a "message"'
        case "reject" if not isinstance(message, str | None):
            return f'the "message" of a "reject" is a text; found {_shown(message)}'
        case "edit" if not isinstance(edited, Mapping):
            return 'an "edit" needs an "edited_action" with "name" and "args"'
        case "edit" if not isinstance(edited.get("name"), str) or not isinstance(edited.get("args"), Mapping):
            return f'an "edited_action" has a "name" and a dict of "args"; found {_shown(edited)}'
    return None


def _single_problem(action: Action, schema: Any, answer: Any) -> str | None:
    if not action.allowed:
        return None  # an interrupt without a schema: a graph of its own that uses the name
    if problem := _type_problem(action, answer):
        return problem
    # A key without a value is left out, as pydantic's models of such answers have it.
    given = {key: item for key, item in answer.items() if item is not None}
    return misfit(schema, given)


def _type_problem(action: Action, decision: Any) -> str | None:
    allowed = ", ".join(repr(word) for word in action.allowed)
    if not isinstance(decision, Mapping) or "type" not in decision:
        return f'a decision is a dict with a "type", one of {allowed}; found {_shown(decision)}'
    if decision["type"] not in action.allowed:
        return f"{action.name} can be answered with {allowed}; found {decision['type']!r}"
    return None


# --- Agent Inbox


def _response_problem(action: Action, response: Any) -> str | None:
    if problem := _type_problem(action, response):
        return problem
    args = response.get("args")
    if response["type"] == "response" and not isinstance(args, str):
        return f'a "response" has a text as its "args"; found {_shown(args)}'
    if response["type"] == "edit" and not (isinstance(args, Mapping) and isinstance(args.get("args"), Mapping)):
        return f'an "edit" has the "action" and its "args" as its "args"; found {_shown(args)}'
    return None


def _inbox_response(action: Mapping[str, Any], decision: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a decision in the words of Agent Inbox; one that is in these already as it is."""
    match decision.get("type"):
        case "approve":
            return {"type": "accept", "args": None}
        case "reject":
            return {"type": "ignore", "args": None}
        case "respond":
            return {"type": "response", "args": decision.get("message")}
        case "edit" if "edited_action" in decision:
            return {"type": "edit", "args": {**action, "args": decision["edited_action"].get("args")}}
    return decision


def _inbox_requests(value: Any) -> list[Mapping[str, Any]]:
    requests = value if isinstance(value, list) else [value]
    return requests if requests and all(map(_is_inbox, requests)) else []


# --- which form it is


def _is_batch(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    actions, configs = value.get("action_requests"), value.get("review_configs")
    return (
        isinstance(actions, list)
        and isinstance(configs, list)
        and bool(actions)
        and all(isinstance(action, Mapping) and "name" in action for action in actions)
        and all(isinstance(config, Mapping) for config in configs)
    )


def _is_single(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") in _WITH_SCHEMA and "name" in value


def _is_inbox(request: Any) -> bool:
    return (
        isinstance(request, Mapping)
        and isinstance(request.get("config"), Mapping)
        and isinstance(request.get("action_request"), Mapping)
        and "action" in request["action_request"]
    )


# --- parts


def _each(
    actions: Sequence[Action], answers: Any, what: str, problem_of: Callable[[Action, Any], str | None]
) -> str | None:
    if not isinstance(answers, Sequence) or isinstance(answers, str):
        return f"needed is {what}, with {_count(actions)}; found {_shown(answers)}"
    if len(answers) != len(actions):
        return f"needed is {_count(actions)}, in their order; found {len(answers)}"
    for number, (action, answer) in enumerate(zip(actions, answers, strict=True), start=1):
        if problem := problem_of(action, answer):
            return problem if len(actions) == 1 else f"decision {number}: {problem}"
    return None


def _count(actions: Sequence[Action]) -> str:
    names = ", ".join(action.name for action in actions)
    return f"one decision for {names}" if len(actions) == 1 else f"{len(actions)} decisions, for {names}"


def _action(request: Mapping[str, Any], allowed: tuple[str, ...]) -> Action:
    return Action(str(request["name"]), _dict(request.get("args")), _text(request.get("description")), allowed)


def _kinds(schema: Any) -> list[str]:
    """Return the types of the answers that a schema allows."""
    if not isinstance(schema, Mapping):
        return []
    kinds: list[Any] = []
    for option in schema.get("oneOf") or schema.get("anyOf") or [schema]:
        target = _resolved(option, schema)
        tag = target.get("properties", {}).get("type", {})
        kinds += [tag["const"]] if "const" in tag else tag.get("enum", [])
    return [kind for kind in kinds if isinstance(kind, str)]


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(reference, str):
        return schema if isinstance(schema, Mapping) else {}
    found = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
    return found if isinstance(found, Mapping) else {}


def _words(allowed: Any) -> tuple[str, ...]:
    return tuple(word for word in allowed if isinstance(word, str)) if isinstance(allowed, list | tuple) else ()


def _dict(args: Any) -> dict[str, Any]:
    return dict(args) if isinstance(args, Mapping) else {}


def _text(description: Any) -> str | None:
    return description if isinstance(description, str) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
