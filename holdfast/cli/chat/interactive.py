"""`holdfast chat` on a terminal: talk, and decide in place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from holdfast.cli.chat.prompts import ask, ask_decision
from holdfast.cli.chat.session import CurrentThread
from holdfast.cli.errors import Interrupted, explain
from holdfast.cli.output.screen import Screen
from holdfast.graph import BadAnswer, Pending
from holdfast.graph.conversation.events import messages_of, pending_of, unfinished

# How much of a conversation is shown when it is picked up.
_SHOWN = 8

HELP = """\
/decide  decide about what waits
/retry   go on with a turn that failed
/quit    leave, as Ctrl-D and Ctrl-C do
Anything else is said to the agent; a message that begins with / after a space."""


class Talking:
    """A conversation with a person."""

    def __init__(self, thread: CurrentThread) -> None:
        self._thread = thread
        self._screen = Screen(labelled=True)
        self._commands: dict[str, Callable[[], None]] = {
            "/help": lambda: self._screen.line(HELP, "dim"),
            "/decide": self._decide_what_waits,
            "/retry": lambda: self._turn(lambda: self._thread.retry(self._runner, self._screen)),
            "/quit": self._quit,
        }

    def run(self, *, retry: bool) -> None:
        """Talk until the person leaves.

        Raises:
            Interrupted: they left by Ctrl-C.
        """
        with asyncio.Runner() as self._runner:
            try:
                self._pick_up(retry=retry)
                while True:
                    self._take(ask("you    "))
            except EOFError:
                self._screen.line()
            except KeyboardInterrupt as stopped:
                self._screen.line()
                raise Interrupted.after(stopped, self._farewell()) from None
        self._screen.line(self._farewell(), "dim")

    def _farewell(self) -> str:
        return f"The conversation is kept in thread {self._thread.thread_id}. To come back: {self._thread.back()}"

    def _pick_up(self, *, retry: bool) -> None:
        for line in self._thread.introduction():
            self._screen.line(line, "dim")
        self._screen.line("/help says what else there is; Ctrl-D leaves.", "dim")
        state = self._thread.state
        said = messages_of(state)
        if len(said) > _SHOWN:
            self._screen.line(f"... {len(said) - _SHOWN} messages before these", "dim")
        self._screen.said(said[-_SHOWN:])
        if pending_of(state):
            self._decide_what_waits()
        elif unfinished(state):
            if not retry:
                answer = ask("The last turn did not end. Go on with it? [Y/n] ").strip().lower()
                retry = answer in ("", "y", "yes")
            if retry:
                self._commands["/retry"]()

    def _take(self, text: str) -> None:
        word = text.strip()
        if not word:
            return
        if not text.startswith("/"):
            self._turn(lambda: self._thread.say(text, self._runner, self._screen))
        elif word in self._commands:
            self._commands[word]()
        else:
            self._screen.line(f"There is no {word}.\n{HELP}", "dim")

    def _turn(self, turn: Callable[[], None]) -> None:
        """A turn, and the decisions that it asks for. A failure that is to be expected does not end the chat."""
        if self._survives(turn):
            self._decide_what_waits(if_any=True)

    def _survives(self, turn: Callable[[], None]) -> bool:
        try:
            turn()
        except BadAnswer:
            raise
        except Exception as error:
            failure = explain(error)
            if not failure.known:
                raise
            self._screen.line(failure.line.replace(self._thread.back("--retry"), "/retry"), "red")
            return False
        return True

    def _decide_what_waits(self, *, if_any: bool = False) -> None:
        later: set[str] = set()
        waiting = self._thread.talk.pending()
        if not waiting and not if_any:
            self._screen.line("Nothing waits for a person.", "dim")
        while left := [pending for pending in waiting if pending.interrupt_id not in later]:
            if not self._decide(left[0]):
                later.add(left[0].interrupt_id)
            waiting = self._thread.talk.pending()

    def _decide(self, pending: Pending) -> bool:
        """Ask until there is an answer that fits. False if this is to wait."""
        begin = ""
        while True:
            self._screen.request(pending)
            decision, begin = ask_decision(pending, self._screen, begin)
            if decision is None:
                elsewhere = self._thread.decide_elsewhere(pending)
                self._screen.line(f"It waits. /decide asks again; elsewhere: {elsewhere}", "dim")
                self._screen.line("If you say something before that, it is closed as not run.", "dim")
                return False
            answer = partial(self._thread.answer, pending, decision, self._runner, self._screen)
            try:
                return self._survives(answer)
            except BadAnswer as refused:
                self._screen.line(str(refused), "red")

    def _quit(self) -> None:
        raise EOFError
