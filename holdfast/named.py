"""Modules that a user names on the command line."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType


def import_here(module: str, error: type[ValueError]) -> ModuleType:
    """Import a module. The working directory comes first among the places where it is looked for.

    Args:
        module: its name.
        error: the class of the error that is raised if it cannot be imported.
    """
    if module.endswith(".py"):
        name = Path(module).with_suffix("").as_posix().replace("/", ".").strip(".")
        raise error(f"{module!r} is a file. Needed: the name of its module, such as {name}.")
    if (here := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(module)
    except Exception as failure:
        if isinstance(failure, ModuleNotFoundError) and failure.name and f"{module}.".startswith(f"{failure.name}."):
            raise error(
                f"There is no module {failure.name!r}. Needed: one that Python can import here, or from this folder."
            ) from None
        # Its own code may raise anything. --debug shows where.
        raise error(f"The module {module!r} fails with {type(failure).__name__}: {failure}.") from failure
