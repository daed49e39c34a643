"""Values from what was stored of them: a type's name, and what the value consists of. No I/O, no import.

A value becomes its type again if `Types` finds the type, and the type is one of data. Otherwise, or if the type refuses
what was stored, the value becomes what it consists of, as with the stock serializer, and a warning is logged.
"""

from __future__ import annotations

import dataclasses
import decimal
import inspect
import ipaddress
import pathlib
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any, Final

from langgraph.checkpoint.serde import jsonplus
from langgraph.store.base import Item

from holdfast.checkpoints.langgraph_internals import graph_type
from holdfast.checkpoints.serde.types import Types, is_message
from holdfast.checkpoints.serde.types.parts import Kept

CONSTRUCTORS: Final = frozenset(
    {
        jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
        jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
        jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
        jsonplus.EXT_METHOD_SINGLE_ARG,
        jsonplus.EXT_PYDANTIC_V1,
        jsonplus.EXT_PYDANTIC_V2,
    }
)
"""The extension codes whose bytes are a list: module, name, what the value consists of, and more of each code's own."""

# The types of the standard library, with their subclasses, by the code under which the stock serializer has them.
_VALUES: Final[Mapping[int, tuple[type, ...]]] = {
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG: (
        set, frozenset, deque, uuid.UUID, decimal.Decimal, zoneinfo.ZoneInfo,
        ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network,
        ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network,
    ),
    jsonplus.EXT_CONSTRUCTOR_POS_ARGS: (pathlib.PurePath, timedelta, date, timezone),
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS: (time, Item),
    jsonplus.EXT_METHOD_SINGLE_ARG: (datetime,),
}  # fmt: skip

# There is no public way to ask whether a dataclass has an `InitVar`.
_INIT_VAR: Final = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]  # noqa: SLF001

# The method that makes a class one of data for the stock serializer, by the code under which it has them.
_METHODS: Final[Mapping[int, str]] = {
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG: "get_secret_value",
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS: "_asdict",
    jsonplus.EXT_PYDANTIC_V1: "dict",
    jsonplus.EXT_PYDANTIC_V2: "model_dump",
}


def rebuild(types: Types, code: int, stored: Any) -> Any:
    """Return the value that was stored under one of `CONSTRUCTORS`.

    Args:
        types: the types that may be used.
        code: the extension code.
        stored: the unpacked content.

    Raises:
        ValueError: `stored` is no list of that form: the bytes are damaged.
    """
    if type(stored) is not list or len(stored) < 3 or type(stored[0]) is not str or type(stored[1]) is not str:
        raise ValueError(f"an extension with the code {code} does not say what it is")
    module, name, parts, *more = stored
    if types.keeps and not is_message(module, name):
        return Kept(code, stored)
    kind = _find(types, module, name, more)
    if kind is None:
        reason = (
            "the strict mode allows only types that are named" if types.strict else "this program has not loaded it"
        )
        types.warn(module, name, reason)
        return parts
    if not (types.is_allowed(module, name) or _is_data(code, kind)):
        types.warn(module, name, "it is not a type of data")
        return parts
    try:
        return _REBUILD[code](kind, parts, more)
    except Exception as error:  # noqa: BLE001 - a user's class may raise anything
        types.warn(module, name, f"it refuses what was stored ({type(error).__name__})")
        return parts


def is_taken(types: Types, code: int, stored: Any) -> bool:
    """Return whether a type takes what is stored; true as well if `types` does not find it."""
    module, name, parts, *more = stored
    kind = _find(types, module, name, more)
    if kind is None or not (types.is_allowed(module, name) or _is_data(code, kind)):
        return True
    try:
        _REBUILD[code](kind, parts, more)
    except Exception:  # noqa: BLE001 - a user's class may raise anything
        return False
    return True


def _find(types: Types, module: str, name: str, more: Sequence[Any]) -> Any:
    """Return the type; a generic model is made of its origin and its arguments where it was not made yet."""
    if (kind := types.find(module, name)) is not None:
        return kind
    match more:
        case [_, [str(module), str(origin)], list(arguments)]:
            found = [types.find(*argument) for argument in [(module, origin), *map(tuple, arguments)]]
            if all(isinstance(item, type) for item in found):
                return found[0][tuple(found[1:])]
    return None


# What the classes have that do something when they are made or used: runnables such as models and tools, pydantic's
# settings, which read files and the environment, and all that opens something.
_ACTIVE: Final = ("invoke", "ainvoke", "settings_customise_sources", "__enter__", "__aenter__")


