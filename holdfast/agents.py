"""Agents by name: `module:name`, as `langgraph.json` and other servers write it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel


def load_agent(name: str) -> Any:
    """Return the compiled graph that `module:name` names. The module is imported, also from the working directory.

    Args:
        name: a module and what it has under a name: a compiled graph, such as `create_agent` returns, a `StateGraph`,
            or a function without arguments that returns one of these.

    Raises:
        ValueError: there is no such module or name, or it is no graph.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"The agent {name!r} is not named. Needed: module:name, such as my_app.agents:support.")
    try:
        module = _imported(module_name)
    except ModuleNotFoundError as error:
        if not (error.name and f"{module_name}.".startswith(f"{error.name}.")):
            raise  # the module is there, and imports one that is not
        raise ValueError(
            f"The agent {name!r} is in a module that is not there: {error.name}. Needed: a module that Python can "
            "import here, or from this folder."
        ) from None
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            graphs = sorted(key for key, value in vars(module).items() if isinstance(value, Pregel | StateGraph))
            known = f"Its graphs: {', '.join(graphs)}." if graphs else "It has no graphs."
            raise ValueError(f"The module {module_name!r} has no {attribute!r}. {known}")
        found = getattr(found, part)
    if callable(found) and not isinstance(found, Pregel):
        found = found()
    if isinstance(found, StateGraph):
        found = found.compile()
    if not isinstance(found, Pregel):
        raise ValueError(  # noqa: TRY004 - the name is wrong, not the argument
            f"The agent {name!r} is of the type {type(found).__name__}. Needed: a compiled graph, a StateGraph, or a "
            "function without arguments that returns one."
        )
    return found


def _imported(module: str) -> Any:
    if (here := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)
