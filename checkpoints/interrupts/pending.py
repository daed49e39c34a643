"""A request of any agent to a person, in one form for all of them. Pure, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from holdfast.checkpoints.interrupts.forms import Action, actions_of

Kind = Literal["approval", "doubt", "question"]

_DOUBT: Final = "effect_in_doubt"
_ABOUT_A_CALL: Final = ("tool_approval", _DOUBT)

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
        description="; ".join(map(_described, actions)),
        asked_at=asked_at,
        kind="doubt" if is_about_call(value) and value["type"] == _DOUBT else "approval",
        actions=actions,
        value=value,
        schema=schema,
    )


def is_about_call(value: Any) -> bool:
    """Return whether a pause has the form in which `build_graph` and the middleware of Holdfast ask about a call."""
    return isinstance(value, Mapping) and value.get("type") in _ABOUT_A_CALL


def plain_call(name: str, args: Mapping[str, Any]) -> str:
    """Write a call of a tool as it would look in Python."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in args.items())})"


def _described(action: Action) -> str:
    """Return an action in words, on one line: its description, or the plain call."""
    # LangChain's own description repeats the name and the arguments on lines of their own.
    if action.description and "\n\nTool: " not in action.description:
        return action.description
    return plain_call(action.name, action.args)


def _question(value: Any) -> str:
    """Return the text of a request of unknown form."""
    if isinstance(value, Mapping):
        text = next((value[key] for key in _TEXTS if isinstance(value.get(key), str)), None)
        if text is not None:
            return str(text)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
