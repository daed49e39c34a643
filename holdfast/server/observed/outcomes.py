"""Tells how turns have ended to those who count them: LangGraph's server imports the agent and the app by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.checkpoints.langgraph_internals import failed_node

DONE: Final = "done"

_log: Final = logging.getLogger("holdfast.turns")

_listeners: Final[list[Callable[[str], None]]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Tell a listener how each turn of this process ends from now on: `done`, or the name of its error."""
    _listeners.append(listener)


@contextmanager
def told(thread_id: str | None = None, run_id: str | None = None) -> Iterator[None]:
    """Tell how the block ends, and log it. A turn that is cancelled or left early is not counted.

    Args:
        thread_id: the thread of the turn.
        run_id: its run.
    """
    outcome, node, began = None, None, time.perf_counter()
    try:
        yield
        outcome = DONE
    except Exception as error:
        outcome, node = type(error).__name__, failed_node(error)
        raise
    finally:
        if outcome is not None:
            tell(outcome, time.perf_counter() - began, thread_id, run_id, node)


def tell(
    outcome: str, seconds: float, thread_id: str | None = None, run_id: str | None = None, node: str | None = None
) -> None:
    """Tell how a turn has ended, and log it.

    Args:
        outcome: `done`, or the name of its error.
        seconds: how long it took.
        thread_id: the thread of the turn.
        run_id: its run.
        node: the node of the graph in which it failed.
    """
    for listener in _listeners:
        listener(outcome)
    duration = round(1000 * seconds, 1)
    fields = {"thread": thread_id, "run": run_id, "node": node, "status": outcome, "duration_ms": duration}
    _log.info("turn", extra={"holdfast": fields})
