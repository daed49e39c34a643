"""What a log tells of an error: its type and where it was raised, and no message, which may hold what a user said."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from holdfast.checkpoints.errors.databases import DatabaseUnavailable, NotOpen
from holdfast.checkpoints.errors.threads import ThreadBusy
from holdfast.checkpoints.langgraph_internals import failed_node

# Their words are about the database and its processes only.
_PLAIN: Final = (DatabaseUnavailable, NotOpen, ThreadBusy)

# The newest frames of a traceback, for logs that people read.
_FRAMES: Final = 5


def for_log(error: BaseException) -> str:
    """Return what a log may tell of an error, in one line."""
    name = type(error).__name__
    if isinstance(error, _PLAIN):
        return f"{name}: {error}"
    node = failed_node(error)
    step = "" if node is None else f" in step {node!r}"
    places = places_in(error.__traceback__)[-_FRAMES:]
    return f"{name}{step}" + (f" ({' < '.join(reversed(places))})" if places else "")


def places_in(trace: TracebackType | None) -> list[str]:
    """Return the places in the code that a traceback goes through, the innermost last."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
