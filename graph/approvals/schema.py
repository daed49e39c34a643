"""JSON schemas of the answers to a request, for clients. They are self-contained: no references.

LangGraph makes the schema of an answer anew at each pause, and pydantic takes longer for that than a step takes to be
saved. A schema that is given to pydantic in advance costs nothing, but may not hold references, such as a tool's
schema has for an argument that is a model.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel

from holdfast.graph.approvals.arguments import arguments_schema

_DEFINITIONS = ("$defs", "definitions")


@cache
def model_schema(model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the JSON schema of a model."""
    return _without_references(model.model_json_schema())


def union_schema(*schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a value that fits one of the schemas, which its `type` names."""
    if len(schemas) == 1:
        return dict(schemas[0])
    return {"discriminator": {"propertyName": "type"}, "oneOf": list(schemas)}


def edit_schema(edit: type[BaseModel], tool: BaseTool) -> dict[str, Any]:
    """Return the JSON schema of an edit of a call.

    Args:
        edit: a model with the field `edited_action`, which has the `name` of a tool and its `args`.
        tool: the tool of the call. The schema allows its name and its arguments only.
    """
    schema = model_schema(edit)
    action = schema["properties"]["edited_action"]
    pinned = {
        "name": {"const": tool.name, "type": "string"},
        "args": _without_references(arguments_schema(tool)),
    }
    return {**schema, "properties": {**schema["properties"], "edited_action": {**action, "properties": pinned}}}


def _without_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with each reference replaced by its target. A recursive reference allows any value."""
    try:
        resolved = dereference_refs(dict(schema))
    except (LookupError, ValueError):
        # A tool's own JSON schema with a reference that leads nowhere. The tool's error for bad arguments says more.
        return {"type": "object"}
    return {name: part for name, part in resolved.items() if name not in _DEFINITIONS}
