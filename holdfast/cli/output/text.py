"""Make the texts of models, tools and users safe to print on a terminal. All but `terminal_width` are pure."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import Any, Final

# Control characters except tab and newline, invisible characters that no language is written with, overrides of the
# writing direction, surrogates and tags. The marks and joiners that languages and emojis need are not among them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)

# The last column of a table is not cut below this.
_NARROWEST: Final = 20


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


def terminal_width() -> int | None:
    """Return the width of the terminal that standard output goes to; `None` if it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def columns(rows: list[tuple[str, ...]], width: int | None = None) -> list[str]:
    """Align rows in columns, the first to the right and the others to the left.

    Args:
        rows: the texts of each row.
        width: the width to keep to, by cutting the last column; `None` to cut nothing.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        widths[-1] = max(_NARROWEST, min(widths[-1], width - sum(widths[:-1]) - 2 * (len(widths) - 1)))
        rows = [(*row[:-1], _cut(row[-1], widths[-1])) for row in rows]
    return [
        "  ".join(
            cell.ljust(width) if place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
