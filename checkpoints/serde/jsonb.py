"""JSON that every database can hold, and the containment of JSON as PostgreSQL defines it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from holdfast.checkpoints.serde.messages import sql_text

# Deeper than any metadata, and not too deep for a parser of JSON.
_LONGEST_PATH: Final = 50


def storable(value: Any) -> Any:
    """Return a value without the parts that JSONB refuses: NUL, lone surrogates, NaN and infinity."""
    kind = type(value)
    if kind is str:
        return sql_text(value)
    if value is None or kind is int or kind is bool:
        return value
    if isinstance(value, str):
        return sql_text(value)
    if kind is dict or isinstance(value, Mapping):
        return {sql_text(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def contains(value: Any, wanted: Any) -> bool:
    """Return `value @> wanted` as PostgreSQL defines it: https://www.postgresql.org/docs/current/datatype-json.html#JSON-CONTAINMENT"""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and contains(value[key], item) for key, item in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(contains(there, item) for there in value) for item in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


def text_contains(value: str | bytes | None, wanted: str) -> bool:
    """Return `contains` for two JSON texts. A missing value contains only `{}`.

    True as well if the value is no JSON: it may contain this, and whoever reads it reports the damage.
    """
    try:
        there = json.loads(value) if value is not None else {}
    except ValueError:
        return True
    return contains(there, json.loads(wanted))


def contained_by(filter: Mapping[str, Any]) -> list[tuple[dict[str, Any], ...]]:
    """Return what metadata must contain to match the filter of a `list`: of each group, at least one.

    A key with dots is a key of that name, as for LangGraph's savers for memory and PostgreSQL, or a path, as for its
    saver for SQLite: `{"user.name": "ada"}` matches `{"user": {"name": "ada"}}` as well.
    """
    groups: list[tuple[dict[str, Any], ...]] = []
    plain: dict[str, Any] = {}
    for key, value in storable(filter).items():
        parts = key.split(".")
        if not 1 < len(parts) <= _LONGEST_PATH:
            plain[key] = value
            continue
        nested = value
        for part in reversed(parts):
            nested = {part: nested}
        groups.append(({key: value}, nested))
    return [(plain,), *groups] if plain else groups
