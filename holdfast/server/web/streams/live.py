"""What this process knows of the turns that it carries out: pieces of text as they come, and when to look again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.checkpoints import Run
from holdfast.checkpoints.langgraph_internals import failed_node
from holdfast.graph import Event, Token
from holdfast.server.observed import outcomes
from holdfast.worker import TurnListener

NEWS: Final = None
"""Told in place of a piece of text: the database has something new, or is about to."""


class Live(TurnListener):
    """The listeners to the turns that go on in this process. All of it is on one event loop."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Queue[str | None]]] = defaultdict(set)
        self._texts: dict[str, str] = {}
        self._failed_in: dict[str, str | None] = {}

    def began(self, run: Run) -> None:
        self._texts[run.run_id] = ""
        self._tell(run.run_id, NEWS)

    def event(self, run: Run, event: Event) -> None:
        if isinstance(event, Token):
            self._texts[run.run_id] = self._texts.get(run.run_id, "") + event.text
            self._tell(run.run_id, event.text)
        else:
            self._texts[run.run_id] = ""  # the text is a message by now
            self._tell(run.run_id, NEWS)

    def failed(self, run: Run, error: Exception) -> None:
        self._failed_in[run.run_id] = failed_node(error)

    def ended(self, run: Run, outcome: str | None, seconds: float) -> None:
        node = self._failed_in.pop(run.run_id, None)
        if outcome not in (None, "cancelled"):
            outcomes.tell(str(outcome), seconds, run.thread_id, run.run_id, node)
        self._texts.pop(run.run_id, None)
        self._tell(run.run_id, NEWS)

    def is_here(self, run_id: str) -> bool:
        """Return whether this process carries the run out, and tells of what is new."""
        return run_id in self._texts

    def text(self, run_id: str) -> str:
        """Return the text that the model has written and that is in no message yet."""
        return self._texts.get(run_id, "")

    @contextmanager
    def listening(self, run_id: str) -> Iterator[asyncio.Queue[str | None]]:
        """Listen to a run, which need not be one of this process."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners[run_id].add(queue)
        try:
            yield queue
        finally:
            self._listeners[run_id].discard(queue)
            if not self._listeners[run_id]:
                del self._listeners[run_id]

    def _tell(self, run_id: str, news: str | None) -> None:
        for queue in self._listeners.get(run_id, ()):
            queue.put_nowait(news)
