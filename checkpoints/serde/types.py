"""The types that may be imported and called to load a stored value."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable
from typing import Any

from holdfast.checkpoints.errors import NotStorable, TypeNotAllowed
from holdfast.checkpoints.langgraph_internals import SAFE_MSGPACK_TYPES

_log = logging.getLogger(__name__)

TypeName = tuple[str, ...]
"""A type as (module, name)."""


class Types:
    """The types that may be imported and called to load a value, for all loads of one checkpointer."""

    def __init__(self, allow: Iterable[type | TypeName] = ()) -> None:
        self._allowed: set[TypeName] = set(SAFE_MSGPACK_TYPES)
        self._unnamed: dict[TypeName, type] = {}
        self.allow(allow)

    def allow(self, types: Iterable[type | TypeName]) -> None:
        """Add types."""
        self._allowed |= {(t.__module__, t.__name__) if isinstance(t, type) else tuple(t) for t in types}

    def check(self, module: str, name: str) -> None:
        """Check that a type is allowed.

        Raises:
            TypeNotAllowed: it is not.
        """
        if (module, name) not in self._allowed:
            raise TypeNotAllowed(module, name)

    def admit(self, kind: type) -> TypeName:
        """Return the name under which values of a type are stored.

        Raises:
            TypeNotAllowed: the type is not allowed.
        """
        self.check(kind.__module__, kind.__name__)
        return self.note(kind)

    def note(self, kind: type) -> TypeName:
        """Return the name of a type.

        A type inside a function or a class cannot be imported by its name. It is remembered, so that this process can
        load it again; other processes cannot, and a warning is logged.
        """
        module, name = kind.__module__, kind.__name__
        if getattr(sys.modules.get(module), name, None) is not kind and self._unnamed.get((module, name)) is not kind:
            self._unnamed[module, name] = kind
            _log.warning(
                "The type %s.%s is saved, but cannot be imported under this name: other processes cannot load it. "
                "Define it at the top level of its module.",
                module,
                kind.__qualname__,
            )
        return module, name

    def find(self, module: str, name: str) -> Any:
        """Return a type that this process has imported already; `None` if it has not. Import nothing."""
        return self._unnamed.get((module, name)) or getattr(sys.modules.get(module), name, None)

    def load(self, module: str, name: str) -> Any:
        """Return a type, after importing it if necessary.

        Raises:
            TypeNotAllowed: the type is not allowed.
            NotStorable: the type cannot be imported.
        """
        self.check(module, name)
        if (kind := self._unnamed.get((module, name))) is not None:
            return kind
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise NotStorable(
                f"The type {module}.{name} is used by stored data and cannot be imported ({error}). "
                "Bring it back under this name, or make an alias with it."
            ) from error
