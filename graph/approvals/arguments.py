"""Validation of a call's arguments against its tool: before a person is asked, and when a person edits them."""

from collections.abc import Mapping
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from holdfast.graph.words import unlike


def arguments_schema(tool: BaseTool) -> dict[str, Any]:
    """Return the JSON schema of the arguments that a caller of the tool gives, without those that LangChain injects."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    return schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()


def arguments_problem(tool: BaseTool, args: Mapping[str, Any]) -> str | None:
    """Describe why the arguments do not fit the tool, as a sentence for people and models. None if they fit.

    An unknown argument is a problem too: the tool would drop it silently, and the call that runs would not be the one
    that a person approved. A tool whose schema is plain JSON schema (an MCP tool) is checked for missing and unknown
    arguments only; the server behind it checks the rest.
    """
    model = _arguments_model(tool)
    known, required, takes_others = _argument_names(arguments_schema(tool), model)
    problems = [] if takes_others else [f"there is no argument '{name}'" for name in args if name not in known]
    if model is None:
        problems += [f"'{name}' is missing" for name in required if name not in args]
    else:
        try:
            model.model_validate(dict(args))
        except ValidationError as error:
            problems += [_sentence(detail) for detail in error.errors()]
    return "; ".join(problems) or None


def _arguments_model(tool: BaseTool) -> type[BaseModel] | None:
    public = tool.tool_call_schema
    if not (isinstance(public, type) and issubclass(public, BaseModel)):
        return None
    full = tool.get_input_schema()
    # The schema for models lacks the validators that the author wrote. The full one has them, and can be used if no
    # argument has to be injected into it first.
    if issubclass(full, BaseModel) and set(full.model_fields) == set(public.model_fields):
        return full
    return public


def _argument_names(schema: Mapping[str, Any], model: type[BaseModel] | None) -> tuple[set[str], list[str], bool]:
    """Return the names of all arguments, those of the required ones, and whether the tool takes others."""
    names, required = set(schema.get("properties", {})), list(schema.get("required", []))
    if model is None:
        return names, required, schema.get("additionalProperties") is not False
    # An argument with an alias is known by both names: the model takes either, or complains itself.
    for name, declared in model.model_fields.items():
        names |= {name, str(declared.validation_alias or name)}
    return names, required, model.model_config.get("extra") == "allow"


def _sentence(detail: ErrorDetails) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"'{name}' is missing"
    if name and (words := unlike(detail)):
        return f"'{name}' {words}"
    text = detail["msg"].removeprefix("Value error, ")
    return f"'{name}': {text}" if name else text
