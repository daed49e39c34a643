"""Encoding of records as lines of JSON. No I/O.

    {"kind": "message", "seq": 1, "role": "human", "content": "Refund order 1001", "body": "kqCA", …}

Bytes are base64. A checkpoint's values are `[type, bytes]` by channel. `null` stands for the value of the previous
checkpoint, since most values do not change from one to the next. An event's field `kind` is called `of`.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, NoReturn, assert_never

from holdfast.checkpoints.backends.canonical import CanonicalValue
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
"""Bytes. A small gzipped file can contain very long lines, which must not fill the memory."""

LONGEST_KEY: Final = 1024
"""Bytes, the limit of a thread's id. PostgreSQL can index at most 2,704 bytes for all columns of a key together."""

FIRST_TIME: Final = -62_135_596_800
LAST_TIME: Final = 253_402_300_800
"""Epoch seconds: the years 1 to 9999, the range of `datetime`."""

Values = Mapping[str, CanonicalValue]


class InvalidLine(ValueError):
    """A line is not a valid record. The text says what was found and what was needed."""


def encode_record(record: ThreadRecord, before: Values | None) -> dict[str, Any]:
    """Return a record as a JSON object.

    Args:
        record: the record.
        before: the values of the previous checkpoint in the same thread.
    """
    line: dict[str, Any] = {"kind": record.kind}
    for name, field in RECORDS[record.kind].items():
        value = record.fields[name]
        if field.type is FieldType.VALUES:
            line[name] = {
                channel: None if before is not None and before.get(channel) == (type_, blob) else [type_, _text(blob)]
                for channel, (type_, blob) in value.items()
            }
        else:
            line["of" if name == "kind" else name] = _text(value) if isinstance(value, bytes) else value
    return line


def decode_record(line: Mapping[str, Any], before: Values | None) -> ThreadRecord:
    """Return the record of a JSON object, after checking the type of each field.

    Args:
        line: a JSON object whose `kind` is one of `RECORDS`.
        before: as for `encode_record`.

    Raises:
        InvalidLine: a field is missing, unknown or of the wrong type.
    """
    kind = line["kind"]
    fields = RECORDS[kind]
    given = {"kind" if name == "of" else name: value for name, value in line.items() if name != "kind"}
    if lost := sorted(fields.keys() - given.keys()):
        raise InvalidLine(f"a record of the kind {kind!r} needs the field {lost[0]!r}")
    if unknown := sorted(given.keys() - fields.keys()):
        raise InvalidLine(
            f"a record of the kind {kind!r} has no field {unknown[0][:40]!r}; a newer version may have made it"
        )
    return ThreadRecord(kind, {name: _value(name, field, given[name], before) for name, field in fields.items()})


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line.

    Raises:
        InvalidLine: the line is not a JSON object with a kind.
    """
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidLine(f"it is not JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str | None):
        raise InvalidLine("it is no JSON object with a kind")
    return value


def checkpoint_values(record: ThreadRecord) -> Values | None:
    """Return the values to which the next checkpoint may refer; `None` for records of other kinds."""
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
    match field.type:
        case FieldType.BYTES:
            return _bytes(name, value)
        case FieldType.VALUES:
            return _values(name, value, before)
        case FieldType.KEY | FieldType.TEXT:
            fits = _is_key(value) if field.type is FieldType.KEY else type(value) is str and is_sql_text(value)
        case FieldType.INT | FieldType.LONG:
            fits = type(value) is int and -(2**31) <= value < 2 ** (31 if field.type is FieldType.INT else 63)
        case FieldType.TIME:
            fits = type(value) in {int, float} and math.isfinite(value) and FIRST_TIME <= value < LAST_TIME
            value = float(value) if fits else value
        case FieldType.JSON:
            fits = type(value) is dict
        case _:
            assert_never(field.type)
    if not fits:
        raise InvalidLine(f"the field {name!r} is not {field.type.value}")
    return value


def _is_key(value: Any) -> bool:
    return type(value) is str and is_sql_text(value) and len(value.encode()) <= LONGEST_KEY


def _values(name: str, value: Any, before: Values | None) -> dict[str, CanonicalValue]:
    if type(value) is not dict or not all(map(_is_key, value)):
        raise InvalidLine(f"the field {name!r} is not {FieldType.VALUES.value}")
    values: dict[str, CanonicalValue] = {}
    for channel, item in value.items():
        if item is None:
            if before is None or channel not in before:
                raise InvalidLine(f"the value of channel {channel[:40]!r} is null, and there is none before")
            values[channel] = before[channel]
        elif type(item) is list and len(item) == 2 and type(item[0]) is str:
            values[channel] = item[0], _bytes(name, item[1])
        else:
            raise InvalidLine(f"the value of channel {channel[:40]!r} is no type with bytes")
    return values
