"""Rows as someone would write them who can change the database, and wants its readers to do something for them."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any, Final

import ormsgpack

from holdfast.checkpoints.serde.messages import digest
from holdfast.checkpoints.serde.values import TYPE

CANARY: Final = "tests_canary"
"""A module that is loaded, and whose functions say when they are called."""

NEVER_LOADED: Final = "this_is_not_imported"

# Modules and names that would do harm if a reader called or imported them, and those of data with odd arguments.
_TARGETS: Final = [
    (module, name)
    for module, names in {
        "os": ["system", "path.join"],
        "posix": ["system"],
        "subprocess": ["Popen"],
        "builtins": ["eval", "exec", "__import__", "open", "type", "set"],
        "importlib": ["import_module"],
        "pickle": ["loads"],
        "shutil": ["rmtree"],
        "antigravity": ["fly"],
        "webbrowser": ["open"],
        "re": ["compile"],
        "operator": ["attrgetter"],
        "functools": ["partial"],
        "multiprocessing.managers": ["SyncManager"],
        "langchain_core.prompts.prompt": ["PromptTemplate"],
        NEVER_LOADED: ["Thing"],
        CANARY: ["fire", "Fires", "FIRED", "Fires.later"],
        "pathlib": ["Path"],
        "zoneinfo": ["ZoneInfo"],
        "langgraph.types": ["Send", "Interrupt"],
        "langchain_core.messages.ai": ["AIMessage"],
        "decimal": ["Decimal"],
        "collections": ["deque"],
        "datetime": ["timedelta", "datetime"],
        "uuid": ["UUID"],
        "": [""],
    }.items()
    for name in names
]

_ARGUMENTS: Final[tuple[Any, ...]] = (
    "true", ["true"], {"cmd": "true"}, {"args": ["true"]}, {}, [], None, 2**62, -1, "A" * 5_000, [["x"] * 50], 1.5,
    {"template": "{{ 1 }}", "template_format": "jinja2", "input_variables": []}, "../../etc/passwd",
    {"__class__": "os.system"}, {"type": "human", "content": 5}, {"lc": 1}, b"\x80\x04cos\nsystem\n(S'true'\ntR.",
)  # fmt: skip

_OF_A_MESSAGE: Final = (
    "tool_calls", "content", "additional_kwargs", "response_metadata", "id", "usage_metadata", "name", "model_dump",
    "__class__", "type", "text", "tool_call_id", "artifact", "status", "pretty_repr",
)  # fmt: skip

_FORMS: Final = (
    "msgpack",
    TYPE,
    "json",
    "pickle",
    "null",
    "bytes",
    "bytearray",
    "empty",
    "",
    "cloudpickle",
    "aes.msgpack",
)


def made_canary(fired: list[str]) -> ModuleType:
    """Return the module that says when something in it is called."""
    module = ModuleType(CANARY)

    def fire(*args: object, **kwargs: object) -> object:
        fired.append(f"fire was called with {args!r} {kwargs!r}")
        return "fired"

    class Fires:
        later = fire

        def __init__(self, *args: object, **kwargs: object) -> None:
            fired.append(f"Fires was made with {args!r} {kwargs!r}")

    vars(module).update(fire=fire, Fires=Fires, FIRED=fired)
    return module


class Hostile:
    """Draws what to write in the place of a value."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def change(self, column: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return new values for a column of a row, and for those that have to fit it so that it is believed."""
        value = row[column]
        new: dict[str, Any] = {column: self._other(value)}
        if column == "body" and "digest" in row and self._random.random() < 0.7:
            new["body"] = self._random.choice([self.packed, self._message_body, self._mutated_of(value)])()
            new["digest"] = digest(row["role"], row["content"], new["body"])
        elif column == "content" and self._random.random() < 0.5 and isinstance(new["content"], (str, type(None))):
            new["digest"] = digest(row["role"], new["content"], row["body"])
        elif isinstance(value, bytes) and "type" in row and self._random.random() < 0.8:
            form = self._random.choice(_FORMS)
            new["type"] = form
            new[column] = self._value(form, value)
        return new

    def packed(self) -> bytes:
        """Msgpack with extensions in it."""
        return ormsgpack.packb(self._tree(4), option=ormsgpack.OPT_NON_STR_KEYS)

    def _value(self, form: str, before: bytes) -> bytes:
        if form == "json":
            return json.dumps(self._constructor_in_json(3)).encode()
        if form == TYPE:
            lists = self._random.choice(
                [
                    [[1, 2]],
                    [[1, 10**12]],
                    [[-1, -(10**9)]],
                    [[0, 0]],
                    [["a", "b"]],
                    [[2, 1]],
                    [],
                    5,
                    [[1]],
                    [[1, 2**63]],
                ]
            )
            refs = ormsgpack.packb(lists)
            rest = len(refs).to_bytes(4, "big") + refs + self.packed()
            if self._random.random() < 0.3:
                rest = self._mutated(before)[4:]
            return zlib.crc32(rest).to_bytes(4, "big") + rest
        return self._random.choice([self.packed, self._mutated_of(before)])()

    def _message_body(self) -> bytes:
        own = {name: self._tree(2) for name in self._random.sample(_OF_A_MESSAGE, self._random.randint(0, 4))}
        kind = self._random.choice(["", "AIMessageChunk", "Fires", "os.system", ["os", "system"], [CANARY, "Fires"], 5])
        body: list[Any] = [kind, own]
        if self._random.random() < 0.3:
            body += [self._tree(1), self._tree(1)]
        return ormsgpack.packb(body, option=ormsgpack.OPT_NON_STR_KEYS)

    def _tree(self, depth: int) -> Any:
        random = self._random
        if depth == 0 or random.random() < 0.2:
            return random.choice(_ARGUMENTS)
        match random.randrange(6):
            case 0:
                return [self._tree(depth - 1) for _ in range(random.randint(0, 3))]
            case 1:
                return {str(number): self._tree(depth - 1) for number in range(random.randint(0, 3))}
            case 2:
                return {random.choice(["channel_values", "id", "v", "messages", 5]): self._tree(depth - 1)}
            case 3:
                return ormsgpack.Ext(
                    random.randint(0, 127), ormsgpack.packb(self._tree(depth - 1), option=ormsgpack.OPT_NON_STR_KEYS)
                )
        more = random.choice([[], ["fromisoformat"], ["model_validate_json"], ["__init__"], ["system"]])
        stored = [*random.choice(_TARGETS), self._tree(depth - 1), *more]
        return ormsgpack.Ext(random.randint(0, 8), ormsgpack.packb(stored, option=ormsgpack.OPT_NON_STR_KEYS))

    def _constructor_in_json(self, depth: int) -> Any:
        random = self._random
        module, name = random.choice(_TARGETS)
        inner: Any = (
            self._constructor_in_json(depth - 1) if depth and random.random() < 0.4 else random.choice(_ARGUMENTS[:-1])
        )
        return {
            "lc": random.choice([1, 2, 3]),
            "type": random.choice(["constructor", "secret", "not_implemented", "x"]),
            "id": random.choice([[*module.split("."), name], [module, name], name, [], [5], [None, name]]),
            "kwargs": inner,
            "args": inner if random.random() < 0.5 else [inner],
            "method": random.choice([None, "fromisoformat", "construct", [None, "construct"], "system", 5]),
        }

    def _mutated_of(self, value: Any) -> Callable[[], bytes]:
        return lambda: self._mutated(value if isinstance(value, bytes) else str(value).encode())

    def _mutated(self, value: bytes) -> bytes:
        random, changed = self._random, bytearray(value or b"\xc0")
        match random.randrange(7):
            case 0:
                changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
            case 1:
                del changed[random.randrange(len(changed)) :]
            case 2:  # a length far beyond the end
                at = random.randrange(len(changed))
                changed[at:at] = random.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"]) + b"\xff\xff\xff\xff"
            case 3:
                changed = bytearray(
                    random.choice([b"\x91", b"\x81\xc0", b"\xd4\x00"]) * random.choice([10, 500, 3_000, 200_000])
                )
            case 4:
                at = random.randrange(len(changed))
                changed[at:at] = self.packed()
            case 5:
                changed = changed * 2
            case _:
                changed = bytearray(random.randbytes(random.randrange(200)))
        return bytes(changed)

    def _other(self, value: Any) -> Any:
        random = self._random
        if isinstance(value, bytes):
            return self._mutated(value)
        if isinstance(value, str) and value[:1] in "{[" and random.random() < 0.7:
            return random.choice(
                [
                    json.dumps(self._constructor_in_json(3)),
                    value[: len(value) // 2],
                    "[" * random.choice([10, 100_000]),
                    "null",
                    '{"a": 1e999}',
                    "NaN",
                ]
            )
        texts = [
            "",
            "x" * 10_000,
            "';DROP TABLE checkpoints;--",
            "\u202e",
            "%s%s%n",
            "{0.__class__}",
            "../../etc/passwd",
            "1" * 5000,
            "a\x00b",
        ]
        return random.choice([*texts, None, 0, -1, 2**63 - 1, -(2**63), 1e308, float("inf"), b"\xff\xfe", value])


@contextmanager
def watched(fired: list[str]) -> Iterator[None]:
    """Note in `fired` what the block imports, and what it runs that reading rows has no reason to."""
    _WATCHERS.append(fired)
    before = set(sys.modules)
    try:
        yield
    finally:
        _WATCHERS.remove(fired)
        fired += [f"import of {name}" for name in set(sys.modules) - before]


_WATCHERS: list[list[str]] = []

_WATCHED: Final = frozenset(
    {
        "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "shutil.rmtree",
        "webbrowser.open", "socket.connect", "ctypes.dlopen",
    }
)  # fmt: skip


def _audit(event: str, args: object) -> None:
    if _WATCHERS and event in _WATCHED:
        for fired in _WATCHERS:
            fired.append(f"{event} {args!r}")


sys.addaudithook(_audit)
