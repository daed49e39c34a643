"""The types of stored values: by which name they are stored, and which of them a load may use.

A load imports no module that the database names. A type is found if the graph or `allow` names it, or if this program
has loaded it already. In the strict mode only the first two count.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

from holdfast.checkpoints.langgraph_internals import SAFE_MSGPACK_TYPES

_log = logging.getLogger(__name__)

TypeName = tuple[str, ...]
"""A type as (module, qualified name)."""

LOADING: Final[ContextVar[str | None]] = ContextVar("loading", default=None)
"""The thread that is being loaded, for warnings."""

# Types that a program makes anew again and again would fill the memory otherwise.
_REMEMBERED: Final = 10_000


class Types:
    """The types that one checkpointer may use to rebuild values."""

    def __init__(self, allow: Iterable[type | TypeName] = (), *, strict: bool = False) -> None:
        """
        Args:
            allow: types that may be used, as types or as (module, qualified name). The latter may be imported.
            strict: use no type that is not allowed, even if this program has loaded it.
        """
        self.strict = strict
        self.keeps = False
        """Whether values are loaded only to be saved again; see `parts.Kept`."""
        self._names: set[TypeName] = set()
        self._types: dict[TypeName, type] = {}
        self._saved: dict[TypeName, type] = {}
        self._quiet = False
        self.lost = 0
        """The number of values that were loaded as what they consist of."""
        self.not_rebuilt: dict[TypeName, str] = {}
        """The types whose values were loaded as what they consist of, each with the first reason."""
        self.allow(allow)

    def quiet_copy(self) -> Types:
        """Return the same types, with nothing in `not_rebuilt`, for a check that reports it and logs no warnings."""
        other = Types(strict=self.strict)
        other._quiet = True
        other._names, other._types, other._saved = self._names, self._types, self._saved
        return other

    def keeping(self) -> Types:
        """Return types with which each value but a message is loaded as a `parts.Kept`, and saved again as it was."""
        other = self.quiet_copy()
        other.keeps = True
        return other

    @staticmethod
    def plain() -> Types:
        """Return types with which a value becomes what it consists of, unless it is one of the standard library."""
        other = Types(strict=True)
        other._quiet = True
        return other

    def allow(self, types: Iterable[type | TypeName]) -> None:
        """Add types."""
        for item in types:
            if isinstance(item, type):
                self._types[item.__module__, item.__qualname__] = item
                # Older rows, and those of the stock savers, have the short name of a nested type.
                self._types.setdefault((item.__module__, item.__name__), item)
            else:
                self._names.add((str(item[0]), str(item[1])))

    def name(self, kind: type) -> TypeName:
        """Return the name under which values of a type are stored.

        A type that is not found by its name, because a function encloses it, is remembered: this process can load its
        values again.
        """
        name = kind.__module__, kind.__qualname__
        if self._saved.get(name) is not kind and _loaded(*name) is not kind and len(self._saved) < _REMEMBERED:
            self._saved[name] = kind
        return name

    def is_allowed(self, module: str, name: str) -> bool:
        """Return whether a type may be used whatever it does when it is called."""
        key = module, name
        return key in SAFE_MSGPACK_TYPES or key in self._types or key in self._names

    def find(self, module: str, name: str) -> Any:
        """Return a type that a load may use; `None` if there is none. Only what is allowed by name is imported."""
        key = module, name
        if self.keeps:
            return _imported(module, name) if is_message(module, name) else None
        if (kind := self._types.get(key)) is not None:
            return kind
        if key in SAFE_MSGPACK_TYPES or key in self._names:
            return _imported(module, name)
        if self.strict:
            return None
        return _loaded(module, name) or self._saved.get(key)

    def warn(self, module: str, name: str, reason: str) -> None:
        """Note that values of a type are loaded as what they consist of, and log it once for each type."""
        self.lost += 1  # of two threads at once, one may not count
        key = module, name
        if key in self.not_rebuilt or len(self.not_rebuilt) >= _REMEMBERED:
            return
        self.not_rebuilt[key] = reason
        if self._quiet:
            return
        where = f" (first seen in thread {thread!r})" if (thread := LOADING.get()) is not None else ""
        _log.warning(
            "Stored values of the type %s.%s are loaded as what they consist of, because %s%s. "
            "To have the type back: import it before the thread is loaded, name it in the graph's state, "
            'or open the checkpointer with allow=[("%s", "%s")].',
            module,
            name,
            reason,
            where,
            module,
            name,
        )


def is_message(module: str, name: str) -> bool:
    """Return whether a type is one of LangChain's own messages."""
    return module.startswith("langchain_core.messages.") and (module, name) in SAFE_MSGPACK_TYPES


def _loaded(module: str, name: str) -> Any:
    """Return what a loaded module has under a qualified name. No module's `__getattr__` is called: it may import."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _imported(module: str, name: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found
