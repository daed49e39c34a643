"""What pydantic finds wrong with a value, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "bytes_type": "bytes",
    "date_from_datetime_parsing": "a date, such as 2026-11-20",
    "date_parsing": "a date, such as 2026-11-20",
    "date_type": "a date",
    "datetime_from_date_parsing": "a date and time, such as 2026-11-20T09:30:00Z",
    "datetime_parsing": "a date and time, such as 2026-11-20T09:30:00Z",
    "datetime_type": "a date and time",
    "decimal_parsing": "a number",
    "decimal_type": "a number",
    "dict_type": "an object, {...}",
    "enum": "one of {expected}",
    "finite_number": "a number that is not infinite",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list, [...]",
    "literal_error": "{expected}",
    "model_type": "an object, {...}",
    "multiple_of": "a multiple of {multiple_of}",
    "none_required": "null",
    "set_type": "a list, [...]",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "string_too_long": "a text of at most {max_length} characters",
    "string_too_short": "a text of at least {min_length} characters",
    "string_type": "a text",
    "time_parsing": "a time, such as 09:30",
    "too_long": "of at most {max_length} parts",
    "too_short": "of at least {min_length} parts",
    "tuple_type": "a list, [...]",
    "uuid_parsing": "a UUID",
}

# Characters of a value that are shown.
_SHOWN: Final = 60


def needed(problem: Mapping[str, Any]) -> str | None:
    """Return what a value has to be, as the end of a sentence; `None` for a problem of another kind.

    Args:
        problem: one of `ValidationError.errors()`.
    """
    words = _KINDS.get(problem["type"])
    return None if words is None else words.replace("{...}", "{{...}}").format_map(problem.get("ctx") or {})


def unlike(problem: Mapping[str, Any]) -> str | None:
    """Return what a value is and what it has to be, as the end of a sentence; `None` as `needed`."""
    found = repr(problem["input"])
    shown = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}..."
    words = needed(problem)
    return None if words is None else f"is {shown}, and has to be {words}"
