"""The types of data that a graph names: in its state, in the inputs of its nodes, and inside of these. No I/O."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

from typing_extensions import is_typeddict

# What makes a class one of data: pydantic's models of both versions, attrs' classes.
_MARKS: Final = ("model_fields", "__fields__", "__attrs_attrs__")


def types_of_graph(graph: Any) -> set[type]:
    """Return the types of data that a compiled graph names. Anything else than a graph names none."""
    builder, channels = getattr(graph, "builder", None), getattr(graph, "channels", None)
    schemas = list(getattr(builder, "schemas", ()))
    if isinstance(channels, dict):
        for channel in channels.values():
            schemas += [getattr(channel, "ValueType", None), getattr(channel, "UpdateType", None)]
        if builder is None:
            schemas += _of_workflow(graph)
    return types_in(schemas)


def _of_workflow(graph: Any) -> Iterator[Any]:
    """Yield what the function of an `@entrypoint` takes and returns. LangGraph does not resolve its annotations."""
    for node in getattr(graph, "nodes", {}).values():
        bound = getattr(node, "bound", None)
        for function in (getattr(bound, "func", None), getattr(bound, "afunc", None)):
            hints = _hints(inspect.unwrap(function)) if callable(function) else {}
            yield from [*hints.values()][:1]
            yield hints.get("return")


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may name what exists only for a type checker
        return {}


def types_in(annotations: Iterable[Any]) -> set[type]:
    """Return the types of data in some annotations, and those that their fields name, at any depth."""
    found: set[type] = set()
    seen: dict[int, Any] = {}  # keeps the annotations, whose ids must not be used again meanwhile
    todo = list(annotations)
    while todo:
        annotation = todo.pop()
        if annotation is None or id(annotation) in seen:
            continue
        seen[id(annotation)] = annotation
        if isinstance(annotation, type) and _is_data(annotation):
            found.add(annotation)
        todo += _parts(annotation)
    return found


def _is_data(kind: type) -> bool:
    if dataclasses.is_dataclass(kind) or issubclass(kind, Enum):
        return True
    if issubclass(kind, tuple):
        return hasattr(kind, "_fields")
    return not is_typeddict(kind) and any(inspect.getattr_static(kind, mark, None) is not None for mark in _MARKS)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation consists of."""
    if isinstance(annotation, (list, tuple)):  # the parameters of a `Callable`
        yield from annotation
    elif isinstance(annotation, TypeVar):
        yield annotation.__bound__
        yield from annotation.__constraints__
    elif (origin := get_origin(annotation)) is not None:
        args = get_args(annotation)
        if origin is Literal:
            yield from map(type, args)
        else:
            yield origin
            yield from args[:1] if origin is Annotated else args
    elif (supertype := getattr(annotation, "__supertype__", None)) is not None:  # a `NewType`
        yield supertype
    elif not isinstance(annotation, type):
        yield getattr(annotation, "__value__", None)  # a type with a name of its own
    elif _is_data(annotation) or is_typeddict(annotation):
        yield from _annotations(annotation)


def _annotations(kind: type) -> Iterator[Any]:
    """Yield the annotations of the fields of a class. One that cannot be resolved names nothing."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    yield generic.get("origin")
    yield from generic.get("args", ())
    fields = inspect.getattr_static(kind, "__pydantic_fields__", None)
    if isinstance(fields, dict):  # resolved, and with the arguments of a generic model
        for field in fields.values():
            yield getattr(field, "annotation", None)
        return
    try:
        yield from typing.get_type_hints(kind, include_extras=True).values()
    except Exception:  # noqa: BLE001 - an annotation may name what exists only for a type checker
        for base in kind.__mro__:
            for name, annotation in inspect.get_annotations(base).items():
                yield _resolved(base, name, annotation)


def _resolved(kind: type, name: str, annotation: Any) -> Any:
    alone = type(kind.__name__, (), {"__annotations__": {name: annotation}, "__module__": kind.__module__})
    try:
        return typing.get_type_hints(alone, localns=dict(vars(kind)), include_extras=True)[name]
    except Exception:  # noqa: BLE001 - as above
        return None
