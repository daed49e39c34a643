"""Any value as plain JSON, and any text as visible text. Pure, no I/O."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Final

# Characters that act on a terminal or a page, or that are invisible. The command line has the same list, because it
# reports a misspelt option without importing this package; a test compares the two.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Show control characters, direction overrides and invisible characters of a text as their code points."""
    return _UNSAFE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Make a text `visible` and put it in one line."""
    return visible(" ".join(text.split()))


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it. What JSON has no form for, such as NaN, becomes a text."""
    match value:
        case None | bool():
            return value
        case Enum():  # first, because an Enum may also be a number or a text
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


def ascii_json(value: Any) -> str:
    """Return plain JSON values as JSON in one line of ASCII, without a character that ends a tag or a comment."""
    text = json.dumps(value, allow_nan=False)
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def iso(at: datetime | None) -> str | None:
    """Format a time in ISO 8601, in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat()


def when(at: datetime) -> str:
    """Format a time for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso_to_text(text: str) -> str:
    """Format a time in ISO 8601 for people; return any other text unchanged."""
    try:
        return when(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        return text
