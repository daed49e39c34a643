"""A record as a line of JSON, and back. No I/O.

    {"kind": "message", "seq": 1, "role": "human", "content": "Refund order 1001", "body": "kqCA", …}

Bytes are base64. A checkpoint's values are `[type, bytes]` by channel, or null: as in the checkpoint on the line before
it, for most of them do not change from one to the next. A field that is called `kind` itself, of an event, is `of`.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, NoReturn, assert_never

from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.transfer.records import (
    CHECKPOINT,
    RECORDS,
    Field,
    FieldType,
    ThreadRecord,
)

FORMAT: Final = "holdfast-threads"
VERSION: Final = 1

END_OF_THREAD: Final = "end_of_thread"
END: Final = "end"

LONGEST_LINE: Final = 64 * 2**20
"""Bytes. A small gzipped file may be any number of lines, but none that fills the memory."""

LONGEST_KEY: Final = 1024
"""Bytes, as of a thread's id: PostgreSQL can index 2,704 of several together."""

FIRST_TIME: Final = -62_135_596_800
LAST_TIME: Final = 253_402_300_800
"""Epoch seconds: the years 1 to 9999, which are those that a calendar has."""

Values = Mapping[str, tuple[str, bytes]]


class InvalidLine(ValueError):
    """What a line says is not what it should; the text says what was found and what was needed."""


def encode_record(record: ThreadRecord, before: Values | None) -> dict[str, Any]:
    """A record as JSON has it.

    Args:
        record: the record.
        before: the values of the checkpoint before this one in the same thread.
    """
    said: dict[str, Any] = {"kind": record.kind}
    for name, field in RECORDS[record.kind].items():
        value = record.fields[name]
        if field.kind is FieldType.VALUES:
            said[name] = {
                channel: None if before is not None and before.get(channel) == (type_, blob) else [type_, _text(blob)]
                for channel, (type_, blob) in value.items()
            }
        else:
            said["of" if name == "kind" else name] = _text(value) if isinstance(value, bytes) else value
    return said


def decode_record(said: Mapping[str, Any], before: Values | None) -> ThreadRecord:
    """The record that a line says, with each field checked for its type.

    Args:
        said: a JSON object whose `kind` is one of `RECORDS`.
        before: as for `encode_record`.

    Raises:
        NotALine: a field is missing, unknown, or not what it must be.
    """
    kind = said["kind"]
    fields = RECORDS[kind]
    given = {"kind" if name == "of" else name: value for name, value in said.items() if name != "kind"}
    if lost := sorted(fields.keys() - given.keys()):
        raise InvalidLine(f"a record of the kind {kind!r} needs the field {lost[0]!r}")
    if unknown := sorted(given.keys() - fields.keys()):
        raise InvalidLine(
            f"a record of the kind {kind!r} has no field {unknown[0][:40]!r}; a newer version may have made it"
        )
    return ThreadRecord(kind, {name: _value(name, field, given[name], before) for name, field in fields.items()})


def parse_line(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises:
        NotALine: there is none.
    """
    try:
        said = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidLine(f"it is not JSON ({str(error)[:80]})") from error
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str | None):
        raise InvalidLine("it is no JSON object with a kind")
    return said


def checkpoint_values(record: ThreadRecord) -> Values | None:
    """What the line after this one may leave out."""
    return record.fields["values"] if record.kind == CHECKPOINT else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(name: str, text: Any) -> bytes:
    try:
        return b64decode(text.encode(), validate=True)
    except (ValueError, AttributeError) as error:
        raise InvalidLine(f"the field {name!r} is not base64") from error


def _value(name: str, field: Field, value: Any, before: Values | None) -> Any:
    if value is None and field.may_be_none:
        return None
    match field.kind:
        case FieldType.BYTES:
            return _bytes(name, value)
        case FieldType.VALUES:
            return _values(name, value, before)
        case FieldType.KEY | FieldType.TEXT:
            fits = _is_key(value) if field.kind is FieldType.KEY else type(value) is str and is_sql_text(value)
        case FieldType.INT | FieldType.LONG:
            fits = type(value) is int and -(2**31) <= value < 2 ** (31 if field.kind is FieldType.INT else 63)
        case FieldType.TIME:
            fits = type(value) in {int, float} and math.isfinite(value) and FIRST_TIME <= value < LAST_TIME
            value = float(value) if fits else value
        case FieldType.JSON:
            fits = type(value) is dict
        case _:
            assert_never(field.kind)
    if not fits:
        raise InvalidLine(f"the field {name!r} is not {field.kind.value}")
    return value


def _is_key(value: Any) -> bool:
    return type(value) is str and is_sql_text(value) and len(value.encode()) <= LONGEST_KEY


def _values(name: str, value: Any, before: Values | None) -> dict[str, tuple[str, bytes]]:
    if type(value) is not dict or not all(map(_is_key, value)):
        raise InvalidLine(f"the field {name!r} is not {FieldType.VALUES.value}")
    found: dict[str, tuple[str, bytes]] = {}
    for channel, said in value.items():
        if said is None:
            if before is None or channel not in before:
                raise InvalidLine(f"the value of channel {channel[:40]!r} is to be as before, and there is none before")
            found[channel] = before[channel]
        elif type(said) is list and len(said) == 2 and type(said[0]) is str:
            found[channel] = said[0], _bytes(name, said[1])
        else:
            raise InvalidLine(f"the value of channel {channel[:40]!r} is no type with bytes")
    return found
