"""JSON that every database can hold, and the containment of JSON as PostgreSQL defines it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from holdfast.checkpoints.serde.messages import sql_text


def storable(value: Any) -> Any:
    """Return a value without the parts that JSONB refuses: NUL, lone surrogates, NaN and infinity."""
    if isinstance(value, str):
        return sql_text(value)
    if isinstance(value, Mapping):
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
    """Return `contains` for two JSON texts. A missing value contains only `{}`."""
    return contains(json.loads(value) if value is not None else {}, json.loads(wanted))
