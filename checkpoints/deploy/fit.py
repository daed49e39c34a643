"""Whether the values of channels fit the types that a graph declares. Pure, no I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, get_args

from langchain_core.messages import BaseMessage
from langgraph.channels import BinaryOperatorAggregate, LastValue
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

_ANY_TYPE: Final = ConfigDict(arbitrary_types_allowed=True)

# Values within values that are looked into.
_DEPTH: Final = 20


class Placeholder:
    """What stands for a message in a value that is looked at: it fits every type."""


class ChannelTypes:
    """The types of the channels of a graph, as far as values can be checked against them.

    A graph whose state is a pydantic model takes what pydantic takes, such as "2" for a number. Others take a value as
    it is, so there it has to be of the type.
    """

    def __init__(self, graph: Any) -> None:
        schema = getattr(getattr(graph, "builder", None), "state_schema", None)
        self._strict = not (isinstance(schema, type) and issubclass(schema, BaseModel))
        self._adapters: dict[str, TypeAdapter[Any]] = dict(_adapters(graph))
        self._declared = {name: graph.channels[name].ValueType for name in self._adapters}

    @property
    def channels(self) -> set[str]:
        """The channels whose values can be checked."""
        return set(self._adapters)

    def misfit(self, channel: str, value: Any) -> str | None:
        """Say why a value does not fit the type of its channel, without a word of the value; `None` if it fits."""
        try:
            self._validate(self._adapters[channel], value)
            for model in _models(value, _DEPTH):
                type(model).model_validate(dict(model.__dict__), by_name=True)
        except ValidationError as error:
            problems = [
                found for found in error.errors(include_url=False) if not isinstance(found["input"], Placeholder)
            ]
            return _told(problems[0], error.title, self._fields(channel)) if problems else None
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return f"its validator fails with {type(error).__name__}"
        return None

    def _validate(self, adapter: TypeAdapter[Any], value: Any) -> None:
        """Validate a value. What equals its conversion fits as well, such as an enum of texts for a text."""
        try:
            adapter.validate_python(value, strict=self._strict)
        except ValidationError:
            with suppress(Exception):
                if self._strict and adapter.validate_python(value) == value:
                    return
            raise

    def _fields(self, channel: str) -> set[str]:
        """Return the names of the fields in the type of a channel, at any depth."""
        found: set[str] = set()
        todo, seen = [self._declared[channel]], set[int]()
        while todo:
            part = todo.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            own = vars(part).get("__annotations__", {}) if isinstance(part, type) else {}
            found |= own.keys()
            todo += [*get_args(part), *(part.__mro__[1:] if own else ()), *own.values()]
        return found


def _adapters(graph: Any) -> Iterator[tuple[str, TypeAdapter[Any]]]:
    for name, channel in graph.channels.items():
        # What others, such as a `DeltaChannel` or a `Topic`, store is not of their type.
        if type(channel) in {LastValue, BinaryOperatorAggregate} and not _is_free(channel.ValueType):
            # Without a form of pydantic's for the annotation, nothing can be said.
            with suppress(Exception):
                yield name, _adapter(channel.ValueType)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    has_config = isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation) or hasattr(annotation, "__total__")
    )
    return TypeAdapter(annotation) if has_config else TypeAdapter(annotation, config=_ANY_TYPE)


def _is_free(annotation: Any) -> bool:
    """Return whether every value fits an annotation, or it is about messages, which fit as long as they can be read."""
    if annotation is Any or annotation is object:
        return True
    return any(
        isinstance(part, type) and issubclass(part, BaseMessage) for part in (annotation, *_arguments(annotation))
    )


def _arguments(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _arguments(argument)


def _models(value: Any, depth: int) -> Iterator[BaseModel]:
    """Yield the pydantic models in a value. One that no longer fits its class is loaded all the same."""
    if isinstance(value, BaseModel):
        yield value
    if not depth:
        return
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value
    elif isinstance(value, BaseModel):
        parts = value.__dict__.values()
    for part in parts:
        yield from _models(part, depth - 1)


def _told(problem: Mapping[str, Any], title: str, fields: Collection[str]) -> str:
    # A class's own validator may put the value into its message; and the key of a dict, or the place in a list, is a
    # part of the value.
    what = "a validator refuses it" if problem["type"] in {"value_error", "assertion_error"} else problem["msg"]
    place = ".".join(part if part in fields else "*" for part in problem["loc"])
    return f"{what} ({title}: {place})" if place else f"{what} ({title})"
