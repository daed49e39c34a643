"""Graphs that a `langgraph.json` names by a file, named by the module that the file is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def by_module(graph: Any) -> Any:
    """Return an entry of `graphs` with a module in place of the file, if this program can import the file as a module.

    LangGraph's server names the module of a file by the whole path. Stored values have the names of their types, so a
    thread would depend on the folder in which the program lies.
    """
    if isinstance(graph, Mapping):
        return {**graph, "path": by_module(graph["path"])} if "path" in graph else graph
    path, _, variable = str(graph).rpartition(":")
    if not path.endswith(".py") or not Path(path).is_absolute():
        return graph
    for module in _names(Path(path).resolve()):
        if _is(module, path):
            return f"{module}:{variable}"
    return graph


def _names(file: Path) -> Iterator[str]:
    """Yield the names under which a file may be importable, the shortest first."""
    found = set()
    for root in map(Path, filter(None, sys.path)):
        if root.is_absolute() and file.is_relative_to(root.resolve()):
            parts = file.relative_to(root.resolve()).with_suffix("").parts
            if all(part.isidentifier() for part in parts):
                found.add(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from (".".join(parts) for parts in sorted(found, key=lambda parts: (len(parts), parts)) if parts)


def _is(module: str, path: str) -> bool:
    try:
        spec = find_spec(module)
        return spec is not None and spec.origin is not None and Path(spec.origin).samefile(path)
    except Exception:  # noqa: BLE001 - it imports the packages around the module, which may raise anything
        return False
