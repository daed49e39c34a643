"""A transcript for programs: one JSON object a line, in ASCII.

Every object has

    kind        "message", "event" or "approval"
    thread_id
    seq         the number of the message; of what happened besides, that of the message before it, or 0
    at          epoch seconds; `time` is the same in ISO 8601

A message has besides

    role, name, user_id, run_id, message_id
    text            its text
    blocks          its content, where that is more than a text; else null
    model, tokens   {"input", "output", "total"}, or null
    tool_calls      [{"id", "name", "args", "problem"}]
    tool_call_id, status, approval, effect     of a tool's result: which call, "success" or "error", and who decided
    live            whether the newest state still has it; null: not known
    replaced        whether it was said again later in another wording
    redacted_at     epoch seconds, or null
    problem         why it cannot be read, or null; then `text` is what the database has of it

an event has `no`, `event`, `by` and `data`, and an approval has `interrupt_id`, `asked_at`, `decision`, `by`,
`answer`, `expired`, `run_id` and `problem`. More keys may come; these stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, assert_never

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.text import iso, plain


def jsonl(transcript: Transcript) -> Iterator[str]:
    """The transcript as lines of JSON, each with its end."""
    for entry in transcript:
        found = {"kind": entry.kind, "thread_id": transcript.thread_id, "seq": entry.seq}
        found |= {"at": entry.at, "time": iso(entry.at), **_facts(entry)}
        yield f"{json.dumps(plain(found), allow_nan=False)}\n"


def _facts(entry: Entry) -> dict[str, Any]:
    match entry:
        case MessageEntry():
            return _message(entry)
        case EventEntry():
            return {"no": entry.no, "event": entry.event, "by": entry.by, "data": entry.data}
        case ApprovalEntry():
            return _approval(entry)
        case _:
            assert_never(entry)


def _message(entry: MessageEntry) -> dict[str, Any]:
    names = ("role", "name", "user_id", "run_id", "message_id", "text", "blocks", "model")
    results = ("tool_call_id", "status", "approval", "effect", "live", "replaced", "redacted_at", "problem")
    return {
        **{name: getattr(entry, name) for name in names},
        "tokens": None if entry.tokens is None else entry.tokens._asdict(),
        "tool_calls": [call._asdict() for call in entry.tool_calls],
        **{name: getattr(entry, name) for name in results},
    }


def _approval(entry: ApprovalEntry) -> dict[str, Any]:
    names = ("interrupt_id", "asked_at", "decision", "by", "answer", "expired", "run_id", "problem")
    return {name: getattr(entry, name) for name in names}
