"""`holdfast chat` on a terminal: talk to the agent, and decide about its calls in place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from holdfast.cli.chat.prompts import ask_answer, read_line
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import Interrupted, explain
from holdfast.cli.output.text import counted
from holdfast.cli.output.turns import TurnScreen
from holdfast.graph import BadAnswer, Pending
from holdfast.graph.conversation.events import unfinished
from holdfast.graph.conversation.requests import pending_of

# Messages that are shown when a conversation continues.
_SHOWN: Final = 8

HELP: Final = """\
/decide  decide about the calls that wait
/retry   finish a turn that failed
/quit    leave; Ctrl-D and Ctrl-C do the same
Anything else is sent to the agent. To send a message that begins with /, put a space before it."""


class InteractiveChat:
    """A chat with a person at the terminal."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._screen = TurnScreen(labelled=True)
        self._commands: dict[str, Callable[[], None]] = {
            "/help": lambda: self._screen.line(HELP, "dim"),
            "/decide": self._decide_all,
            "/retry": lambda: self._turn(lambda: self._session.retry(self._runner, self._screen)),
            "/quit": self._quit,
        }

    def run(self, *, retry: bool) -> None:
        """Talk until the person leaves.

        Raises:
            Interrupted: Ctrl-C.
        """
        with asyncio.Runner() as self._runner:
            try:
                self._begin(retry=retry)
                while True:
                    self._take(read_line("you    "))
            except EOFError:
                self._screen.line()
            except KeyboardInterrupt as interrupt:
                self._screen.line()
                raise Interrupted.after(interrupt, self._farewell()) from None
        self._screen.line(self._farewell(), "dim")

    def _farewell(self) -> str:
        thread_id, command = self._session.thread_id, self._session.chat_command()
        return f"The conversation is saved in thread {thread_id}. To continue: {command}"

    def _begin(self, *, retry: bool) -> None:
        for line in self._session.introduction():
            self._screen.line(line, "dim")
        self._screen.line("/help lists the commands; Ctrl-D leaves.", "dim")
        state, messages = self._session.state, self._session.messages
        if len(messages) > _SHOWN:
            self._screen.line(f"... {counted(len(messages) - _SHOWN, 'earlier message')}", "dim")
        self._screen.history(messages[-_SHOWN:])
        if pending_of(state):
            self._decide_all()
        elif unfinished(state):
            if not retry:
                answer = read_line("The last turn did not finish. Finish it now? [Y/n] ").strip().lower()
                retry = answer in ("", "y", "yes")
            if retry:
                self._commands["/retry"]()

    def _take(self, text: str) -> None:
        """Carry out a line that the person typed."""
        word = text.strip()
        if not word:
            return
        if not text.startswith("/"):
            self._turn(lambda: self._session.send(text, self._runner, self._screen))
        elif word in self._commands:
            self._commands[word]()
        else:
            self._screen.line(f"There is no command {word}. The commands:\n{HELP}", "dim")

    def _turn(self, turn: Callable[[], None]) -> None:
        """Run a turn, and ask for the decisions that it needs. An expected error does not end the chat."""
        if self._survives(turn):
            self._decide_all(quiet=True)
            if notice := self._session.stop_notice("/retry"):
                self._screen.line(notice, "dim")

    def _survives(self, turn: Callable[[], None]) -> bool:
        """Run a turn, and show an expected error. Return whether it succeeded."""
        try:
            turn()
        except BadAnswer:
            raise
        except Exception as error:
            failure = explain(error)
            if not failure.expected:
                raise
            self._screen.line(failure.line.replace(self._session.chat_command("--retry"), "/retry"), "red")
            return False
        return True

    def _decide_all(self, *, quiet: bool = False) -> None:
        """Ask about each call that waits. With `quiet`, say nothing if there is none."""
        later: set[str] = set()
        waiting = self._session.conversation.pending()
        if not waiting and not quiet:
            self._screen.line("No call waits for a decision.", "dim")
        while left := [pending for pending in waiting if pending.interrupt_id not in later]:
            if not self._decide(left[0]):
                later.add(left[0].interrupt_id)
            waiting = self._session.conversation.pending()

    def _decide(self, pending: Pending) -> bool:
        """Ask about a call until the answer fits it. Return False if the person decides later."""
        begin = ""
        while True:
            self._screen.request(pending)
            given, begin = ask_answer(pending, self._screen, begin)
            if given is None:
                elsewhere = self._session.decide_command(pending)
                self._screen.line(f"It waits. To decide later: /decide here, or elsewhere: {elsewhere}", "dim")
                self._screen.line("If you send a message before that, the call is closed and not run.", "dim")
                return False
            answer = partial(self._session.answer, pending, given, self._runner, self._screen)
            try:
                return self._survives(answer)
            except BadAnswer as refused:
                self._screen.line(str(refused), "red")

    def _quit(self) -> None:
        raise EOFError
