"""A transcript for programs: JSONL, one JSON object in each line, in ASCII.

Every object has

    kind        "message", "event" or "approval"
    thread_id
    seq         the number of a message; of an event or approval, the number of the message before it, or 0
    at          epoch seconds; `time` is the same in ISO 8601

A message also has

    role, name, user_id, run_id, message_id
    text            its text
    blocks          its content, if that is more than a text; else null
    model, tokens   {"input", "output", "total"}, or null
    tool_calls      [{"id", "name", "args", "problem"}]
    tool_call_id, status, approval, effect     of a tool's result: the call, "success" or "error", and the decisions
    live            true if the newest state still has it; null if that is unknown
    replaced        true if it was edited later
    redacted_at     epoch seconds, or null
    problem         the reason why it cannot be read, or null; with a problem, `text` is what the database has of it

An event also has `no`, `event`, `by` and `data`. An approval also has `interrupt_id`, `asked_at`, `decision`, `by`,
`answer`, `expired`, `run_id` and `problem`. Later versions may add keys; these stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, assert_never

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.text import iso, plain


def jsonl(transcript: Transcript) -> Iterator[str]:
    """Yield the transcript as lines of JSON, each with its line end."""
    for entry in transcript.plain():
        fields = {"kind": entry.kind, "thread_id": transcript.thread_id, "seq": entry.seq}
        fields |= {"at": entry.at.timestamp(), "time": iso(entry.at), **_fields(entry)}
        yield f"{json.dumps(plain(fields), allow_nan=False)}\n"


def _fields(entry: Entry) -> dict[str, Any]:
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
        "tokens": None if entry.tokens is None else asdict(entry.tokens),
        "tool_calls": [asdict(call) for call in entry.tool_calls],
        **{name: getattr(entry, name) for name in results},
    }


def _approval(entry: ApprovalEntry) -> dict[str, Any]:
    names = ("interrupt_id", "asked_at", "decision", "by", "answer", "expired", "run_id", "problem")
    return {name: getattr(entry, name) for name in names}
