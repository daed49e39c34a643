"""Conversion of times: from the forms that callers may use, and to datetimes. Pure."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, TypeAlias

from holdfast.checkpoints.errors import InvalidArgument

Moment: TypeAlias = datetime | date | str | float
"""A `datetime` with an offset; a `date`: its midnight in UTC; ISO 8601 text for one of these; or epoch seconds."""

_NEEDED: Final = (
    "Needed: a datetime with an offset (datetime.now(UTC)), a date (its midnight in UTC), ISO 8601 text such as "
    "'2026-11-01T09:30:00+00:00' or '2026-11-01', or epoch seconds as a finite number."
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SHOWN: Final = 60  # characters of a wrong value


def epoch_seconds(value: Moment, name: str, *, zone: tzinfo | None = None) -> float:
    """Convert a time to epoch seconds.

    Args:
        value: the time; see `Moment`.
        name: the name of the argument, for the error.
        zone: the time zone of a datetime or a text without an offset. By default such a time is refused, because a
            guess can be wrong by hours.

    Raises:
        InvalidArgument: the value is not a time, or has no offset.
    """
    try:
        seconds = _seconds(value, zone)
    except (ValueError, OverflowError):  # not a time, or out of range
        seconds = None
    if seconds is None or not math.isfinite(seconds):
        raise InvalidArgument(f"{name} is no time: found {_shown(value)}. {_NEEDED}")
    return seconds


def epoch_seconds_if_given(value: Moment | None, name: str) -> float | None:
    """Convert a time that may be left out; see `epoch_seconds`.

    Raises:
        InvalidArgument: the value is not a time, or has no offset.
    """
    return None if value is None else epoch_seconds(value, name)


def utc_datetime(seconds: float) -> datetime:
    """Convert epoch seconds, as databases have them, to a datetime in UTC.

    It is rounded down, so that what is asked for since that time includes it. What is no time of the calendar, in
    a row that was altered, becomes the first or the last that there is.
    """
    try:
        whole = math.floor(seconds)
        # Apart: the whole number of microseconds since 1970 is rounded from the year 2041 on.
        return _EPOCH + timedelta(seconds=whole, microseconds=math.floor((seconds - whole) * 1e6))
    except (ValueError, OverflowError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)
    except TypeError:  # SQLite's columns take values of any type
        return datetime.min.replace(tzinfo=UTC)


def nearest_microsecond(seconds: float) -> float:
    """Return a time in epoch seconds, rounded so that `utc_datetime` returns the nearest microsecond and not one less.

    A number such as 1614600000.1 is a little less than the decimals say.
    """
    whole = math.floor(seconds)
    microseconds = round((seconds - whole) * 1e6)
    rounded = whole + microseconds / 1e6
    return rounded if (rounded - whole) * 1e6 >= microseconds else math.nextafter(rounded, math.inf)


def _seconds(value: object, zone: tzinfo | None) -> float | None:
    match value:
        case bool():  # a subclass of int
            return None
        case int() | float():
            return float(value)
        case datetime():
            return _of_datetime(value, zone)
        case date():
            return datetime.combine(value, time(), UTC).timestamp()
        case str():
            return _of_text(value.strip(), zone)
        case _:
            return None


def _of_text(text: str, zone: tzinfo | None) -> float | None:
    try:
        return _seconds(date.fromisoformat(text), zone)
    except ValueError:
        return _of_datetime(datetime.fromisoformat(text), zone)


def _of_datetime(value: datetime, zone: tzinfo | None) -> float | None:
    if value.utcoffset() is not None:
        return value.timestamp()
    return None if zone is None else value.replace(tzinfo=zone).timestamp()


def _shown(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, datetime) and value.utcoffset() is None:
        return f"a datetime without an offset, {value.isoformat()}"
    if not isinstance(value, str | float | date | bool):  # such as an integer of a million digits
        return kind if not isinstance(value, int) else f"an integer of {value.bit_length():,} bits"
    text = repr(value)
    return f"{kind} {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"
