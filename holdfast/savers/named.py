"""Checkpointers by name, `module:name`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.named import import_here


class UnusableSaver(ValueError):
    """A checkpointer that cannot be loaded. The message says why."""


@contextmanager
def open_named(name: str) -> Iterator[BaseCheckpointSaver[Any]]:
    """Open a checkpointer by its name, and close it if it can be closed.

    Args:
        name: `module:name`. The name is that of a checkpointer, or of a function without arguments that returns one or
            a context manager of one, such as `SqliteSaver.from_conn_string` makes.

    Raises:
        UnusableSaver: there is no such checkpointer, or its own code fails.
    """
    module, _, variable = name.partition(":")
    if not module or not variable:
        raise UnusableSaver(
            f"The checkpointer {name!r} is not named. Needed: module:name, such as my_app.saving:saver."
        )
    try:
        found: Any = reduce(getattr, variable.split("."), import_here(module, UnusableSaver))
    except AttributeError:
        raise UnusableSaver(f"The module {module!r} has no {variable!r}. Needed: a checkpointer in it.") from None
    with ExitStack() as closing:
        try:
            if callable(found) and not isinstance(found, BaseCheckpointSaver):
                found = found()
            if not isinstance(found, BaseCheckpointSaver) and hasattr(found, "__enter__"):
                found = closing.enter_context(found)
        except Exception as error:
            raise UnusableSaver(f"{name!r} fails with {type(error).__name__}: {error}.") from error
        if not isinstance(found, BaseCheckpointSaver):
            raise UnusableSaver(
                f"{name!r} is of the type {type(found).__name__}. Needed: a checkpointer, or a function that makes one."
            )
        yield found
