"""An entry of a transcript in words, for whatever shows it to people. Pure.

All of it is `visible`; nothing of it is escaped for where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, assert_never

from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.text import (
    one_line,
    plain,
    visible,
    when,
    when_said,
)

_ROLES: Final = {"human": "User", "ai": "Agent", "tool": "Tool", "system": "System"}
_EVENTS: Final = {
    "prompt": "System prompt",
    "restart": "Restarted",
    "undo": "Undone",
    "fork": "Forked",
    "import": "Imported",
}
_DECISIONS: Final = {
    "approve": "Approved",
    "edit": "Approved with other arguments",
    "reject": "Rejected",
    "respond": "Answered in place of the tool",
    "expired": "Nobody decided in time",
    "closed": "Closed: nobody decided",
    "run_again": "To be run again",
    "happened": "It happened",
    "skip": "Not to be run",
}

_LONGEST_LINE: Final = 80  # characters of JSON that stand in one line

Tone = Literal["user", "agent", "tool", "system", "other"]

_TONES: Final[dict[str, Tone]] = {"human": "user", "ai": "agent", "tool": "tool", "system": "system"}


class Part(NamedTuple):
    """A piece of what an entry says."""

    label: str
    """What it is, in one line; `""`: what was said."""
    text: str
    """`""`: the label says it all."""
    form: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Words:
    """An entry in words."""

    who: str
    """Who said it, or what happened. It begins with the role, which no name can pass for."""
    tone: Tone
    at: str
    notes: list[str]
    """What else is to be known, each a few words."""
    parts: list[Part]


def words(entry: Entry) -> Words:
    """An entry in words."""
    match entry:
        case MessageEntry():
            who = one_line(_speaker(entry))
            return Words(who, _TONES.get(entry.role, "other"), when(entry.at), _notes(entry), list(_parts(entry)))
        case EventEntry():
            name = _EVENTS.get(entry.event) or f"Event: {entry.event}"
            return Words(one_line(_by(name, entry.by)), "other", when(entry.at), [], list(_data(entry)))
        case ApprovalEntry():
            parts = [] if entry.answer is None else [_json("Answer", entry.answer)]
            if entry.problem:
                parts.append(_problem(entry.problem))
            who = _decision({"decision": entry.decision or "answer", "by": entry.by})
            return Words(one_line(who), "other", when(entry.at), [], parts)
        case _:
            assert_never(entry)


def _speaker(entry: MessageEntry) -> str:
    role = _ROLES.get(entry.role) or f"Role {entry.role}"
    name = entry.name or (entry.user_id if entry.role == "human" else None)
    return f"{role} {name}" if name else role


def _notes(entry: MessageEntry) -> list[str]:
    notes = [one_line(entry.model)] if entry.model else []
    if entry.tokens:
        notes.append(f"{entry.tokens.input:,} tokens in, {entry.tokens.output:,} out")
    if entry.status == "error":
        notes.append("failed")
    if entry.replaced:
        notes.append("replaced later")
    elif entry.live is False:
        notes.append("not in the live context")
    if entry.redacted_at is not None:
        notes.append(f"redacted {when(entry.redacted_at)}")
    return notes


def _parts(entry: MessageEntry) -> Iterator[Part]:
    if entry.text:
        yield Part("", visible(entry.text))
    for block in entry.blocks or ():
        kind = block.get("type") if isinstance(block, Mapping) else None
        if isinstance(kind, str) and kind not in {"text", "tool_use", "tool_call"}:  # calls come below
            yield Part(f"With a part that is no text: {one_line(kind)}", "")
    for call in entry.tool_calls:
        yield _json(f"Calls {call.name}", call.args)
        if call.problem:
            yield _problem(call.problem)
    if entry.approval is not None:
        label = _decision(entry.approval)
        yield _json(label, entry.approval["args"]) if "args" in entry.approval else Part(one_line(label), "")
    if entry.effect is not None and entry.effect.get("decision"):
        yield Part(one_line(_decision(entry.effect)), "")
    if entry.problem:
        yield _problem(entry.problem)


def _data(entry: EventEntry) -> Iterator[Part]:
    if isinstance(entry.data, Mapping) and entry.data.keys() == {"text"} and isinstance(entry.data["text"], str):
        yield Part("", visible(entry.data["text"]))
    elif entry.data is not None:
        yield _json("", entry.data)


def _decision(record: Mapping[str, Any]) -> str:
    decision = str(record.get("decision"))
    said = _by(_DECISIONS.get(decision) or f"Decided: {decision}", record.get("by"))
    at = record.get("at")
    return f"{said}, {when_said(at)}" if isinstance(at, str) else said


def _by(what: str, by: Any) -> str:
    return f"{what} by {by}" if by else what


def _json(label: str, value: Any) -> Part:
    text = json.dumps(plain(value), ensure_ascii=False)
    if len(text) > _LONGEST_LINE:
        text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    return Part(one_line(label), visible(text), "json")


def _problem(problem: str) -> Part:
    return Part("It cannot be read", visible(problem))
