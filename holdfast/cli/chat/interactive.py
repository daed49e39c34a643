"""`holdfast chat` on a terminal: talk to the agent, and decide about its calls in place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from holdfast.checkpoints import Thread
from holdfast.cli.chat.editor import LineEditor
from holdfast.cli.chat.prompts import Prompts
from holdfast.cli.chat.screen import ChatScreen
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.chat.threads import ChatThreads
from holdfast.cli.errors import Interrupted, explain, remarks_of
from holdfast.cli.output.text import columns, counted, one_line, terminal_width
from holdfast.graph import BadAnswer, Pending
from holdfast.graph.conversation.events import unfinished
from holdfast.graph.conversation.requests import pending_of

# Messages that are shown when a conversation continues.
_SHOWN: Final = 8

HELP: Final = """\
/new      begin another conversation
/threads  list your conversations; /threads 2 goes to the second one
/undo     take the last turn back
/decide   decide about the calls that wait
/retry    go on with a turn that was stopped or failed
/quit     leave; Ctrl-D does the same
Anything else is sent to the agent. To send a message that begins with /, put a space before it.
Enter sends, Alt+Enter begins a new line, and a paste of several lines is one message. Ctrl-C stops the answer."""


class InteractiveChat:
    """A chat with a person at the terminal.

    Args:
        session: the conversation that it begins with.
        threads: those that it can go to.
        histories: the folder for the histories of what was typed; `None` to forget them.
    """

    def __init__(self, session: ChatSession, threads: ChatThreads, histories: Path | None) -> None:
        self._session = session
        self._threads = threads
        self._listed: list[Thread] = []
        self._screen = ChatScreen()
        # Requests that the person decides about later, and is not asked about after each message.
        self._later: set[str] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: self._screen.line(HELP, "dim"),
            "/new": lambda _: self._go(self._threads.new),
            "/threads": self._show_or_go,
            "/undo": lambda _: self._undo(),
            "/decide": lambda _: self._decide_all(),
            "/retry": lambda _: self._retry(),
            "/quit": lambda _: self._quit(),
        }
        self._editor = LineEditor(histories, tuple(self._commands))
        self._prompts = Prompts(self._editor, self._screen)

    def run(self, *, retry: bool) -> None:
        """Talk until the person leaves.

        Raises:
            Interrupted: Ctrl-C at a moment when there is nothing to stop.
        """
        with asyncio.Runner() as self._runner:
            try:
                self._begin(retry=retry)
                while True:
                    self._take(self._message())
            except EOFError:
                self._screen.end()
            except KeyboardInterrupt as interrupt:
                self._screen.line()
                raise Interrupted.after(interrupt, self._farewell()) from None
        self._screen.notice(self._farewell())

    def _farewell(self) -> str:
        thread_id, command = self._session.thread_id, self._session.chat_command()
        return f"The conversation is saved in thread {thread_id}. To continue: {command}"

    def _begin(self, *, retry: bool = False) -> None:
        """Show the conversation, and what has to be done before the next message."""
        for line in self._session.introduction():
            self._screen.line(line, "dim")
        self._screen.line("/help lists the commands; Ctrl-D leaves.", "dim")
        state, messages = self._session.state, self._session.messages
        if len(messages) > _SHOWN:
            self._screen.line(f"... {counted(len(messages) - _SHOWN, 'earlier message')}", "dim")
        self._screen.history(messages[-_SHOWN:])
        if pending_of(state):
            self._decide_all()
        elif unfinished(state) and (retry or self._wants_retry()):
            self._retry()

    def _wants_retry(self) -> bool:
        try:
            answer = self._editor.choice("The last turn did not finish. Finish it now? [Y/n] ")
        except KeyboardInterrupt:
            return False
        return answer.strip().lower() in ("", "y", "yes")

    def _message(self) -> str:
        """Return what the person types; empty after Ctrl-C, which discards it."""
        try:
            return self._editor.message()
        except KeyboardInterrupt:
            self._screen.line("Nothing was sent. Ctrl-D or /quit leaves.", "dim")
            return ""

    def _take(self, text: str) -> None:
        """Carry out what the person typed."""
        if not text.strip():
            return
        if not text.startswith("/"):
            self._turn(lambda: self._session.send(text, self._runner, self._screen))
            return
        word, _, argument = text.strip().partition(" ")
        if word in self._commands:
            self._commands[word](argument.strip())
        else:
            self._screen.line(f"There is no command {word}. The commands:\n{HELP}", "dim")

    # --- commands

    def _retry(self) -> None:
        self._turn(lambda: self._session.retry(self._runner, self._screen))

    def _undo(self) -> None:
        def undo() -> None:
            self._session.undo()
            self._screen.line("The last turn was taken back. It stays in the transcript.", "dim")

        self._survives(undo)

    def _show_or_go(self, number: str) -> None:
        """List the conversations that were written last, or go to one of them by its number in the last list."""
        found = self._listed if number and self._listed else self._threads.recent()
        if number.isdecimal() and 0 < int(number) <= len(found):
            self._go(lambda: self._threads.open(found[int(number) - 1].thread_id))
            return
        if number:
            self._screen.line(f"There is no conversation {number} in the list. It has {len(found)}.", "red")
        self._listed = found
        for line in _table(found) if found else ["There are no conversations yet."]:
            self._screen.line(line, "dim")

    def _go(self, open_session: Callable[[], ChatSession]) -> None:
        def go() -> None:
            self._session = open_session()

        if self._survives(go):
            self._begin()

    def _quit(self) -> None:
        raise EOFError

    # --- turns

    def _turn(self, turn: Callable[[], None]) -> None:
        """Run a turn, and ask for the decisions that it needs. An expected error does not end the chat."""
        if self._survives(turn):
            self._decide_all(quiet=True)
            if notice := self._session.stop_notice("/retry"):
                self._screen.line(notice, "dim")

    def _survives(self, turn: Callable[[], None]) -> bool:
        """Run a turn, and show an expected error, or that it was stopped. Return whether it succeeded."""
        try:
            turn()
        except BadAnswer:
            raise
        except KeyboardInterrupt as interrupt:
            self._fail(" ".join(["Stopped.", *remarks_of(interrupt), "/retry goes on; a message begins a new turn."]))
            return False
        except Exception as error:
            failure = explain(error)
            if not failure.expected:
                raise
            self._fail(failure.line)
            return False
        return True

    def _fail(self, text: str) -> None:
        self._screen.line(text.replace(self._session.chat_command("--retry"), "/retry"), "red")

    def _decide_all(self, *, quiet: bool = False) -> None:
        """Ask about each call that waits. With `quiet`, say nothing if there is none."""
        if not quiet:
            self._later.clear()
        later, waiting = self._later, self._session.conversation.pending()
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
            given, begin = self._ask(pending, begin)
            if given is None:
                elsewhere = self._session.decide_command(pending)
                self._screen.notice(f"It waits. To decide later: /decide here, or elsewhere: {elsewhere}")
                if not self._session.keeps(pending):
                    self._screen.line("If you send a message before that, the call is closed and not run.", "dim")
                return False
            answer = partial(self._session.answer, pending, given, self._runner, self._screen)
            try:
                return self._survives(answer)
            except BadAnswer as refused:
                self._screen.line(_refusal(refused), "red")

    def _ask(self, pending: Pending, begin: str) -> tuple[object, str]:
        """Ask for an answer; after Ctrl-C the person decides later."""
        try:
            return self._prompts.ask_answer(pending, begin)
        except KeyboardInterrupt:
            return None, ""


def _table(threads: list[Thread]) -> list[str]:
    rows = [
        (
            str(place),
            f"{thread.updated_at:%Y-%m-%d %H:%M}",
            one_line(thread.thread_id),
            one_line(thread.title or ""),
        )
        for place, thread in enumerate(threads, 1)
    ]
    return columns([("", "written, UTC", "id", "title"), *rows], terminal_width())


def _refusal(refused: BadAnswer) -> str:
    if refused.problem is None:
        return str(refused)
    return f"This does not fit: {refused.problem}. Nothing was saved. Change it, or empty the line to go back."
