"""Spares the tests what LangGraph, LangChain and Pydantic work out anew for each graph and each tool."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


def spare_repeated_work() -> None:
    """Work out once what is worked out anew for each graph and each tool, of which every test makes some."""
    from langchain_core.tools import base, structured
    from langgraph._internal import _serde
    from pydantic._internal import _fields

    from holdfast.checkpoints.serde.types import schemas

    # What the types in a state are made of: most of what a small graph costs.
    _serde._safe_get_type_hints = cache(_serde._safe_get_type_hints)
    _serde.collect_allowlist_from_schemas = _once_for_the_same_types(_serde.collect_allowlist_from_schemas)
    of_fields = schemas._annotations
    schemas._is_data = cache(schemas._is_data)
    schemas._annotations = cache(lambda kind: [*of_fields(kind)])  # type: ignore[assignment]
    # What a model sees of a tool.
    structured.create_schema_from_function = _once_for_each_function(structured.create_schema_from_function)
    base._create_subset_model = _once_for_each_model(base._create_subset_model)
    _fields.takes_validated_data_argument = cache(_fields.takes_validated_data_argument)


def _once_for_the_same_types(collect: Callable[..., set[Any]]) -> Callable[..., set[Any]]:
    made: dict[Any, set[Any]] = {}

    def collected(*, schemas: Any = None, channels: Any = None) -> set[Any]:
        said = [
            getattr(channel, of, None) for channel in (channels or {}).values() for of in ("ValueType", "UpdateType")
        ]
        kinds = (*(schemas or ()), *said)
        try:
            found = made.get(kinds)
        except TypeError:  # one of them has no hash
            return collect(schemas=schemas, channels=channels)
        if found is None:
            found = made[kinds] = collect(schemas=schemas, channels=channels)
        return set(found)

    return collected


def _once_for_each_model(make: Callable[..., Any]) -> Callable[..., Any]:
    made: dict[Any, Any] = {}

    def subset(name: str, model: type, fields: list[str], **options: Any) -> Any:
        key = (name, model, repr([fields, options]))
        if key not in made:
            made[key] = make(name, model, fields, **options)
        return made[key]

    return subset


def _once_for_each_function(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make one schema for all tools from the same lines: each test makes its tools anew, a quarter of what it costs."""
    made: dict[Any, Any] = {}

    def schema(name: str, function: Any, **options: Any) -> Any:
        hints = getattr(function, "__annotations__", {})
        parts = ("__doc__", "__defaults__", "__kwdefaults__")
        said = repr([options, [getattr(function, part, None) for part in parts]])
        key = (getattr(function, "__code__", None), name, said, tuple((hint, id(of)) for hint, of in hints.items()))
        if key[0] is None:
            return make(name, function, **options)
        if key not in made:
            made[key] = dict(hints), make(name, function, **options)  # the types stay, so that their ids do
        return made[key][1]

    return schema
