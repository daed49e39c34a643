"""The description of a transcript's entry in words, for every form in which people read it. Pure, no I/O.

All of its text is `visible`. None of it is escaped for the form in which it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, assert_never

from holdfast.checkpoints.interrupts.decisions import label_of
from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.text import (
    iso_to_text,
    one_line,
    plain,
    visible,
    when,
)

_ROLES: Final = {"human": "User", "ai": "Agent", "tool": "Tool", "system": "System"}
_EVENTS: Final = {
    "prompt": "System prompt",
    "restart": "Restarted",
    "undo": "Undone",
    "fork": "Forked",
    "import": "Imported",
    "share": "Shared",
    "unshare": "Shared no more",
}

# Longer JSON, in characters, is shown with one line for each value.
_LONGEST_LINE: Final = 80

Tone = Literal["user", "agent", "tool", "system", "other"]

_TONES: Final[dict[str, Tone]] = {"human": "user", "ai": "agent", "tool": "tool", "system": "system"}


class Part(NamedTuple):
    """A part of an entry's content."""

    label: str
    """The kind of content, in one line; `""` for the text of a message."""
    text: str
    """`""` if the label is all there is."""
    form: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Description:
    """An entry in words."""

    who: str
    """The speaker, or the kind of event. It begins with the role, so that no name can pass for one."""
    tone: Tone
    at: str
    notes: list[str]
    """Further facts, each in a few words."""
    parts: list[Part]


def describe(entry: Entry) -> Description:
    """Describe an entry in words."""
    match entry:
        case MessageEntry():
            who = one_line(_speaker(entry))
            return Description(who, _TONES.get(entry.role, "other"), when(entry.at), _notes(entry), list(_parts(entry)))
        case EventEntry():
            name = _EVENTS.get(entry.event) or f"Event: {entry.event}"
            return Description(one_line(_with_author(name, entry.by)), "other", when(entry.at), [], list(_data(entry)))
        case ApprovalEntry():
            parts = [] if entry.answer is None else [_json("Answer", entry.answer)]
            if entry.problem:
                parts.append(_problem(entry.problem))
            who = _describe_decision({"decision": entry.decision or "answer", "by": entry.by})
            return Description(one_line(who), "other", when(entry.at), [], parts)
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
        if isinstance(kind, str) and kind not in {"text", "tool_use", "tool_call"}:  # calls are shown below
            yield Part(f"With a part that is no text: {one_line(kind)}", "")
    for call in entry.tool_calls:
        yield _json(f"Calls {call.name}", call.args)
        if call.problem:
            yield _problem(call.problem)
    if entry.approval is not None:
        label = _describe_decision(entry.approval)
        yield _json(label, entry.approval["args"]) if "args" in entry.approval else Part(one_line(label), "")
    if entry.effect is not None and entry.effect.get("decision"):
        yield Part(one_line(_describe_decision(entry.effect)), "")
    if entry.problem:
        yield _problem(entry.problem)


def _data(entry: EventEntry) -> Iterator[Part]:
    if isinstance(entry.data, Mapping) and entry.data.keys() == {"text"} and isinstance(entry.data["text"], str):
        yield Part("", visible(entry.data["text"]))
    elif entry.data is not None:
        yield _json("", entry.data)


def _describe_decision(note: Mapping[str, Any]) -> str:
    text = _with_author(label_of(str(note.get("decision"))), note.get("by"))
    at = note.get("at")
    return f"{text}, {iso_to_text(at)}" if isinstance(at, str) else text


def _with_author(text: str, by: Any) -> str:
    return f"{text} by {by}" if by else text


def _json(label: str, value: Any) -> Part:
    text = json.dumps(plain(value), ensure_ascii=False)
    if len(text) > _LONGEST_LINE:
        text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    return Part(one_line(label), visible(text), "json")


def _problem(problem: str) -> Part:
    return Part("It cannot be read", visible(problem))
