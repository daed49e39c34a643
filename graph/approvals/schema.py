"""What a client is told about the answers to a pause: JSON schemas without references.

LangGraph makes the schema of an answer anew at each pause, and pydantic takes longer for that than a step takes to be
saved. A schema that is given beforehand costs nothing, but pydantic refuses references in it, such as a tool's to the
model of one of its arguments.
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
def form_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """The JSON schema of a model."""
    return _flat(model.model_json_schema())


def one_of(*forms: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of what is one of these, by its `type`."""
    if len(forms) == 1:
        return dict(forms[0])
    return {"discriminator": {"propertyName": "type"}, "oneOf": list(forms)}


def edit_form(edit: type[BaseModel], tool: BaseTool) -> dict[str, Any]:
    """The JSON schema of an edit: of the form of `edit`, for one tool.

    Args:
        edit: with `edited_action`, which has the `name` of a tool and its `args`.
        tool: what the edited call is to call.
    """
    form = form_of(edit)
    action = form["properties"]["edited_action"]
    pinned = {"name": {"const": tool.name, "type": "string"}, "args": _flat(arguments_schema(tool))}
    return {**form, "properties": {**form["properties"], "edited_action": {**action, "properties": pinned}}}


def _flat(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with what it refers to in its place. Where something refers to itself, anything may stand."""
    try:
        found = dereference_refs(dict(schema))
    except (
        LookupError,
        ValueError,
    ):  # of a tool whose schema is not ours, and leads nowhere; the tool itself says more
        return {"type": "object"}
    return {name: part for name, part in found.items() if name not in _DEFINITIONS}
