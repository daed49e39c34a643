"""Whether the arguments of a call fit its tool: asked before a person is, and again when a person edits them."""

from collections.abc import Mapping
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError


def arguments_schema(tool: BaseTool) -> dict[str, Any]:
    """The JSON schema of what a caller of the tool gives; what LangChain injects by itself is not in it."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    return schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()


def arguments_problem(tool: BaseTool, args: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments, as a sentence for people and models; None if they fit.

    An argument that the tool does not know is a problem too: the tool would drop it silently, and what a person
    approved would not be what runs. A tool whose schema is plain JSON schema (an MCP tool) is checked for missing and
    unknown arguments only; the rest is for the server behind it.
    """
    known, required, open_ended = _names(tool)
    problems = [] if open_ended else [f"there is no argument '{name}'" for name in args if name not in known]
    model = _model(tool)
    if model is None:
        problems += [f"'{name}' is missing" for name in required if name not in args]
    else:
        try:
            model.model_validate(dict(args))
        except ValidationError as error:
            problems += [_sentence(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
    return "; ".join(problems) or None


def _model(tool: BaseTool) -> type[BaseModel] | None:
    seen = tool.tool_call_schema
    if not (isinstance(seen, type) and issubclass(seen, BaseModel)):
        return None
    full = tool.get_input_schema()
    # The schema that models see lacks validators that the author wrote. The full one can be asked for only if
    # nothing has to be injected into it first.
    if issubclass(full, BaseModel) and set(full.model_fields) == set(seen.model_fields):
        return full
    return seen


def _names(tool: BaseTool) -> tuple[set[str], list[str], bool]:
    """The names of the arguments, those that are required, and whether others are welcome."""
    schema = arguments_schema(tool)
    names, required = set(schema.get("properties", {})), list(schema.get("required", []))
    model = _model(tool)
    if model is None:
        return names, required, schema.get("additionalProperties") is not False
    # Both names of an aliased argument: the model takes either, or says so itself.
    for name, declared in model.model_fields.items():
        names |= {name, str(declared.validation_alias or name)}
    return names, required, model.model_config.get("extra") == "allow"


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(str(part) for part in loc)
    if kind == "missing":
        return f"'{name}' is missing"
    text = message.removeprefix("Value error, ")
    return f"'{name}': {text}" if name else text
