"""The content of a transcript's entries as JSON, and its canonical form. Pure, no I/O.

Every entry of a transcript is an object with

    kind        "message", "event" or "approval"
    thread_id
    number      its number in the transcript: of a message, `seq`; of what follows message 4, "4.1", "4.2", …
    seq         the number of a message; of an event or approval, the number of the message before it, or 0
    at          its time. All times are in ISO 8601, in UTC

A message also has

    role, name, user_id, run_id, message_id
    source          what added a message in the role of a person, such as "summarization"; null for a person's own words
    text            its text
    blocks          its content, if that is more than a text; else null
    reasoning       the model's reasoning, or null
    attachments     [{"kind", "mime_type", "name", "size", "sha256", "url"}]
    model, tokens   {"input", "output", "total"}, or null
    tool_calls      [{"id", "name", "args", "problem"}]
    tool_call_id, status, approval, effect     of a tool's result: the call, "success" or "error", and the decisions
    waits           true of a result that only says that its call waits for a person
    live            true if the newest state still has it; null if that is unknown
    replaced        true if it was edited later
    undone          {"by", "at"} if its turn was undone, or null
    redacted_at     a time, or null
    problem         the reason why it cannot be read, or null; with a problem, `text` is what the database has of it

An event also has `no`, `event`, `by` and `data`. An approval also has `interrupt_id`, `asked_at`, `decision`, `by`,
`answer`, `expired`, `run_id` and `problem`. Later versions may add keys; these stay.

The canonical form of an object is JSON in ASCII, with its keys sorted and without spaces, as Python's
`json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it. The digest of a transcript is the SHA-256 of the
canonical forms of its entries, each without `live`, `replaced` and `undone` and with a line feed behind it. These three
change without anything else being said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final, NamedTuple, assert_never

from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.export.text import iso, plain

VERSION: Final = 1
"""The version of the content and of the digest. An object with other keys needs another one."""

STATE: Final = ("live", "replaced", "undone")
"""The keys that are no part of the digest: they say what has become of a message since."""


# Calls whose result may come later, as far as it says which message has made it.
_MOST_CALLS: Final = 1000


class Numbered(NamedTuple):
    """An entry and its number in the transcript."""

    number: str
    entry: Entry
    call: str | None = None
    """Of a tool's result: the number of the message with the call, if that is in the transcript."""


def numbered(entries: Iterable[Entry]) -> Iterator[Numbered]:
    """Number the entries: messages by their rows, and what follows message 4 as 4.1, 4.2, …"""
    before, count = 0, 0
    calls: dict[str, str] = {}
    for entry in entries:
        if entry.kind == "message":
            before, count = entry.seq, 0
            yield Numbered(str(before), entry, calls.get(entry.tool_call_id or ""))
            for call in entry.tool_calls:
                calls.pop(call.id or "", None)  # ids such as "call_0" come again
                calls[call.id or ""] = str(before)
            while len(calls) > _MOST_CALLS:
                del calls[next(iter(calls))]
        else:
            before, count = max(before, entry.seq) if count == 0 else before, count + 1
            yield Numbered(f"{before}.{count}", entry)


def place_of(number: str) -> tuple[int, ...]:
    """Return the place of a number in the order of a transcript."""
    return tuple(map(int, number.split(".")))


def entry_fields(thread_id: str, found: Numbered) -> dict[str, Any]:
    """Return the object of an entry, of plain JSON values."""
    number, entry, _ = found
    fields = {"kind": entry.kind, "thread_id": thread_id, "number": number, "seq": entry.seq, "at": iso(entry.at)}
    plain_fields: dict[str, Any] = plain({**fields, **_fields(entry)})
    return plain_fields


def state_fields(entry: Entry) -> dict[str, Any]:
    """Return the part of an entry's object that is no part of the digest; nothing for what is no message."""
    if not isinstance(entry, MessageEntry):
        return {}
    undone = entry.undone
    return {
        "live": entry.live,
        "replaced": entry.replaced,
        "undone": None if undone is None else {"by": undone.by, "at": iso(undone.at)},
    }


def canonical(fields: Mapping[str, Any]) -> str:
    """Return the canonical form of an object."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse(line: str) -> dict[str, Any]:
    """Return the object of an entry from its line.

    Raises:
        ValueError: the line is not the canonical form of an object with a number.
    """
    try:
        fields = json.loads(line)
        if isinstance(fields, dict) and isinstance(fields.get("number"), str) and line == f"{canonical(fields)}\n":
            return fields
    except RecursionError:
        pass
    raise ValueError("This is no entry.")


class ContentDigest:
    """The digest of a transcript, entry by entry."""

    def __init__(self) -> None:
        self._state = sha256()

    def add(self, fields: Mapping[str, Any]) -> None:
        """Add the object of the next entry."""
        content = {name: value for name, value in fields.items() if name not in STATE}
        self._state.update(f"{canonical(content)}\n".encode())

    def text(self) -> str:
        """Return the digest of the entries so far."""
        return f"sha256:{self._state.hexdigest()}"


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
    names = ("role", "name", "user_id", "run_id", "message_id", "source", "text", "blocks", "reasoning", "model")
    results = ("tool_call_id", "status", "waits", "approval", "effect", "problem")
    return {
        **{name: getattr(entry, name) for name in names},
        "attachments": [attachment.facts() for attachment in entry.attachments],
        "tokens": None if entry.tokens is None else asdict(entry.tokens),
        "tool_calls": [asdict(call) for call in entry.tool_calls],
        **{name: getattr(entry, name) for name in results},
        **state_fields(entry),
        "redacted_at": iso(entry.redacted_at),
    }


def _approval(entry: ApprovalEntry) -> dict[str, Any]:
    names = ("interrupt_id", "decision", "by", "answer", "expired", "run_id", "problem")
    return {"asked_at": iso(entry.asked_at), **{name: getattr(entry, name) for name in names}}
