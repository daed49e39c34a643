"""The check of a caller's arguments by their annotations, so that a wrong type is told and compared with nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, iscoroutinefunction, isfunction, signature
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from holdfast.checkpoints.errors import InvalidArgument
from holdfast.checkpoints.langgraph_internals import OF_THE_RUN
from holdfast.checkpoints.moments import Moment

P = ParamSpec("P")
T = TypeVar("T")

# What names a thread or a user may also be a number or a UUID, as in LangGraph's configs. It is stored as text.
_IDS: Final = ("thread_id", "user_id", "target")

_TAKEN: Final = OF_THE_RUN | {"user_id"}
_OURS: Final = "holdfast_"

_COLLECTIONS: Final = ("builtins", "collections.abc")

_MOMENT: Final = frozenset(get_args(Moment))

_NAMES: Final[Mapping[Any, str]] = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Make the function that checks the types of its arguments before it does anything.

    An argument is checked if its annotation says which class it has. A time is left to `moments`.

    Raises, from the function:
        TypeError: an argument is of another type; the error names the argument and what is needed.
    """
    checks: _Checks | None = None

    @wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal checks
        if checks is None:  # now, since the names in annotations may have been defined later
            checks = _Checks.of(function)
        given: Any = args
        named: Any = kwargs
        # A value of the very class that is annotated passes here: nearly every one does.
        for place, (check, value) in enumerate(zip(checks.positional, args, strict=False)):
            if check is not None and type(value) not in check.exact:
                given = (*given[:place], check(value), *given[place + 1 :])
        for name, value in kwargs.items():
            check = checks.by_name.get(name)
            if check is not None and type(value) not in check.exact:
                named[name] = check(value)
        if checks.rest is not None:
            for value in args[len(checks.positional) :]:
                checks.rest(value)
        return function(*given, **named)

    return checking


def checks_arguments(class_: type[T]) -> type[T]:
    """Make each public method of a class check the types of its arguments; see `checked`."""
    for name, method in list(vars(class_).items()):
        # A twin for event loops calls its method, which checks.
        if not name.startswith("_") and isfunction(method) and not iscoroutinefunction(method):
            setattr(class_, name, checked(method))
    return class_


def check_count(value: int, name: str) -> None:
    """Check a maximum number of results.

    Raises:
        InvalidArgument: it is below 1.
    """
    if value < 1:
        raise InvalidArgument(f"{name} is {value}. Needed: a number of at least 1.")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Check the metadata that a caller gives a thread or a run.

    Raises:
        TypeError: a value is no text, number or truth value: LangGraph drops any other.
        ValueError: a name is one of LangGraph's or Holdfast's own.
    """
    for name, value in metadata.items():
        if name in _TAKEN or name.startswith(_OURS):
            raise ValueError(f"metadata has the name {name!r}. Needed: a name that LangGraph and Holdfast do not use.")
        if not isinstance(value, str | int | float):
            raise TypeError(f"metadata has {_found(value)} as {name!r}. Needed: a text, a number, True or False.")


class _Check:
    """The check of one argument."""

    def __init__(self, name: str, hint: Any) -> None:
        self._name = name
        self._hint = hint
        self._is_id = name in _IDS
        self.exact = frozenset(option for option in _options(hint) if isinstance(option, type))
        """The classes whose own instances pass."""

    def __call__(self, value: Any) -> Any:
        """Return the value; an id as text.

        Raises:
            TypeError: it is of another type.
        """
        if self._is_id and isinstance(value, int | float | UUID) and not isinstance(value, bool):
            return str(value)
        if not any(_fits(value, option) for option in _options(self._hint)):
            raise TypeError(f"{self._name} is {_found(value)}. Needed: {_needed(self._hint)}.")
        return value


class _Checks(NamedTuple):
    """The checks of a function."""

    positional: list[_Check | None]
    """`None` for an argument that is not checked."""
    rest: _Check | None
    """The check of each of `*args`."""
    by_name: dict[str, _Check | None]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> _Checks:
        hints = get_type_hints(function)
        checks = {
            parameter: None if _is_free(hint := hints.get(name, Any)) else _Check(name, hint)
            for name, parameter in signature(function).parameters.items()
        }
        return cls(
            [check for parameter, check in checks.items() if parameter.kind <= Parameter.POSITIONAL_OR_KEYWORD],
            next((check for parameter, check in checks.items() if parameter.kind is Parameter.VAR_POSITIONAL), None),
            {parameter.name: check for parameter, check in checks.items()},
        )


def _is_free(hint: Any) -> bool:
    """Return whether an annotation needs no check: it takes all, or is a time."""
    return hint is Any or set(_options(hint)) >= _MOMENT


def _fits(value: Any, option: Any) -> bool:
    """Return whether a value is of an annotated type, which is no union. What does not name a class fits."""
    kind: Any = get_origin(option) or option
    if kind is Literal:
        return isinstance(value, tuple({type(choice) for choice in get_args(option)}))
    if kind is Any or not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True
    if get_args(option) and kind.__module__ not in _COLLECTIONS:  # such as a graph, which has a check of its own
        return True
    if is_typeddict(kind):
        kind = dict
    if isinstance(value, bool):
        return kind is bool or kind is object
    if isinstance(value, str | bytes):  # a text is no list of texts
        return issubclass(kind, str | bytes) and isinstance(value, kind)
    if not isinstance(value, (int, float) if kind is float else kind):
        return False
    items: Any = value
    return not _has_texts(option) or all(isinstance(item, _options(get_args(option)[0])) for item in items)


def _has_texts(option: Any) -> bool:
    """Return whether a type is that of a list of texts."""
    items = get_args(option)
    return len(items) == 1 and set(_options(items[0])) <= {str, NoneType}


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (NoneType if hint is None else hint,)


def _found(value: Any) -> str:
    """Return the type of a value in words. What it holds may be private."""
    name = type(value).__name__
    items = {type(item).__name__ for item in value} if isinstance(value, list | tuple) else set()
    return f"a {name} of {' and '.join(sorted(items))}" if items else f"a {name}"


def _needed(hint: Any) -> str:
    return " or ".join(map(_needed_one, _options(hint)))


def _needed_one(option: Any) -> str:
    if get_origin(option) is Literal:
        return "one of " + ", ".join(map(repr, get_args(option)))
    name = getattr(get_origin(option) or option, "__name__", str(option))
    return _NAMES.get(option, f"a {name} of texts" if _has_texts(option) else f"a {name}")
