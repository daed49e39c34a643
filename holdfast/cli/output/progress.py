"""Progress bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """A progress bar on the screen."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1) -> None:
        """Count one more as done, or several."""
        self._progress.advance(self._task, steps)

    def set(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def progress_bar(verb: str, total: int | None = None, *, silent: bool = False) -> Iterator[Bar]:
    """Show a bar on standard error until the block ends, if standard error is a terminal.

    Args:
        verb: the text before the bar, such as "Copying".
        total: the number of steps, if known.
        silent: do not show the bar on a terminal either.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = silent or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as progress:
        yield Bar(progress, progress.add_task(verb, total=total))
