"""Read what a person types: messages, and answers to questions, each with a history of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from holdfast.cli.output import print_notice

PROMPT: Final = "you    "


class LineEditor:
    """The editor of the chat's lines.

    A message may have several lines: those of a paste belong to one message, and Alt+Enter begins another one.

    Args:
        folder: where the histories are kept; `None` to forget them.
        commands: the commands that Tab completes.
    """

    def __init__(self, folder: Path | None, commands: Collection[str] = ()) -> None:
        # Prompts go to the terminal also if the conversation goes into a pipe: `holdfast chat | tee chat.txt`.
        shared: dict[str, Any] = {"output": create_output(always_prefer_tty=True), "reserve_space_for_menu": 0}
        self._messages: PromptSession[str] = PromptSession(
            history=_open_history(folder, "messages"),
            completer=_Commands(commands),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation=" " * len(PROMPT),
            key_bindings=_enter_sends(),
            **shared,
        )
        self._answers: PromptSession[str] = PromptSession(history=_open_history(folder, "answers"), **shared)
        self._choices: PromptSession[str] = PromptSession(history=DummyHistory(), **shared)

    def message(self) -> str:
        """Read a message.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return _read(lambda: self._messages.prompt(PROMPT))

    def choice(self, prompt: str) -> str:
        """Read a letter or a word, which no history keeps.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return _read(lambda: self._choices.prompt(prompt))

    def answer(self, prompt: str, begin: str = "") -> str:
        """Read the answer to a question. The person can edit `begin`, which stands there already.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return _read(lambda: self._answers.prompt(prompt, default=begin))


class _Commands(Completer):
    """Completes the commands of the chat at the beginning of a message."""

    def __init__(self, commands: Collection[str]) -> None:
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Any:
        typed = document.text_before_cursor
        return (Completion(name, -len(typed)) for name in self._commands if typed and name.startswith(typed))


def _enter_sends() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _read(read: Callable[[], str]) -> str:
    while True:
        text = read()
        try:
            text.encode()  # fails for what a terminal with another encoding sends
        except UnicodeError:
            print_notice("The line is not UTF-8. Type it again:")
        else:
            return text


class _PrivateHistory(FileHistory):
    """A history in a file with the mode 0600. If it cannot be written, the chat goes on without it."""

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        try:
            os.close(os.open(self.filename, os.O_CREAT | os.O_APPEND, 0o600))
            super().store_string(string)
        except OSError:
            return


def _open_history(folder: Path | None, name: str) -> History:
    """Return the history of a name in a folder, which is created; `None` is a history that ends with the command."""
    if folder is None:
        return InMemoryHistory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return InMemoryHistory()
    return _PrivateHistory(str(folder / name))
