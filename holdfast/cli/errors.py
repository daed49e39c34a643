"""Turn each failure of a command into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from typer.exceptions import TyperException

from holdfast.cli.output.text import one_line

BROKEN, MISTAKE, INTERRUPTED = 1, 2, 130

_Kinds = tuple[type[BaseException], ...]


class Mistake(Exception):
    """A request of the user that cannot be carried out as given."""


class _Remark(str):
    """A note that this package added to an error. LangGraph adds notes as well, for developers."""

    __slots__ = ()


def add_remark(error: BaseException, text: str) -> None:
    """Add a sentence to an error, to be printed after its message."""
    error.add_note(_Remark(text))


def remarks_of(error: BaseException) -> list[str]:
    """Return the sentences that `add_remark` added to an error."""
    return [note for note in getattr(error, "__notes__", ()) if isinstance(note, _Remark)]


class Interrupted(Exception):
    """A Ctrl-C, with the line to print for it."""

    @classmethod
    def after(cls, interrupt: KeyboardInterrupt, text: str) -> Interrupted:
        """Make one from a `KeyboardInterrupt`: its remarks, then `text`."""
        return cls(" ".join([*remarks_of(interrupt), text]))


class Failure(NamedTuple):
    """A failure as the user sees it."""

    line: str
    code: int
    expected: bool
    """False for an error that no command should raise: a defect of Holdfast."""


def explain(error: BaseException) -> Failure:
    """Return the line and the exit code for an error. The line includes the error's remarks."""
    if isinstance(error, Interrupted):
        return Failure(_line_of(error), INTERRUPTED, expected=True)
    if isinstance(error, TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "holdfast")
        text = _usage_text(error)
        return Failure(one_line(f"{_sentence(text)} See: {command} --help"), MISTAKE, expected=True)
    if isinstance(error, Mistake):  # checked before the slow imports below
        return Failure(_line_of(error), MISTAKE, expected=True)
    for expected in (_errors_of_database, _errors_of_agent):
        mistakes, breakages = expected()
        if isinstance(error, mistakes):
            return Failure(_line_of(error), MISTAKE, expected=True)
        if isinstance(error, breakages):
            return Failure(_line_of(error), BROKEN, expected=True)
    text = f"{type(error).__name__}: {error}. This is a defect of Holdfast; --debug shows where."
    return Failure(_line_of(error, text), BROKEN, expected=False)


def _usage_text(error: TyperException) -> str:
    """Return why an option or an argument cannot be used, in words of our own where Typer has those of pydantic."""
    from holdfast.graph.words import unlike

    problems: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    words = [unlike(problem) for problem in problems]
    if problems and all(words):
        error.message = "; ".join(f"it {text}" for text in words)
    return error.format_message().replace(": Value error, ", ": ").rstrip(".")


def report(error: BaseException, *, debug: bool, secrets: Collection[str]) -> int:
    """Print an error to standard error and return its exit code."""
    failure = explain(error)
    text, line = "".join(traceback.format_exception(error)) if debug else "", failure.line
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
        # Messages are written without secrets; this is a second safeguard. It leaves out secrets of up to three
        # letters, which would be replaced within ordinary words.
        line = line.replace(secret, "***") if len(secret) > 3 else line
    sys.stderr.write(f"{text}{line}\n")
    return failure.code


def check_arguments(words: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8, before they become a key or a message.

    Raises:
        Mistake: one of them is not UTF-8.
    """
    for number, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Mistake(f"Argument {number} is not UTF-8: {os.fsencode(word)!r}") from None


def escape_unprintable() -> None:
    """Print the code of a character that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _errors_of_database() -> tuple[_Kinds, _Kinds]:
    """Return the user's mistakes, then the breakages. Imported only after a failure, so that `--help` stays fast."""
    import sqlite3

    from holdfast.checkpoints import errors
    from holdfast.settings import InvalidSettings

    mistakes = (
        InvalidSettings,
        errors.InvalidArgument,
        errors.InvalidURL,
        errors.InvalidThread,
        errors.NotPermitted,
        errors.UnknownThread,
        errors.UnknownCheckpoint,
        errors.UnknownMessage,
        errors.ThreadNotEmpty,
        errors.NothingToUndo,
        errors.InvalidCursor,
        errors.InvalidArchive,
        errors.InvalidExport,
        errors.InvalidSearch,
        errors.UnreadableHistory,
        errors.DriverMissing,
        errors.InvalidAnswer,
    )
    return mistakes, (errors.HoldfastError, sqlite3.Error, OSError)


def _errors_of_agent() -> tuple[_Kinds, _Kinds]:
    """Do as `_errors_of_database`, for what only commands with an agent raise. This imports LangGraph's graphs."""
    from langchain_core.exceptions import ModelError
    from langgraph.errors import GraphRecursionError

    from holdfast import errors
    from holdfast.agents import AnotherAgent
    from holdfast.demo import DemoFailedError, DemoRefusedError

    mistakes = (errors.BadAnswer, errors.NothingWaits, AnotherAgent, DemoRefusedError)
    return mistakes, (ModelError, DemoFailedError, GraphRecursionError)


def _line_of(error: BaseException, text: str | None = None) -> str:
    """Return an error's message, or `text` in its place, with its remarks, in one line."""
    message = str(error) or type(error).__name__
    if isinstance(error, LookupError) and error.args:  # its `str` is the repr of its message
        message = str(error.args[0])
    message, remarks = message if text is None else text, remarks_of(error)
    return one_line(" ".join([_sentence(message), *remarks] if remarks else [message]))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
