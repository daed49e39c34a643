"""How far it is, where somebody looks at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """A bar that is going on."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)

    def set(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def bar(verb: str, total: int | None = None, *, silent: bool = False) -> Iterator[Bar]:
    """A bar on standard error, which is gone when the block ends; nothing where nobody looks.

    Args:
        verb: what is going on.
        total: how many there are to do, if that is known yet.
        silent: show nothing in any case.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = silent or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as progress:
        yield Bar(progress, progress.add_task(verb, total=total))
