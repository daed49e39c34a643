"""What this process knows of the turns that it carries out: pieces of text as they come, and when to look again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeAlias

from holdfast.checkpoints import Run
from holdfast.checkpoints.langgraph_internals import failed_node
from holdfast.graph import Done, Event, Reply, Token
from holdfast.server.observed import outcomes
from holdfast.worker import TurnListener

NEWS: Final = None
"""Told in place of a piece of text: the database has something new, or is about to."""


class TurnEnd(NamedTuple):
    """The end of a turn."""

    run: Run
    """The run, as it is on record."""
    reply: Reply | None
    """What came of it; `None` if it did not come to its end, or another process has carried it out."""


News: TypeAlias = "str | TurnEnd | None"
"""A piece of text, the end of the turn, or `NEWS`."""


class Live(TurnListener):
    """The listeners to the turns that go on in this process. All of it is on one event loop."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Queue[News]]] = defaultdict(set)
        self._texts: dict[str, str] = {}
        self._replies: dict[str, Reply] = {}
        self._runs: dict[str, Run] = {}
        self._quiet: set[str] = set()
        self._failed_in: dict[str, str | None] = {}

    def began(self, run: Run) -> None:
        self._runs[run.run_id] = run
        self._quiet.add(run.run_id)
        self._tell(run.run_id, NEWS)

    def event(self, run: Run, event: Event) -> None:
        if isinstance(event, Token):
            self._texts[run.run_id] = self._texts.get(run.run_id, "") + event.text
            self._tell(run.run_id, event.text)
        else:
            if isinstance(event, Done):
                self._replies[run.run_id] = event.reply
            self._texts[run.run_id] = ""  # the text is a message by now
            self._quiet.discard(run.run_id)
            self._tell(run.run_id, NEWS)

    def failed(self, run: Run, error: Exception) -> None:
        self._failed_in[run.run_id] = failed_node(error)

    def ended(self, run: Run, outcome: str | None, seconds: float) -> None:
        node = self._failed_in.pop(run.run_id, None)
        if outcome not in (None, "cancelled"):
            outcomes.tell(str(outcome), seconds, run.thread_id, run.run_id, node)
        for of_runs in (self._runs, self._texts):
            of_runs.pop(run.run_id, None)
        self._quiet.discard(run.run_id)
        reply = self._replies.pop(run.run_id, None)
        self._tell(run.run_id, NEWS if run.is_open else TurnEnd(run, reply))

    def run(self, run_id: str) -> Run | None:
        """Return a run that this process carries out, and tells what is new of; `None` for any other."""
        return self._runs.get(run_id)

    def is_quiet(self, run_id: str) -> bool:
        """Return whether this process carries the run out, and has told of pieces of text only."""
        return run_id in self._quiet

    def text(self, run_id: str) -> str:
        """Return the text that the model has written and that is in no message yet."""
        return self._texts.get(run_id, "")

    @contextmanager
    def listening(self, run_id: str) -> Iterator[asyncio.Queue[News]]:
        """Listen to a run, which need not be one of this process."""
        queue: asyncio.Queue[News] = asyncio.Queue()
        self._listeners[run_id].add(queue)
        try:
            yield queue
        finally:
            self._listeners[run_id].discard(queue)
            if not self._listeners[run_id]:
                del self._listeners[run_id]

    def _tell(self, run_id: str, news: News) -> None:
        for queue in self._listeners.get(run_id, ()):
            queue.put_nowait(news)
