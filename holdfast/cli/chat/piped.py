"""`holdfast chat` with input from a pipe: a line is a turn, and nothing is asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from holdfast.cli.chat.session import CurrentThread
from holdfast.cli.errors import Interrupted, Mistake, remark
from holdfast.cli.output.screen import Lines, Screen, notice
from holdfast.graph.conversation.events import messages_of, reply, unfinished


class Piped:
    """A conversation with a script."""

    def __init__(self, thread: CurrentThread, *, as_json: bool) -> None:
        self._thread = thread
        self._lines = Lines(thread.thread_id) if as_json else None
        self._shows = self._lines or Screen(labelled=False)

    def run(self, *, retry: bool) -> None:
        """Say every line of standard input.

        Raises:
            Mistake: a line is not text; those before it are said.
            Interrupted: Ctrl-C.
            whatever a turn raises; the lines after it are not said.
        """
        self._begin()
        number = 0
        try:
            with asyncio.Runner() as runner:
                if retry:
                    self._thread.retry(runner, self._shows)
                    self._end_turn()
                for number, text in _lines():  # noqa: B007 - told when a line fails
                    self._thread.say(text, runner, self._shows)
                    self._end_turn()
        except KeyboardInterrupt as stopped:
            raise Interrupted.after(stopped, f"The conversation is kept. To go on: {self._thread.back()}") from None
        except Exception as error:
            if number > 1:
                remark(error, f"This was line {number}; what comes after it was not said.")
            raise
        self._end()

    def _begin(self) -> None:
        state = self._thread.state
        if self._lines:
            self._lines.tell(
                "thread",
                thread_id=self._thread.thread_id,
                model=self._thread.settings.model_name,
                messages=len(messages_of(state)),
                unfinished=unfinished(state),
            )
            return
        for line in self._thread.introduction():
            notice(line)

    def _end_turn(self) -> None:
        if self._lines:
            came_to = reply(self._thread.state)
            self._lines.tell("end", text=came_to.text, waiting=len(came_to.pending))

    def _end(self) -> None:
        if self._lines:
            return
        for pending in self._thread.talk.pending():
            notice(self._thread.notice_of(pending))


def _lines() -> Iterator[tuple[int, str]]:
    # Bytes, so that what is not text is noticed and not guessed at.
    for number, line in enumerate(() if sys.stdin is None else sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Mistake(f"Line {number} of the input is not UTF-8, so it was not said.") from None
        if text.strip():
            yield number, text
