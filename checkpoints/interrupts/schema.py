"""Whether an answer fits a JSON schema, as far as the schemas of answers go. Pure, no I/O.

Pydantic checks the answer again when it is carried out, and takes a number that is written as text. So what is not
understood here fits, and so does text in the place of a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# References within references: a schema of arguments may be recursive.
_DEEPEST: Final = 50

_SCALARS: Final = {
    "string": str,
    "integer": int | float | str,
    "number": int | float | str,
    "boolean": bool | int | str,
}


def misfit(schema: Any, value: Any) -> str | None:
    """Say why a value does not fit a schema; `None` if it fits."""
    return _misfit(schema, value, schema, (), _DEEPEST)


def _misfit(schema: Any, value: Any, root: Any, where: tuple[str, ...], left: int) -> str | None:
    if not isinstance(schema, Mapping) or not left:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        definitions = root.get("$defs", root.get("definitions", {}))
        return _misfit(definitions.get(reference.rpartition("/")[2]), value, root, where, left - 1)
    if options := schema.get("oneOf") or schema.get("anyOf"):
        return _misfit_of_all(_candidates(options, value, root), value, root, where, left)
    if "const" in schema and value != schema["const"]:
        return f"{_place(where)} is {value!r}; needed is {schema['const']!r}"
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        return f"{_place(where)} is {value!r}; needed is one of {schema['enum']!r}"
    if schema.get("type") == "object":
        return _misfit_of_object(schema, value, root, where, left)
    if schema.get("type") == "array":
        return _misfit_of_array(schema, value, root, where, left)
    scalar = _SCALARS.get(schema.get("type", ""))
    if scalar is not None and not isinstance(value, scalar):
        return f"{_place(where)} is {value!r}; needed is a {schema['type']}"
    if schema.get("type") == "integer" and isinstance(value, str) and not value.strip().lstrip("+-").isdigit():
        return f"{_place(where)} is {value!r}; needed is an integer"
    if schema.get("type") == "null" and value is not None:
        return f"{_place(where)} is {value!r}; needed is null"
    return None


def _candidates(options: list[Any], value: Any, root: Any) -> list[Any]:
    """Return the options that the `type` of a value names, or all of them."""
    if not isinstance(value, Mapping) or "type" not in value:
        return options

    def tag(option: Any) -> Any:
        target = option
        if isinstance(option, Mapping) and isinstance(option.get("$ref"), str):
            target = root.get("$defs", {}).get(option["$ref"].rpartition("/")[2], {})
        return target.get("properties", {}).get("type", {}).get("const") if isinstance(target, Mapping) else None

    return [option for option in options if tag(option) == value["type"]] or options


def _misfit_of_all(options: list[Any], value: Any, root: Any, where: tuple[str, ...], left: int) -> str | None:
    problems = [_misfit(option, value, root, where, left - 1) for option in options]
    return None if None in problems else problems[0]


def _misfit_of_object(
    schema: Mapping[str, Any], value: Any, root: Any, where: tuple[str, ...], left: int
) -> str | None:
    if not isinstance(value, Mapping):
        return f"{_place(where)} is {value!r}; needed is an object"
    known = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            return f"{_place((*where, name))} is missing"
    for name, item in value.items():
        if name in known:
            if problem := _misfit(known[name], item, root, (*where, str(name)), left - 1):
                return problem
        elif schema.get("additionalProperties") is False:
            return f"{_place((*where, str(name)))} means nothing there"
    return None


def _misfit_of_array(schema: Mapping[str, Any], value: Any, root: Any, where: tuple[str, ...], left: int) -> str | None:
    if not isinstance(value, list | tuple):
        return f"{_place(where)} is {value!r}; needed is a list"
    for number, item in enumerate(value):
        if problem := _misfit(schema.get("items"), item, root, (*where, str(number)), left - 1):
            return problem
    return None


def _place(where: tuple[str, ...]) -> str:
    return f'"{".".join(where)}"' if where else "it"
