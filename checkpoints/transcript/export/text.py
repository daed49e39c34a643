"""Any value as JSON has it, and any text as people can see it. Pure."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Final

# What acts instead of being seen, as the command line has it too (a test holds the two together): that one must not
# import this package to say that an option is misspelt.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with control characters, overrides of direction and invisible signs shown as their numbers."""
    return _UNSAFE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`visible`, in one line."""
    return visible(" ".join(text.split()))


def plain(value: Any) -> Any:
    """The value in what JSON has a form for: a number that is none, and whatever else has no form there, is a text."""
    match value:
        case None | bool():
            return value
        case Enum():  # which may be a number or a text as well
            return plain(value.value)
        case int():
            return int(value)
        case str():
            return str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {key if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case date():  # and datetime
            return value.isoformat()
    return str(value)


def iso(at: float | None) -> str | None:
    """Epoch seconds in ISO 8601, in UTC."""
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # no time that a calendar has
        return None


def when(at: float) -> str:
    """Epoch seconds for people."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"at {at} s"


def when_said(text: str) -> str:
    """A time in ISO 8601 for people; anything else as it is."""
    try:
        return when(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        return text
