"""The description of a transcript's entry in words, for every form in which people read it. Pure, no I/O.

All of its text is `visible`. None of it is escaped for the form in which it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple, assert_never

from holdfast.checkpoints.interrupts.decisions import CLOSED, NOT_RUN, label_of
from holdfast.checkpoints.serde.messages import SUMMARY
from holdfast.checkpoints.transcript.blocks import Attachment, attachment_of, reasoning_of
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
    "redacted": "Redacted",
}

# Longer JSON, in characters, is shown with one line for each value.
_LONGEST_LINE: Final = 80

_LONGEST_URL: Final = 500

_MOST_LISTED: Final = 50

_ROLE_COUNTS: Final = {
    "human": "of users",
    "ai": "of the agent",
    "tool": "of tools",
    "system": "of the system",
    "added": "added by programs",
}

# Parts of a content that are shown as the calls of the message.
_CALLS: Final = frozenset({"text", "tool_use", "tool_call", "function_call", "tool_call_chunk"})

Tone = Literal["user", "agent", "tool", "system", "other"]

_TONES: Final[dict[str, Tone]] = {"human": "user", "ai": "agent", "tool": "tool", "system": "system"}


class Part(NamedTuple):
    """A part of an entry's content."""

    label: str
    """The kind of content, in one line; `""` for the text of a message."""
    text: str
    """`""` if the label is all there is."""
    form: Literal["text", "json", "decision", "reasoning", "attachment"] = "text"
    """A decision is in the label; its text, if there is one, is JSON."""
    attachment: Attachment | None = None
    """The attachment that the label names."""


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
    is_gone: bool = False
    """True for a message that is known not to be live."""


def describe(entry: Entry) -> Description:
    """Describe an entry in words."""
    match entry:
        case MessageEntry():
            tone = "other" if entry.source else _TONES.get(entry.role, "other")
            notes, parts = list(_notes(entry)), list(_parts(entry))
            is_gone = entry.live is False or entry.undone is not None
            return Description(one_line(_speaker(entry)), tone, when(entry.at), notes, parts, is_gone)
        case EventEntry():
            name = _EVENTS.get(entry.event) or f"Event: {entry.event}"
            return Description(one_line(_with_author(name, entry.by)), "other", when(entry.at), [], list(_data(entry)))
        case ApprovalEntry():
            parts = [] if entry.answer is None else [_json("Answer", entry.answer)]
            if entry.problem:
                parts.append(_problem(entry.problem))
            who = _describe_decision({"decision": entry.decision or "answer", "by": entry.by})
            asked = f"asked {when(entry.asked_at)}"
            return Description(one_line(who), "other", when(entry.at), [asked], parts)
        case _:
            assert_never(entry)


def source_label(source: str | None) -> str | None:
    """Name what added a message in the role of a person; `None` for a person's own words."""
    if source is None:
        return None
    return "Summary" if source == SUMMARY else f"Added by {source}"


def _speaker(entry: MessageEntry) -> str:
    if added := source_label(entry.source):
        return added
    role = _ROLES.get(entry.role) or f"Role {entry.role}"
    name = entry.name or (entry.user_id if entry.role == "human" else None)
    return f"{role} {name}" if name else role


def _notes(entry: MessageEntry) -> Iterator[str]:
    if entry.source:
        run = f" in a run of {entry.user_id}" if entry.user_id else ""
        yield one_line(f"added by the program{run}, not the user's words")
    if entry.model:
        yield one_line(entry.model)
    if entry.tokens:
        yield f"{entry.tokens.input:,} tokens in, {entry.tokens.output:,} out"
    if entry.status == "error" and (outcome := _outcome(entry)):
        yield outcome
    if entry.undone is not None:
        yield one_line(_with_author("undone", entry.undone.by) + f", {when(entry.undone.at)}")
    elif entry.replaced:
        yield "replaced later"
    elif entry.live is False:
        yield "not in the live context"
    if entry.redacted_at is not None:
        yield f"redacted {when(entry.redacted_at)}"


def _outcome(entry: MessageEntry) -> str | None:
    """Name the outcome of a call whose result has the status of an error; `None` if its text says all that is known."""
    effect, decision = entry.effect or {}, (entry.approval or {}).get("decision")
    if entry.waits:
        return "waits for a decision"
    if decision == CLOSED:
        return None
    if decision in NOT_RUN or effect.get("decision") == "skip":
        return "not run"
    # Not "failed": other agents give this status to calls that a person refused, too.
    return "outcome unknown" if effect.get("state") == "in_doubt" else "status: error"


