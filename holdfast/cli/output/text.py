"""Make the texts of models, tools and users safe to print on a terminal. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

# Control characters except tab and newline, invisible characters that no language is written with, overrides of the
# writing direction, surrogates and tags. The marks and joiners that languages and emojis need are not among them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Replace each character that a terminal would act on, or that a person could not see, by its number.

    Escape sequences can move the cursor and overwrite what was printed. An override of the writing direction can make
    an amount read backwards.
    """
    return _UNSAFE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def one_line(text: str) -> str:
    """Return `visible(text)` in one line."""
    return visible(" ".join(text.split()))


def shown_json(value: Any) -> str:
    """Return a value as JSON in one line. Unsafe characters are escaped, so the JSON still reads as that value."""
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=False, default=str))


def shortened(text: str, longest: int) -> str:
    """Cut a text after `longest` characters, and say how many were left out."""
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest:,} more characters)"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where needed."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Align rows in columns, the first to the right and the others to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
