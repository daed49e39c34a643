"""The status of a thread by the database, for a comparison with what the servers say."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import build_graph
from tests.chaos.journal import Place
from tests.chaos.talks.scene import Clerk, tools
from tests.support.kit import rows

SETTLES: Final = 5.0
"""Seconds for which a thread that goes on may have another status than a moment before."""


class Truth:
    """A reader of a database that takes no part."""

    def __init__(self, place: Place) -> None:
        self._opened = open_checkpointer(place.url)
        self._saver = self._opened.__enter__()
        self._agent: Any = build_graph(model=Clerk(), tools=tools(place, lambda _: None), checkpointer=self._saver)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def status(self, thread: str) -> str:
        """Return the status of a thread: running, paused, failed, unfinished or idle."""
        if self._is_running(thread):
            return "running"
        state = self._agent.get_state({"configurable": {"thread_id": thread}})
        answered = {done.interrupt_id for done in self._saver.interrupts.todo(thread_id=thread)}
        if any(pause.id not in answered for pause in state.interrupts):
            return "paused"
        if any(task.error for task in state.tasks):
            return "failed"
        if not state.next:
            return "idle"
        # A turn may have failed without an error of the graph: each of its processes died.
        return (
            "failed" if any(run.state == "failed" for run in self._saver.runs.list(thread, limit=1)) else "unfinished"
        )

    def beside(self, thread: str, ask: Callable[[], str]) -> tuple[str, str]:
        """Return the status that a server tells, and the true one; the same, if that is so for a moment.

        Args:
            thread: the thread, which may be going on.
            ask: asks the server.
        """
        deadline = time.monotonic() + SETTLES
        while True:
            before, told, after = self.status(thread), ask(), self.status(thread)
            if told in (before, after) or not self._has_begun(thread):
                return told, told
            if before == after and time.monotonic() > deadline:
                return told, after
            time.sleep(0.1)  # it goes on

    def failure(self, run_id: str) -> tuple[str | None, str | None]:
        """Return why a run failed: the name of the error, and its words."""
        run = self._saver.runs.get(run_id)
        return run.error_type, run.error

    def _has_begun(self, thread: str) -> bool:
        """Return whether anything was saved of a thread."""
        return self._agent.get_state({"configurable": {"thread_id": thread}}).created_at is not None

    def _is_running(self, thread: str) -> bool:
        """Return whether a writer has its lease, or a turn was accepted and has not ended."""
        leases = "SELECT 1 FROM holdfast_leases WHERE thread_id = :thread AND expires_at > :now"
        runs = "SELECT 1 FROM holdfast_runs WHERE thread_id = :thread AND state IN ('accepted', 'running')"
        return bool(rows(self._saver, leases, thread=thread, now=time.time()) or rows(self._saver, runs, thread=thread))