def _parts(entry: MessageEntry) -> Iterator[Part]:
    yield from _content(entry)
    for call in entry.tool_calls:
        yield _json(f"Calls {call.name}", call.args)
        if call.problem:
            yield _problem(call.problem)
    if entry.approval is not None:
        label = one_line(_describe_decision(entry.approval))
        args = _json("", entry.approval["args"]).text if "args" in entry.approval else ""
        yield Part(label, args, "decision")
    if entry.effect is not None and entry.effect.get("decision"):
        yield Part(one_line(_describe_decision(entry.effect)), "", "decision")
    if entry.problem:
        yield _problem(entry.problem)


def _content(entry: MessageEntry) -> Iterator[Part]:
    """Yield the parts of a message's content, in their order."""
    if entry.reasoning and not any(reasoning_of(block) for block in entry.blocks or ()):
        yield Part("Reasoning", visible(entry.reasoning), "reasoning")
    if entry.blocks is None:
        if entry.text:
            yield Part("", visible(entry.text))
        return
    for is_text, blocks in groupby(entry.blocks, lambda block: _block_text(block) is not None):
        if is_text:
            if text := "".join(_block_text(block) or "" for block in blocks):
                yield Part("", visible(text))
        else:
            yield from filter(None, map(_block, blocks))


def _block_text(block: Any) -> str | None:
    text = block.get("text") if isinstance(block, Mapping) and block.get("type") == "text" else block
    return text if isinstance(text, str) else None


def _block(block: Any) -> Part | None:
    """Describe a part of a message's content that is no text; `None` if it is shown elsewhere."""
    kind = block.get("type") if isinstance(block, Mapping) else None
    if not isinstance(kind, str) or kind in _CALLS:
        return None
    if (attachment := attachment_of(block)) is not None:
        return Part(_attachment_label(attachment), "", "attachment", attachment)
    reasoning = reasoning_of(block)
    if reasoning:
        return Part("Reasoning", visible(reasoning), "reasoning")
    return Part("Reasoning that is hidden" if reasoning == "" else f"With a part that is no text: {one_line(kind)}", "")


def _attachment_label(attachment: Attachment) -> str:
    facts = [" ".join(filter(None, (attachment.kind.capitalize(), attachment.name)))]
    facts += [attachment.mime_type] if attachment.mime_type else []
    if attachment.size is not None:
        facts += [f"{attachment.size:,} bytes", f"SHA-256 {attachment.sha256}"]
    elif attachment.url is not None:
        facts.append(f"not in the message, but at {attachment.url[:_LONGEST_URL]}")
    else:
        facts.append("its data cannot be read")
    return one_line(", ".join(facts))


def _data(entry: EventEntry) -> Iterator[Part]:
    if isinstance(entry.data, Mapping) and entry.data.keys() == {"text"} and isinstance(entry.data["text"], str):
        yield Part("", visible(entry.data["text"]))
    elif entry.data and entry.event != "undo":  # its checkpoints tell people nothing; the messages say who undid them
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


def describe_head(head: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the head of an export in words: a label and a text for each row.

    Args:
        head: as `Facts.as_json` returns it.
    """
    yield "Thread", head["thread_id"]
    if head["user_id"]:
        yield "User", head["user_id"]
    if head["first_at"]:
        yield "Period", f"{iso_to_text(head['first_at'])} to {iso_to_text(head['last_at'])}"
    counts = head["messages"]
    parts = ", ".join(f"{count:,} {_ROLE_COUNTS.get(role, f'of role {role}')}" for role, count in counts.items())
    yield "Messages", f"{sum(counts.values()):,}: {parts}" if parts else "none"
    if head["decisions"]:
        yield "Decisions", "; ".join(f"{label_of(word)}: {count}" for word, count in head["decisions"].items())
    if head["events"]:
        yield "Events", f"{head['events']:,}"
    if head["attachments"]:
        yield "Attachments", f"{head['attachments']:,}"
    yield "Redacted", _listed(head["redacted"])
    if head["unreadable"]:
        yield "Unreadable", _listed(head["unreadable"])
    if head["without_result"]:
        yield "Calls without a result", _listed(head["without_result"])
    yield "Left out", " ".join(head["left_out"]) or "nothing that was said"
    yield "Database", head["database"]
    yield "Exported", f"{iso_to_text(head['exported_at'])} by Holdfast {head['holdfast']}"
    yield "Digest", head["digest"]
    yield "To check", "holdfast threads verify FILE"


def _listed(numbers: Sequence[str]) -> str:
    """List the numbers of some entries, the first of them if there are many."""
    if not numbers:
        return "none"
    shown = ", ".join(numbers[:_MOST_LISTED])
    more = len(numbers) - _MOST_LISTED
    return f"{shown} and {more:,} more" if more > 0 else shown