def _is_data(code: int, kind: Any) -> bool:
    """Return whether a call of `kind` only makes a value."""
    if not isinstance(kind, type) or any(hasattr(kind, name) for name in _ACTIVE):
        return False
    if issubclass(kind, _VALUES.get(code, ())):
        return True
    if code == jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG and issubclass(kind, Enum):
        return True
    if code == jsonplus.EXT_CONSTRUCTOR_KW_ARGS and dataclasses.is_dataclass(kind):
        return True
    return callable(getattr(kind, _METHODS.get(code, ""), None))


def _single(kind: Any, value: Any, more: Sequence[Any]) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(value)
    try:
        return kind(value)
    except Exception:
        # A tuple is stored as a list, and a value may consist of more: the member is found by its name as well, as
        # long as its value is what it was.
        match more:
            case [str(name), *_] if name in kind.__members__ and _same(kind[name].value, value):
                return kind[name]
        raise


def _same(value: Any, stored: Any) -> bool:
    """Return whether the value of an enum's member is the stored one, in which tuples are lists."""
    if isinstance(value, tuple) and isinstance(stored, (list, tuple)):
        return len(value) == len(stored) and all(map(_same, value, stored))
    return bool(value == stored)


def _positional(kind: Any, values: Sequence[Any], _more: Sequence[Any]) -> Any:
    if kind is graph_type("Send"):
        node, arg, *timeout = values
        return kind(node, arg, timeout=timeout[0]) if timeout else kind(node, arg)
    return kind(*values)


def _keywords(kind: Any, fields: Mapping[str, Any], _more: Sequence[Any]) -> Any:
    if kind is graph_type("Interrupt"):  # it takes the fields of before LangGraph 0.6, and makes its id of them
        return kind(**fields)
    return _dataclass(kind, fields) if dataclasses.is_dataclass(kind) else kind(**fields)


def _dataclass(kind: Any, stored: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass with the fields that were stored.

    Where the constructor takes something other than the fields (an `InitVar`, an `__init__` of the class's own), it is
    not called, and the fields are set.

    Raises:
        Exception: the class has other fields now, or refuses these.
    """
    fields = dataclasses.fields(kind)
    given = {field.name: stored[field.name] for field in fields if field.init and field.name in stored}
    late = {field.name: stored[field.name] for field in fields if not field.init and field.name in stored}
    if len(given) + len(late) < len(stored):
        raise TypeError("a field is gone")
    if any(field._field_type is _INIT_VAR for field in kind.__dataclass_fields__.values()):  # noqa: SLF001
        made = None
    else:
        try:
            made = kind(**given)
        except TypeError:
            if _takes(kind, given):
                raise
            made = None
    if made is None:
        if len(stored) < len(fields):
            raise TypeError("a field is new")
        made, late = object.__new__(kind), dict(stored)
    for name, value in late.items():
        object.__setattr__(made, name, value)
    return made


def _takes(kind: Any, arguments: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError:
        return False
    return True


def _datetime(kind: Any, text: Any, more: Sequence[Any]) -> Any:
    if more[:1] != ["fromisoformat"] or not issubclass(kind, datetime):
        raise TypeError("it is not made by this method")
    return kind.fromisoformat(text)


def _pydantic_v1(kind: Any, fields: Mapping[str, Any], _more: Sequence[Any]) -> Any:
    try:
        return kind(**fields)
    except Exception:  # noqa: BLE001 - a model whose rules have grown since still loads, as with the stock serializer
        return kind.construct(**fields)


def _pydantic_v2(kind: Any, dumped: Any, _more: Sequence[Any]) -> Any:
    if not isinstance(dumped, Mapping):  # a RootModel, or a model with a serializer of its own
        return kind.model_validate(dumped)
    try:
        return kind(**dumped)
    except Exception:  # noqa: BLE001 - a field may have an alias, by which alone the constructor takes it
        try:
            return kind.model_validate(dumped, by_name=True)
        except Exception:  # noqa: BLE001 - as above: a model whose rules have grown since
            return kind.model_construct(**dumped)


_REBUILD: Final[Mapping[int, Callable[[Any, Any, Sequence[Any]], Any]]] = {
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG: _single,
    jsonplus.EXT_CONSTRUCTOR_POS_ARGS: _positional,
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS: _keywords,
    jsonplus.EXT_METHOD_SINGLE_ARG: _datetime,
    jsonplus.EXT_PYDANTIC_V1: _pydantic_v1,
    jsonplus.EXT_PYDANTIC_V2: _pydantic_v2,
}
