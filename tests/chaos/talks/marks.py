"""The marked points at which a process can be told to kill itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.backends.base import Call
from tests.support.children import die

_TRANSACTIONS = {
    "claim_effect": "effect started",
    "rerun_effect": "effect started again",
    "finish_effect": "effect done",
    "orphan_effect": "effect in doubt",
    "settle_effect": "effect settled",
    "record_answer": "answer recorded",
    "add_write": "writes",
    "replace_write": "writes",
    "save_checkpoint": "checkpoint",
    "join_lease_queue": "lease taken",
}
"""The transactions that are marked, by a statement in them; the first that is found counts."""

AFTER_A_DOUBT = {
    "effect started again": "tool:before",
    "effect in doubt": "tool:after",
    "effect settled": "tool:after",
}
"""Those that are only reached when a process was killed in the middle of a tool, and where, so that a person who looks
decides for it."""

MARKS = [
    f"{point}:{when}" for point in (*dict.fromkeys(_TRANSACTIONS.values()), "tool") for when in ("before", "after")
]
"""Just before the commit of a transaction and just after it; of a tool, just before its effect and just after it."""


class Marks:
    """Counts the marked points that this process reaches, and dies at one of them.

    Args:
        mark: at which.
        passes: how often to pass it before.
    """

    def __init__(self, mark: str | None = None, passes: int = 0) -> None:
        self.seen: list[str] = []
        self._mark = mark
        self._left = passes

    def reached(self, mark: str) -> None:
        """This point is reached now."""
        self.seen.append(mark)
        if mark == self._mark:
            if not self._left:
                die()
            self._left -= 1

    def committing(self, names: list[str], when: str) -> None:
        """A transaction with these statements is about to be committed, or was."""
        point = next((point for name, point in _TRANSACTIONS.items() if name in names), None)
        if point is not None:
            self.reached(f"{point}:{when}")


def watch(saver: HoldfastSaver, committing: Callable[[list[str], str], None]) -> None:
    """Tell of each transaction that writes the names of its statements, "before" its commit and "after" it."""
    backend: Any = saver._backend
    writing, save_at_once = backend.writing, backend.save_at_once
    own = threading.local()  # a thread has one transaction at a time

    @contextmanager
    def watched() -> Iterator[Any]:
        own.names = names = []
        with writing() as transaction:
            yield transaction
            committing(names, "before")
        committing(names, "after")

    def at_once(
        required: Sequence[Call],
        calls: Sequence[Call],
        *,
        is_current: Callable[[], bool],
        written: Callable[[int], None],
    ) -> bool:
        names = [statement.name for statement, _ in (*required, *calls)]

        def about_to() -> bool:
            committing(names, "before")
            return is_current()

        saved: bool = save_at_once(required, calls, is_current=about_to, written=written)
        if saved:
            committing(names, "after")
        return saved

    def note(name: str) -> None:
        if hasattr(own, "names"):
            own.names.append(name)

    backend.writing, backend.save_at_once, backend.on_statement = watched, at_once, note
