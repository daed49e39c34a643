"""What is wrong with what a person typed, in words that need no knowledge of JSON. Pure."""

from __future__ import annotations

import json
from typing import Final

# By the beginning of Python's message.
_WORDS: Final = {
    "Expecting property name enclosed in double quotes": "a name in double quotes is missing",
    "Illegal trailing comma": "there is a comma too many",
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting value": "a value is missing, or a text is not in double quotes",
    "Extra data": "there is more behind the closing bracket",
    "Unterminated string": "a closing quote is missing",
    "Invalid control character": "a text has a line break in it",
    "Invalid \\escape": "a backslash has to be written twice",
}

# Characters before the place of an error that are shown.
_SHOWN: Final = 20


def json_problem(error: json.JSONDecodeError) -> str:
    """Return why a text is not JSON, and where, as the rest of a sentence."""
    why = next((words for begin, words in _WORDS.items() if error.msg.startswith(begin)), error.msg)
    before = error.doc[max(0, error.pos - _SHOWN) : error.pos]
    place = f"after {before!r}" if before.strip() else "at the beginning"
    return f"{why}, {place}"
