"""Redaction of message rows: of what patterns find in them, or of a message as a whole. No I/O.

A redacted row keeps the digest of the message that was saved. A process that still holds that message and saves it
again finds the row by it, and the row stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import ormsgpack

from holdfast.checkpoints.redaction.patterns import PLACEHOLDER
from holdfast.checkpoints.redaction.values import OF_MESSAGE, Packed, Values, pack, unpack
from holdfast.checkpoints.serde.messages import (
    EMPTY_BODY,
    NESTED,
    SLICE,
    TEXT,
    MessageRow,
    Slice,
    digest,
    source_in,
    split_content,
    sql_text,
)
from holdfast.checkpoints.serde.types import Types

_SHORTEST: Final = 12  # characters of a text of a message that is looked for elsewhere

# What a redacted message keeps besides its tool calls: by these, agents and models know what it is.
_KEPT: Final = frozenset(
    {"type", "role", "id", "tool_call_id", "status", "usage_metadata", "example", "chunk_position"}
)
_NAMED: Final = frozenset({"ai", "tool", "function"})  # roles whose names are those of agents and tools
_CALLS: Final = frozenset({"tool_calls", "invalid_tool_calls"})
_FACTS: Final[Mapping[str, tuple[str, ...]]] = {
    "response_metadata": ("model_name", "model_provider", "finish_reason", "stop_reason"),
    "additional_kwargs": ("lc_source",),
}
_DROPPED: Final = frozenset({"artifact", "tool_call_chunks"})

Fields = dict[str, Any]


def redacted_row(row: MessageRow, values: RowValues) -> MessageRow:
    """Return a row without what is to be redacted; the same object if nothing changes. Its digest stays."""
    return _changed(row, lambda fields: values.fields(fields, OF_MESSAGE), values.value)


def blank_row(row: MessageRow) -> MessageRow:
    """Return a row of a message that says only that it was redacted. Its digest stays."""
    return _changed(row, blank_message, _BLANK.value)


def with_own_digest(row: MessageRow, key: bytes) -> MessageRow:
    """Return a row with the digest of what it says now, for a message that was redacted before it was stored."""
    return row._replace(digest=digest(row.role, row.content, row.body, key=key))


def _changed(row: MessageRow, change: Callable[[Fields], Fields], change_rest: Callable[[Any], Any]) -> MessageRow:
    kind, own, rest = _opened(row)
    fields = {"type": row.role, **own}
    new, new_rest = change(fields), [change_rest(part) for part in rest]
    if new is fields and all(part is old for part, old in zip(new_rest, rest, strict=True)):
        return row
    own = {name: value for name, value in new.items() if name != "type" or name in own}
    codec, content, left = split_content(own.pop("content"))
    if codec != TEXT:
        own["content"] = left
    body = EMPTY_BODY if not (kind or own or rest) else pack([kind, own, *new_rest], _slice)
    name = own.get("name")
    return row._replace(codec=codec, content=content, body=body, name=sql_text(name) if isinstance(name, str) else None)


def _opened(row: MessageRow) -> tuple[Any, Fields, list[Any]]:
    """Return the class of a row's message, its fields with the whole content, and what it has beside the fields."""
    kind, own, *rest = ("", {}) if row.body == EMPTY_BODY else unpack(row.body)
    content = own.get("content", row.content) if row.codec != TEXT else row.content
    return kind, {**own, "content": _joined(content, row.content or "")}, rest


def _joined(content: Any, text: str) -> Any:
    """Return the content of a message with its texts in place of the marks of where they stand in the column."""
    if isinstance(content, list):
        return [_joined(block, text) for block in content]
    if isinstance(content, dict):
        return {name: _joined(value, text) for name, value in content.items()}
    if type(content) is Packed and content.code == SLICE:
        start, stop = ormsgpack.unpackb(content.data)
        return text[start:stop]
    return content


def _slice(value: Any) -> ormsgpack.Ext:
    if type(value) is Slice:
        return ormsgpack.Ext(SLICE, ormsgpack.packb([value.start, value.stop]))
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


class RowValues(Values):
    """The redaction of the values within message rows, in which messages may be nested."""

    def reference(self, packed: Packed) -> Packed:
        if packed.code != NESTED:
            return packed
        row = MessageRow(*ormsgpack.unpackb(packed.data))
        new = redacted_row(row, self)
        return packed if new is row else Packed(NESTED, ormsgpack.packb(list(new)))


# --- a message as a whole


def _blank_text(text: str) -> str:
    return PLACEHOLDER if text else text


_BLANK: Final = RowValues(_blank_text, Types.plain())


def blank_message(fields: Fields) -> Fields:
    """Return the fields of a message of which only what keeps the state valid is left.

    Its tool calls keep their ids and names, and the names of their arguments; its answers still match.
    """
    new: Fields = {}
    for name, value in fields.items():
        if name in _KEPT or value is None:
            new[name] = value
        elif name == "content":
            new[name] = PLACEHOLDER
        elif name == "name":
            new[name] = value if fields.get("type") in _NAMED else "redacted"
        elif name in _CALLS and isinstance(value, list):
            new[name] = [blank_call(call) for call in value]
        elif name in _FACTS and isinstance(value, Mapping):
            new[name] = {fact: value[fact] for fact in _FACTS[name] if fact in value}
        elif name not in _DROPPED:  # a field of a class of the caller's own
            new[name] = _BLANK.value(value)
    return new


def blank_call(call: Any) -> Any:
    """Return a tool call, in LangChain's form or in that of an endpoint, with placeholders for its arguments."""
    if not isinstance(call, Mapping):
        return PLACEHOLDER
    new = dict(call)
    if isinstance(args := call.get("args"), Mapping):
        new["args"] = dict.fromkeys(args, PLACEHOLDER)
    elif args is not None:
        new["args"] = PLACEHOLDER
    if "error" in call:
        new["error"] = None
    if "description" in call:  # of a request to approve it
        new["description"] = PLACEHOLDER
    if isinstance(function := call.get("function"), Mapping):
        new["function"] = {**function, "arguments": "{}"}
    return new


def fields_of(row: MessageRow) -> Fields:
    """Return the fields of a row's message, without its id and without default values."""
    return _opened(row)[1]


def texts_in(fields: Fields) -> list[str]:
    """Return the texts of a message that are long enough to be looked for elsewhere, the longest first."""
    parts = [fields.get(name) for name in ("content", "additional_kwargs", "artifact")]
    parts += [call.get("args") for call in fields.get("tool_calls") or () if isinstance(call, Mapping)]
    found = {text for part in parts for text in _leaves(part) if len(text.strip()) >= _SHORTEST}
    return sorted(found, key=lambda text: (-len(text), text))


def said_in(fields: Fields) -> list[str]:
    """Return the words of a message: its text, or those of its blocks."""
    content = fields.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in {"type", "id", "mime_type"}:
                yield from _leaves(item)


def is_summary(row: MessageRow) -> bool:
    """Return whether a program has added a message in the role of a person, such as a summary of older messages."""
    return source_in(row.role, row.body) is not None
