"""Values that LangGraph saved as JSON, before it used msgpack. No I/O, no import.

An object with `lc` stands for a value: 2 is LangGraph's own form, a class with its arguments, and 1 is that of
LangChain for its messages, documents and the like. Both are rebuilt by the rules for msgpack (`rebuild`), so nothing is
imported and nothing is called that is not a type of data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.types.rebuild import rebuild

# The types that take their arguments by place, also a single one.
_BY_PLACE: Final = frozenset({"pathlib", "datetime", "re"})

_TIME: Final = ("hour", "minute", "second", "microsecond", "tzinfo")

_BYTES: Final[Mapping[tuple[str, str], type[bytes] | type[bytearray]]] = {
    ("builtins", "bytes"): bytes,
    ("builtins", "bytearray"): bytearray,
}


def loads(data: bytes, types: Types) -> Any:
    """Return the value of some JSON.

    Raises:
        ValueError: the bytes are damaged.
    """
    return json.loads(data, object_hook=partial(_revive, types))


def _revive(types: Types, found: dict[str, Any]) -> Any:
    match found:
        case {"lc": 2, "type": "constructor", "id": [*path, str(name)]} if path and all(map(_is_text, path)):
            return _of_langgraph(types, ".".join(path), name, found)
        case {"lc": 1, "type": "constructor", "id": [*path, str(name)], "kwargs": dict(fields)} if path and all(
            map(_is_text, path)
        ):
            # LangChain stores the place that a class had first.
            *module, name = ALL_SERIALIZABLE_MAPPINGS.get((*path, name), (*path, name))
            return rebuild(types, jsonplus.EXT_PYDANTIC_V2, [".".join(module), name, fields])
        case {"lc": 1, "type": "secret"}:
            return None  # the secret itself was never stored
    return found


def _is_text(part: Any) -> bool:
    return isinstance(part, str)


def _of_langgraph(types: Types, module: str, name: str, found: Mapping[str, Any]) -> Any:
    args, fields, method = found.get("args") or [], found.get("kwargs") or {}, found.get("method")
    if not isinstance(args, list) or not isinstance(fields, dict):
        return found
    if (kind := _BYTES.get((module, name))) is not None and len(args) == 1 and isinstance(args[0], str):
        return kind.fromhex(args[0])
    if method == "fromisoformat" and len(args) == 1:
        return rebuild(types, jsonplus.EXT_METHOD_SINGLE_ARG, [module, name, args[0], method])
    if args and fields:  # only a time has both
        args, fields = [], {**dict(zip(_TIME, args, strict=False)), **fields}
    if args and (len(args) > 1 or module in _BY_PLACE):
        return rebuild(types, jsonplus.EXT_CONSTRUCTOR_POS_ARGS, [module, name, args])
    if args:
        return rebuild(types, jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, [module, name, args[0]])
    return rebuild(types, _code_of_fields(types, module, name, method), [module, name, fields])


def _code_of_fields(types: Types, module: str, name: str, method: Any) -> int:
    """Return the code under which values with these fields are stored today."""
    if not (isinstance(method, list) and "construct" in method):
        return jsonplus.EXT_CONSTRUCTOR_KW_ARGS
    kind = types.find(module, name)
    is_first = kind is not None and not hasattr(kind, "model_dump")
    return jsonplus.EXT_PYDANTIC_V1 if is_first else jsonplus.EXT_PYDANTIC_V2
