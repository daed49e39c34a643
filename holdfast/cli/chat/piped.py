"""`holdfast chat` with input from a pipe: each line is one turn, and no question is asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import Interrupted, Mistake, add_remark
from holdfast.cli.output import print_notice
from holdfast.cli.output.turns import JsonLines, TurnScreen
from holdfast.graph.conversation.events import unfinished


class PipedChat:
    """A chat with a script."""

    def __init__(self, session: ChatSession, *, as_json: bool) -> None:
        self._session = session
        self._json = JsonLines(session.thread_id) if as_json else None
        self._output = self._json or TurnScreen()

    def run(self, *, retry: bool) -> None:
        """Send every line of standard input.

        Raises:
            Mistake: a line is not UTF-8. The lines before it were sent.
            Interrupted: Ctrl-C.
            any error of a turn. The lines after it are not sent.
        """
        self._begin()
        number = 0
        try:
            with asyncio.Runner() as runner:
                if retry:
                    self._session.retry(runner, self._output)
                for number, text in _lines():  # noqa: B007 - the error of a line names it
                    self._session.send(text, runner, self._output)
        except KeyboardInterrupt as interrupt:
            text = f"The conversation is saved. To continue: {self._session.chat_command()}"
            raise Interrupted.after(interrupt, text) from None
        except Exception as error:
            if number > 1:
                add_remark(error, f"This was line {number}; the lines after it were not sent.")
            raise
        self._end()

    def _begin(self) -> None:
        if self._json:
            self._json.write(
                "thread",
                thread_id=self._session.thread_id,
                **self._session.agent_facts,
                messages=len(self._session.messages),
                unfinished=unfinished(self._session.state),
            )
            return
        for line in self._session.introduction():
            print_notice(line)

    def _end(self) -> None:
        if self._json:
            return
        for pending in self._session.conversation.pending():
            print_notice(self._session.pending_notice(pending))
        if notice := self._session.stop_notice(self._session.chat_command("--retry")):
            print_notice(notice)


def _lines() -> Iterator[tuple[int, str]]:
    # Read as bytes: a text stream would guess what is not UTF-8.
    for number, line in enumerate(() if sys.stdin is None else sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Mistake(f"Line {number} of the input is not UTF-8, so it was not sent.") from None
        if text.strip():
            yield number, text
