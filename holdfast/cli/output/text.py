"""Texts of models, tools and users, made fit for a terminal. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

# Control characters but for tab and newline, the invisible ones that nothing is written with, overrides of direction,
# surrogates, tags. Not the marks and joiners that languages and emojis need.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with whatever a terminal would act upon, or a person could not see, shown as its number.

    Escape sequences move the cursor and rewrite what was said; overrides of direction make an amount read backwards.
    """
    return _UNSAFE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def one_line(text: str) -> str:
    """`visible`, in one line."""
    return visible(" ".join(text.split()))


def shown_json(value: Any) -> str:
    """A value as JSON in one line, which reads as that value again; what `visible` would show is escaped."""
    return _UNSAFE.sub(lambda found: _escaped(found[0]), json.dumps(value, ensure_ascii=False, default=str))


def shortened(text: str, longest: int) -> str:
    """The beginning of a text, and how much there is more of it."""
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest:,} more characters)"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns, the first to the right and the others to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _escaped(sign: str) -> str:
    return json.dumps(sign)[1:-1]
