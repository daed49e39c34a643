"""The conversation in a transcript that `holdfast threads export` wrote as JSONL.

What was said and the prompts become messages. What else is on record, such as approvals and forks, stays behind, and so
do messages that were edited or undone later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.checkpoints.transcript.export import FORMAT
from holdfast.histories.history import History, NotUnderstood, moment


def is_exported(head: Any) -> bool:
    """Return whether something is the first line of such a file."""
    return isinstance(head, Mapping) and head.get("kind") == "head" and head.get("format") == FORMAT


def is_end(fields: Any) -> bool:
    """Return whether something is the last line of such a file."""
    return isinstance(fields, Mapping) and fields.get("kind") == "seal"


def exported_history(head: Mapping[str, Any], place: str) -> History:
    """Return the conversation of a file, still without its messages."""
    title = head.get("title")
    return History(str(head.get("thread_id")), title=title if isinstance(title, str) else None, place=place)


def add_entry(history: History, entry: Any, owner: str | None) -> None:
    """Add an entry of the transcript to its conversation, if it is a message or a prompt.

    Raises:
        NotUnderstood: it is no entry, or a message that could not be read when it was exported.
    """
    if not isinstance(entry, Mapping):
        raise NotUnderstood(f"found {type(entry).__name__}, and needed an entry of a transcript")
    if entry.get("kind") == "event" and entry.get("event") == "prompt":
        history.add({"role": "system", "content": _text(entry.get("data"))}, moment(entry.get("at")), owner)
    if entry.get("kind") != "message" or entry.get("replaced") or entry.get("undone"):
        return
    if entry.get("problem") is not None:
        raise NotUnderstood(f"the message could not be read when it was exported ({entry['problem']})")
    history.add(_message(entry), moment(entry.get("at")), entry.get("user_id") or owner)


def _text(data: Any) -> str:
    if not isinstance(data, Mapping) or not isinstance(data.get("text"), str):
        raise NotUnderstood("a prompt has no text")
    return str(data["text"])


def _call(call: Any) -> dict[str, Any]:
    if not isinstance(call, Mapping) or call.get("problem") is not None:
        raise NotUnderstood("a call of a tool could not be read when it was exported")
    return {name: call.get(name) for name in ("id", "name", "args")}


def _message(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = ("role", "name", "tool_call_id", "status")
    found = {name: entry[name] for name in names if entry.get(name) is not None}
    if entry.get("message_id") is not None:
        found["id"] = entry["message_id"]
    if entry.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in entry["tool_calls"]]
    return {**found, "content": entry.get("blocks") or entry.get("text")}
