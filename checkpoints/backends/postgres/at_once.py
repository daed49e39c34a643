"""Several statements as one, so that they need one round trip and no transaction around them. No I/O.

Each statement becomes a common table expression. All of them see the database as it was before, and either all are
carried out or none: https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING. If a statement
that must find exactly one row does not, the whole divides by zero, and the server undoes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from holdfast.checkpoints.backends.base import Call

_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")


class _Combined(NamedTuple):
    text: bytes
    names: list[tuple[int, str]]
    """Of each parameter the statement that it belongs to, and its name there."""


def combine(required: Sequence[Call], calls: Sequence[Call]) -> tuple[bytes, list[Any]]:
    """Return one statement that does what several do, and its parameters in order.

    It returns what the first required one returns in its first column, which must be named `generation`.

    Args:
        required: statements that must find exactly one row each.
        calls: statements that may find any number.
    """
    every: list[Mapping[str, Any]] = [params for _, params in (*required, *calls)]
    combined = _combined(tuple(call[0].text for call in (*required, *calls)), len(required))
    return combined.text, [every[number][name] for number, name in combined.names]


# The texts are our own. Few combinations are in use: they differ in the number of rows, values and writes.
@lru_cache(maxsize=512)
def _combined(texts: tuple[str, ...], required: int) -> _Combined:
    places: dict[tuple[int, str], int] = {}
    parts = []
    for number, text in enumerate(texts):

        def numbered(match: re.Match[str], number: int = number) -> str:
            return f"${places.setdefault((number, match[1]), len(places) + 1)}"

        parts.append(f"c{number} AS ({_PARAMETER.sub(numbered, ' '.join(text.split()))})")
    found = " AND ".join(f"(SELECT count(*) FROM c{number}) = 1" for number in range(required))  # noqa: S608 - numbers
    check = f"SELECT (SELECT generation FROM c0) AS generation, 1 / CASE WHEN {found} THEN 1 ELSE 0 END AS saved"  # noqa: S608 - as above
    return _Combined(f"WITH {', '.join(parts)} {check}".encode(), list(places))
