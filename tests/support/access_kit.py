"""Every request that an OpenAPI description knows, about what belongs to one user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx

# Seconds in which a stream tells what it has. Others than streams have ended by then, or the test fails.
_MOMENT: Final = httpx.Timeout(20, read=3)

METHODS: Final = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for what belongs to a user."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {'' if self.body is None else self.body}"

    def about(self, other: Mapping[str, str], own: Mapping[str, str]) -> Attempt:
        """Return the same request about another thread."""
        path = self.path.replace(own["thread_id"], other["thread_id"])
        return Attempt(self.method, path, _replaced(self.body, own["thread_id"], other["thread_id"]), self.query)

    def told(self, client: httpx.Client, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send it, and return the status and what was told within a moment, of a stream as well."""
        body = {} if self.body is None else {"json": self.body}
        chunks: list[str] = []
        with client.stream(
            self.method, self.path, params=self.query, headers=dict(headers), timeout=_MOMENT, **body
        ) as response:
            with suppress(httpx.ReadTimeout):
                chunks += response.iter_text()
            return response.status_code, "".join(chunks)

    def send(self, client: httpx.Client, headers: Mapping[str, str]) -> httpx.Response:
        """Send it, and read at most the beginning of a stream that goes on."""
        body = {} if self.body is None else {"json": self.body}
        with client.stream(self.method, self.path, params=self.query, headers=dict(headers), **body) as response:
            goes_on = response.headers.get("content-type", "").startswith("text/event-stream")
            if not goes_on or response.status_code >= 400:
                response.read()
            return response


def attempts_of(spec: Mapping[str, Any], ids: Mapping[str, str]) -> Iterator[Attempt]:
    """Yield requests for each operation of an OpenAPI description, with a user's ids wherever an id belongs.

    Args:
        spec: the description.
        ids: by the name of a parameter or a field, such as `thread_id`.
    """
    for path, operations in spec["paths"].items():
        filled = re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], ids["thread_id"]), path)
        for method in METHODS:
            if method not in operations:
                continue
            operation = operations[method]
            query = {
                parameter["name"]: ids[parameter["name"]]
                for parameter in operation.get("parameters", ())
                if parameter.get("in") == "query" and parameter["name"] in ids
            }
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            bodies = [None] if schema is None else [_example(spec, schema, ids, full=full) for full in (False, True)]
            for body in bodies if len(bodies) == 1 or bodies[0] != bodies[1] else bodies[:1]:
                yield Attempt(method.upper(), filled, body, query)


def _example(spec: Mapping[str, Any], schema: Mapping[str, Any], ids: Mapping[str, str], *, full: bool) -> Any:
    """Return a value that fits a schema: with what is required, or with all that names something as well."""
    if "$ref" in schema:
        *_, kind, name = schema["$ref"].split("/")
        return _example(spec, spec["components"][kind][name], ids, full=full)
    for several in ("allOf", "anyOf", "oneOf"):
        if several in schema:
            return _example(spec, schema[several][0], ids, full=full)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "array":
            return [_example(spec, schema.get("items", {}), ids, full=full)]
        case "object":
            return {
                name: _named(spec, name, inner, ids, full=full)
                for name, inner in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or (full and _names_something(name, ids))
            }
        case "integer" | "number":
            return 1
        case "boolean":
            return False
        case _:
            return ids["thread_id"] if schema.get("format") == "uuid" else "text"


def _named(spec: Mapping[str, Any], name: str, schema: Mapping[str, Any], ids: Mapping[str, str], *, full: bool) -> Any:
    if name in ids:
        return ids[name]
    if name == "ids":
        return [ids["thread_id"]]
    if name.endswith("_ids") and name.removesuffix("s") in ids:
        return [ids[name.removesuffix("s")]]
    if name in ("namespace", "namespace_prefix", "prefix"):
        return [ids["user_id"]]
    return _example(spec, schema, ids, full=full)


def _names_something(name: str, ids: Mapping[str, str]) -> bool:
    return name in ids or name == "ids" or name.endswith("_ids") or name in ("namespace", "prefix", "input")


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return new if value == old else value
