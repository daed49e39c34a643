"""A run as events: what matters is read from the database, on any replica, and pieces of text come from this process.

An event that matters has an id: the number of its message row, and its place among the events of that message. A stream
that broke goes on behind the id that its client names, wherever it is opened again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, Run
from holdfast.server.web.streams.live import Live, News, TurnEnd

# Seconds between two looks at the database: soon after news, which may come before its row, and longer the longer
# nothing comes. What this process carries out tells when to look; what another one does is looked for.
_FIRST: Final = 0.02
_GROWTH: Final = 1.6
_ELSEWHERE: Final = 0.5
_WAITING: Final = 2.0
_HERE: Final = 15.0


class Position(NamedTuple):
    """The place of an event in its run."""

    seq: int = 0
    part: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Return the position that an id names; the beginning for one that names none."""
        seq, _, part = (text or "").partition(".")
        return cls(int(seq), int(part)) if seq.isdecimal() and part.isdecimal() and len(seq) < 19 else cls()

    def __str__(self) -> str:
        return f"{self.seq}.{self.part}"


@dataclass(frozen=True)
class StreamEvent:
    """An event of a stream."""

    event: str
    data: dict[str, Any]
    position: Position | None = None


KEEP_ALIVE: Final = StreamEvent("", {})
"""Nothing has happened for a while."""


@dataclass
class Following:
    """A client that follows a run.

    Args:
        saver: the checkpointer.
        live: the turns of this process.
        run: the run.
        after: the last event that the client has.
        may_read: whether the client may read messages of the thread.
    """

    saver: HoldfastSaver
    live: Live
    run: Run
    after: Position = field(default_factory=Position)
    may_read: bool = True
    end: TurnEnd | None = field(default=None, init=False)
    """Known after the last event."""

    async def events(self) -> AsyncIterator[StreamEvent]:
        """Yield the events of the run until it ends, and nothing about its end: `end` has that."""
        with self.live.listening(self.run.run_id) as news:
            if self.may_read and (so_far := self.live.text(self.run.run_id)):
                yield _text(so_far)
            looks = not self.live.is_quiet(self.run.run_id)
            pause = _FIRST if looks else _HERE
            while True:
                if looks:
                    await self._look()
                    for event in await self._new():
                        yield event
                    if self.end is not None:
                        return
                looks = True
                try:
                    while isinstance(found := await _next(news, pause), str):
                        if self.may_read:
                            yield _text(found)
                    pause = _FIRST
                    self.end = found
                except TimeoutError:
                    pause = min(pause * _GROWTH, self._longest())
                    yield KEEP_ALIVE

    async def _look(self) -> None:
        """Learn how the run stands: from this process if it carries the run out, else from the database."""
        if self.end is None and (here := self.live.run(self.run.run_id)) is not None:
            self.run = here
        elif self.end is None:
            self.run = await self.saver.runs.aget(self.run.run_id)
            self.end = None if self.run.is_open else TurnEnd(self.run, None)
        else:
            self.run = self.end.run

    def _longest(self) -> float:
        if self.live.run(self.run.run_id) is not None:
            return _HERE
        return _WAITING if self.run.state == "accepted" else _ELSEWHERE

    async def wait(self) -> TurnEnd:
        """Wait until the run has ended. What came of it is known if this process has carried it out."""
        self.may_read = False
        async for _ in self.events():
            pass
        if self.end is None:
            raise RuntimeError("The events of a run are over before it has ended.")
        return self.end

    async def _new(self) -> list[StreamEvent]:
        """Return the events since the last one. What a client may not read is not looked for."""
        if not self.may_read:
            return []
        said = await self.saver.runs.asaid(self.run, after_seq=self.after.seq - 1)
        placed = [(position, event) for seq, message in said for position, event in _events_of(seq, message)]
        new = [(position, event) for position, event in placed if position > self.after]
        if new:
            self.after = new[-1][0]
        return [event for _, event in new]


async def _next(news: asyncio.Queue[News], pause: float) -> News:
    """Return the next news.

    Raises:
        TimeoutError: none came during the pause.
    """
    # Pieces of text come close together: those that are there need no timer.
    return await asyncio.wait_for(news.get(), pause) if news.empty() else news.get_nowait()


def _text(text: str) -> StreamEvent:
    return StreamEvent("text", {"text": text})


def _events_of(seq: int, message: BaseMessage) -> Iterator[tuple[Position, StreamEvent]]:
    """Yield what a message says, in the order in which it is shown."""
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(message, AIMessage):
        if message.text:
            found.append(("message", {"text": str(message.text), "message_id": message.id}))
        calls = message.tool_calls
        found += [("tool_called", {"name": c["name"], "args": c["args"], "tool_call_id": c["id"]}) for c in calls]
    elif isinstance(message, ToolMessage):
        answer = {"name": message.name, "text": str(message.text), "failed": message.status == "error"}
        found.append(("tool_answered", {**answer, "tool_call_id": message.tool_call_id}))
    for part, (name, data) in enumerate(found, 1):
        yield Position(seq, part), StreamEvent(name, data, Position(seq, part))


def run_fields(run: Run) -> dict[str, Any]:
    """Return a run as JSON for a client, without what is about its worker."""
    hidden = {"after_seq", "until_seq", "agent"}
    return {name: value for name, value in asdict(run).items() if name not in hidden}
